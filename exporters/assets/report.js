// Draws the charts of the page with uPlot over the drawings that the page came with; those stay for print.
(function () {
  "use strict";
  var DASH = [5, 4], COLOURS = 6, HEIGHT = 280;
  var charts = JSON.parse(document.getElementById("charts").textContent);
  var drawn = [];

  function style(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function shown(unit) {
    return function (plot, value) {
      if (value === null || value === undefined) { return "–"; }
      return Number(value.toPrecision(4)).toLocaleString("en-US", { maximumFractionDigits: 12 }) + unit;
    };
  }

  function unitOf(title) {
    var found = /\(([^)]*)\)$/.exec(title);
    return found ? " " + found[1] : "";
  }

  function axis(label, size) {
    return {
      label: label, size: size, labelSize: 22, labelGap: 2, gap: 6,
      stroke: style("--muted"), labelFont: "12px system-ui, sans-serif", font: "12px system-ui, sans-serif",
      grid: { stroke: style("--grid"), width: 1 }, ticks: { show: false }
    };
  }

  function yRange(chart) {
    return function (plot, low, high) {
      if (low === null || high === null) { return [0, 1]; }
      var room = 0.08 * (high - low) || Math.abs(high) / 2 || 0.5;
      return chart.zero ? [Math.min(0, low), high + room] : [low - room, high + room];
    };
  }

  function draw(figure) {
    var chart = charts[Number(figure.dataset.chart)];
    var unit = shown(unitOf(chart.y));
    var series = [{ label: chart.x, value: shown("") }];
    var tables = chart.series.map(function (one, number) {
      series.push({
        label: one.name, stroke: style("--c" + number % COLOURS), width: 1.5, value: unit,
        dash: number < COLOURS ? undefined : DASH
      });
      return [one.x, one.y];
    });
    // 2: a gap reaches over the moments that only the other curves have, or they would bridge it.
    var gaps = tables.map(function () { return [0, 2]; });
    var data = tables.length > 1 ? uPlot.join(tables, gaps) : [tables[0][0], tables[0][1]];
    var bands = [];
    if (chart.low) {
      series.push({ label: "at least", value: unit, width: 0, points: { show: false } });
      series.push({ label: "at most", value: unit, width: 0, points: { show: false } });
      data.push(chart.low, chart.high);
      bands.push({ series: [3, 2], fill: style("--band") });
    }
    var room = document.createElement("div");
    room.className = "live";
    room.setAttribute("role", "img");
    room.setAttribute("aria-label", figure.querySelector("svg.still").getAttribute("aria-label"));
    figure.insertBefore(room, figure.querySelector("svg.still"));
    var plot = new uPlot({
      width: figure.clientWidth, height: HEIGHT, series: series, bands: bands,
      scales: { x: { time: false }, y: { range: yRange(chart) } },
      axes: [axis(chart.x, 34), axis(chart.y, 52)],
      legend: { markers: { dash: function (plot, number) { return number > COLOURS ? "dotted" : "solid"; } } },
      cursor: { points: { size: 6 }, y: false }
    }, data, room);
    figure.classList.add("drawn");
    drawn.push({ figure: figure, room: room, plot: plot });
  }

  function drawAll() {
    drawn.forEach(function (one) {
      one.plot.destroy();
      one.room.remove();
      one.figure.classList.remove("drawn");
    });
    drawn = [];
    document.querySelectorAll("figure[data-chart]").forEach(draw);
  }

  drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("resize", function () {
    drawn.forEach(function (one) {
      if (one.figure.clientWidth) { one.plot.setSize({ width: one.figure.clientWidth, height: HEIGHT }); }
    });
  });
})();
