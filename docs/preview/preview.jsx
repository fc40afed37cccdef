// Draws one dashboard with Grafana's own components: PAGE holds its JSON and what Prometheus answered.
import React from 'react';
import { createRoot } from 'react-dom/client';
import {
  createTheme, FieldType, getDisplayProcessor, getFieldDisplayName, getValueFormat,
  formattedValueToString, standardTransformers, standardTransformersRegistry, ThemeContext,
  toDataFrame, transformDataFrame,
} from '@grafana/data';
import {
  BarGauge, BigValue, BigValueColorMode, BigValueGraphMode, GlobalStyles, PanelChrome,
  PanelContextProvider, TimeSeries,
} from '@grafana/ui';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

const { dashboard, answers, from, to } = window.PAGE;
const theme = createTheme({ colors: { mode: 'light' } });
const CELL = 30, COLUMN = 1560 / 24, GAP = 8;
standardTransformersRegistry.setInit(() => [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer]
  .map((one) => ({ id: one.id, name: one.name, transformation: async () => one })));

const legend = (text, labels) => text === '__auto'
  ? Object.entries(labels).map(([k, v]) => `${k}="${v}"`).join(', ')
  : text.replace(/\{\{(\w+)\}\}/g, (_, name) => labels[name] ?? '').slice(0, 60);

function configOf(panel, name, ref) {
  const config = structuredClone(panel.fieldConfig.defaults);
  config.custom ??= {};
  for (const { matcher, properties } of panel.fieldConfig.overrides) {
    if (matcher.options !== (matcher.id === 'byName' ? name : ref)) continue;
    for (const { id, value } of properties) {
      if (id.startsWith('custom.')) config.custom[id.slice(7)] = value; else config[id] = value;
    }
  }
  config.color ??= { mode: panel.type === 'timeseries' ? 'palette-classic' : 'thresholds' };
  config.thresholds ??= { mode: 'absolute', steps: [{ value: -Infinity, color: 'green' }] };
  config.thresholds.steps[0].value = -Infinity;
  return config;
}

// Overrides, colours and units; Grafana's own step for it is not in its libraries.
function finished(panel, frames) {
  let seriesIndex = 0;
  for (const frame of frames) for (const field of frame.fields) {
    const shown = field.config.displayName ?? field.name;
    field.config = { ...configOf(panel, shown, frame.refId), displayName: field.config.displayName };
    if (field.type === FieldType.number) field.state = { ...field.state, seriesIndex: seriesIndex++ };
    field.display = getDisplayProcessor({ field, theme });
  }
  return frames;
}

function framesOf(panel) {
  const frames = [];
  for (const { refId, format, legendFormat } of panel.targets) {
    const rows = answers[`${panel.id} ${refId}`];
    if (format === 'table') {
      const labels = Object.keys(rows[0].metric), points = rows.flatMap((row) => row.values.map((v) => [row.metric, ...v]));
      points.sort((one, other) => one[1] - other[1]);
      frames.push(toDataFrame({ refId, fields: [
        { name: 'Time', type: FieldType.time, values: points.map((p) => p[1] * 1000) },
        ...labels.map((name) => ({ name, type: FieldType.string, values: points.map((p) => p[0][name]) })),
        { name: `Value #${refId}`, type: FieldType.number, values: points.map((p) => p[2]) },
      ] }));
    } else for (const { metric, values } of rows) {
      const name = legend(legendFormat, metric);
      frames.push(toDataFrame({ refId, name, fields: [
        { name: 'Time', type: FieldType.time, values: values.map((v) => v[0] * 1000) },
        { name: 'Value', type: FieldType.number, config: { displayName: name }, values: values.map((v) => v[1]) },
      ] }));
    }
  }
  return frames;
}

const Boxed = ({ draw, width, height }) => {
  const box = React.useRef(null);
  React.useEffect(() => draw(box.current, width, height), []);
  return <div ref={box} />;
};
const shown = (unit) => (value) => formattedValueToString(getValueFormat(unit)(value));
const axis = (config) => ({ font: '11px Inter, sans-serif', size: 84, label: config.custom.axisLabel, labelSize: 18,
  values: (_, ticks) => ticks.map(shown(config.unit)), grid: { stroke: '#eee' } });

// XY charts, heatmaps and tables of that kind are not in Grafana's library: the same rows, drawn by its plotting library.
function Against({ panel, frames, width, height }) {
  const keys = panel.transformations[1].options.fields, parts = new Map();
  const [a, b] = ['Value #A', 'Value #B'].map((name) => frames[0].fields.find((field) => field.name === name));
  frames[0].fields[0].values.forEach((_, row) => {
    const name = keys.map((key) => frames[0].fields.find((f) => f.name === key).values[row]).join(' ');
    if (!parts.has(name)) parts.set(name, [[], []]);
    if (a.values[row] == null || b.values[row] == null || Number.isNaN(b.values[row])) return;
    parts.get(name)[0].push(a.values[row]); parts.get(name)[1].push(b.values[row]);
  });
  const color = (at) => theme.visualization.getColorByName(theme.visualization.palette[at]);
  return <Boxed width={width} height={height} draw={(box, w, h) => new uPlot({
    width: w, height: h - 30, mode: 2, legend: { show: true, live: false }, scales: { x: { time: false } },
    axes: [axis(a.config), axis(b.config)],
    series: [{}, ...[...parts.keys()].map((label, at) => ({ label, stroke: color(at), width: 2, facets: [{ scale: 'x', auto: true }, { scale: 'y', auto: true }],
      paths: (u, s) => { const path = new Path2D(); u.data[s][0].forEach((x, i) => path.lineTo(u.valToPos(x, 'x', true), u.valToPos(u.data[s][1][i], 'y', true))); return { stroke: path }; } }))],
  }, [null, ...parts.values()], box)} />;
}

function Heat({ panel, frames, width, height }) {
  const bounds = frames.map((frame) => Number(frame.name.replace('+Inf', 'Infinity'))), order = bounds.map((_, i) => i).sort((i, j) => bounds[i] - bounds[j]);
  const unit = shown(panel.options.yAxis.unit);
  return <Boxed width={width} height={height} draw={(box, w, h) => {
    const canvas = box.appendChild(document.createElement('canvas')), c = canvas.getContext('2d'); canvas.width = w; canvas.height = h; c.font = '11px Inter, sans-serif';
    const counts = order.map((at, k) => frames[at].fields[1].values.map((v, i) => v - (k ? frames[order[k - 1]].fields[1].values[i] ?? 0 : 0)));
    const used = counts.map((row, k) => k).filter((k) => Math.max(...counts[k]) > 1e-9), low = Math.max(0, used[0] - 1), high = Math.min(order.length - 1, used.at(-1) + 1);
    const top = Math.max(...counts.flat()), tall = (h - 20) / (high - low + 1);
    for (let k = low; k <= high; k++) {
      const y = h - 20 - (k - low + 1) * tall;
      c.fillStyle = '#555'; c.fillText(`≤ ${bounds[order[k]] === Infinity ? '∞' : unit(bounds[order[k]])}`, 2, y + tall / 2 + 4);
      frames[order[k]].fields[0].values.forEach((t, i) => { if (counts[k][i] <= 1e-9) return; const x = 70 + (t / 1000 - from) / (to - from) * (w - 80);
        c.fillStyle = `rgba(35, 139, 69, ${0.15 + 0.85 * counts[k][i] / top})`; c.fillRect(x, y + 1, (w - 80) / (to - from) + 1, tall - 2); });
    }
  }} />;
}

function Rows({ frame }) {
  const cell = { padding: '5px 10px', textAlign: 'left', borderBottom: '1px solid #eee', whiteSpace: 'nowrap', fontSize: 13 };
  return <table style={{ width: '100%', borderCollapse: 'collapse' }}><thead><tr>
    {frame.fields.map((field) => <th key={field.name} style={{ ...cell, color: '#1f62e0' }}>{getFieldDisplayName(field, frame)}</th>)}</tr></thead>
    <tbody>{Array.from({ length: frame.length }, (_, row) => <tr key={row}>{frame.fields.map((field) =>
      <td key={field.name} style={cell}>{formattedValueToString(field.display(field.values[row]))}</td>)}</tr>)}</tbody></table>;
}

function Drawn({ panel, width, height }) {
  let frames = framesOf(panel);
  if (panel.type === 'table' || panel.type === 'xychart') {
    const known = panel.transformations.filter((one) => one.id !== 'partitionByValues');
    const [done, set] = React.useState(null);
    React.useEffect(() => { transformDataFrame(known, frames).subscribe((out) => set(finished(panel, out))); }, []);
    if (!done) return null;
    if (panel.type === 'xychart') return <Against {...{ panel, width, height }} frames={done} />;
    const by = panel.options.sortBy?.[0]?.displayName, at = done[0].fields.find((field) => getFieldDisplayName(field, done[0]) === by);
    if (at) { const order = at.values.map((_, i) => i).sort((i, j) => at.values[j] - at.values[i]); for (const field of done[0].fields) field.values = order.map((i) => field.values[i]); }
    return <Rows frame={done[0]} />;
  }
  frames = finished(panel, frames);
  const latest = (frame) => { const field = frame.fields[1]; return { ...field.display(field.values.at(-1)), title: frame.name }; };
  if (panel.type === 'stat') return <BigValue value={{ ...latest(frames[0]), title: undefined }} theme={theme} width={width} height={height} colorMode={BigValueColorMode.Value} graphMode={BigValueGraphMode.None} />;
  if (panel.type === 'bargauge') {
    const tall = Math.min(60, height / frames.length), most = Math.max(...frames.map((f) => f.fields[1].values.at(-1)));
    return frames.map((frame, k) => <BarGauge key={k} value={latest(frame)} field={{ ...frame.fields[1].config, min: 0, max: most }} display={frame.fields[1].display} theme={theme} width={width} height={tall} orientation="horizontal" displayMode="basic" />);
  }
  if (panel.type === 'heatmap') return <Heat {...{ panel, frames, width, height }} />;
  const drawn = panel.options.legend;
  return <TimeSeries frames={frames} width={width} height={height} timeRange={{ from: { valueOf: () => from * 1000 }, to: { valueOf: () => to * 1000 }, raw: {} }} timeZone="utc" legend={{ ...drawn, displayMode: 'list', calcs: [] }} options={{ legend: drawn, tooltip: { mode: 'none' } }} />;
}

class Safe extends React.Component {
  state = {};
  static getDerivedStateFromError(error) { console.error(String(error.stack)); return { error }; }
  render() { return this.state.error ? String(this.state.error) : this.props.children; }
}

function Page() {
  const bottom = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  return <ThemeContext.Provider value={theme}><GlobalStyles />
    <div style={{ width: 1600, padding: 20, background: '#f4f5f5', fontFamily: 'Inter, sans-serif' }}>
      <div style={{ fontSize: 20, fontWeight: 500 }}>{dashboard.title}</div>
      <div style={{ fontSize: 12, color: '#666', margin: '2px 0 12px' }}>Preview drawn with Grafana's UI library (@grafana/ui), not a Grafana server. Runs on simulated GPUs, scraped by Prometheus.</div>
      <div style={{ position: 'relative', height: bottom * (CELL + GAP) }}>
        {dashboard.panels.map((panel) => {
          const { x, y, w, h } = panel.gridPos, width = w * COLUMN - GAP, height = h * (CELL + GAP) - GAP;
          return <div key={panel.id} style={{ position: 'absolute', left: x * COLUMN, top: y * (CELL + GAP), width, height }}>
            {panel.type === 'row' ? <div style={{ fontSize: 16, fontWeight: 500, paddingTop: 6 }}>{panel.title}</div>
              : <PanelContextProvider value={{ eventBus: { publish() {}, subscribe: () => ({ unsubscribe() {} }), getStream: () => ({ subscribe: () => ({ unsubscribe() {} }), pipe: () => ({ subscribe: () => ({ unsubscribe() {} }) }) }) }, sync: () => 0 }}>
                <PanelChrome title={panel.title} width={width} height={height}>{(w2, h2) => <Safe><Drawn panel={panel} width={w2} height={h2} /></Safe>}</PanelChrome></PanelContextProvider>}
          </div>;
        })}
      </div>
    </div></ThemeContext.Provider>;
}

createRoot(document.getElementById('root')).render(<Page />);
