// The page of `greenai watch`: keeps what the server tells of the runs, and draws it. Texts become text nodes.
(function () {
  "use strict";
  var COLOURS = 6, HEIGHT = 240, SHOWN_FIRST = 4, EVENTS_SHOWN = 30;
  var STATES = {
    live: "running", stopped: "finished", parent_died: "training died",
    silent: "silent: nothing is being written", waiting: "no data yet"
  };
  var TOGETHER = [
    { key: "step_j", title: "Energy per step", unit: "J", note: "mean; the band spans the steps' lower and upper bounds" },
    { key: "j_per_token", title: "Energy per token", unit: "J", note: "mean; the band spans the bounds" },
    { key: "loss", title: "Loss", unit: "", note: "mean; the band spans least and greatest" },
    { key: "co2e_g", title: "Operational emissions so far", unit: "gCO2e", note: "" },
    { key: "intensity", title: "Carbon intensity in use", unit: "g/kWh", note: "" }
  ];
  var runs = {}, order = [], hidden = 0, title = "";
  var chosen = null, plots = {}, dirty = true, drawn = false, source = null, heard = 0, connected = false, began = false;

  function byId(name) { return document.getElementById(name); }

  function el(tag, style, text) {
    var made = document.createElement(tag);
    if (style) { made.className = style; }
    if (text !== undefined) { made.textContent = text; }
    return made;
  }

  function say(node, text) { if (node.textContent !== text) { node.textContent = text; } }

  function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

  // Numbers: four digits and a prefix; a dash for what is not known.
  function number(value, digits) {
    return Number(value.toPrecision(digits || 4)).toLocaleString("en-US", { maximumFractionDigits: 12 });
  }

  function amount(value, unit) {
    if (value === null || value === undefined) { return "–"; }
    var size = Math.abs(value), prefix = "";
    if (unit === "J" || unit === "W" || unit === "FLOP") {
      ["k", "M", "G", "T"].forEach(function (one) { if (Math.abs(value) >= 1000) { value /= 1000; prefix = one; } });
      if (unit === "J" && size > 0 && size < 0.01) { value *= 1000; prefix = "m"; }
    } else if (unit === "gCO2e" && size >= 1000) {
      value /= 1000;
      unit = "kgCO2e";
    } else if (unit === "gCO2e" && size > 0 && size < 0.01) {
      value *= 1000;
      unit = "mgCO2e";
    }
    return number(value) + (unit ? "\u00a0" + prefix + unit : "");
  }

  function span(seconds) {
    if (seconds === null || seconds === undefined) { return "–"; }
    var whole = Math.round(seconds), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
    if (whole < 60) { return number(seconds, 3) + "\u00a0s"; }
    var two = function (part) { return (part < 10 ? "0" : "") + part; };
    return hours ? hours + ":" + two(minutes) + ":" + two(whole % 60) : minutes + ":" + two(whole % 60);
  }

  function kwh(joules) { return joules === null ? "" : number(joules / 3.6e6, 3) + "\u00a0kWh"; }

  // What the server tells.
  function splice(curve, news) {
    if (!curve || news.n === 0) { return full(news); }
    var whole = full(news);
    ["x", "low", "mid", "high"].forEach(function (name) {
      curve[name] = curve[name].slice(0, news.n).concat(whole[name]);
    });
    curve.per = news.per;
    return curve;
  }

  function full(news) {
    var x = news.x0 ? news.x0.map(function (begin, at) { return (begin + news.x1[at]) / 2; }) : news.x1.slice();
    return { per: news.per, x: x, low: news.low || news.mid.slice(), mid: news.mid.slice(), high: news.high || news.mid.slice() };
  }

  function take(key, news) {
    var run = runs[key] || (runs[key] = { facts: null, curves: {} });
    if (news.facts) { run.facts = news.facts; }
    Object.keys(news.curves || {}).forEach(function (name) {
      run.curves[name] = splice(run.curves[name], news.curves[name]);
    });
  }

  function onWhole(event) {
    var told = JSON.parse(event.data);
    runs = {};
    title = told.title;
    onNews(told, event);
  }

  function onNews(told) {
    Object.keys(told.runs || {}).forEach(function (key) { take(key, told.runs[key]); });
    if (told.order) {
      order = told.order;
      hidden = told.hidden;
      Object.keys(runs).forEach(function (key) { if (order.indexOf(key) < 0) { delete runs[key]; } });
    }
    began = true;
    dirty = true;
  }

  function connect() {
    source = new EventSource("events");
    source.addEventListener("open", function () { connected = true; heard = Date.now(); dirty = true; });
    source.addEventListener("whole", function (event) { heard = Date.now(); onWhole(event); draw(); });
    source.addEventListener("change", function (event) { heard = Date.now(); onNews(JSON.parse(event.data)); });
    source.addEventListener("error", function () {
      connected = false;
      dirty = true;
      if (source.readyState === EventSource.CLOSED) { source.close(); setTimeout(connect, 5000); }
    });
  }

  // Which runs are shown: those in the address, so that a reload shows the same; else the live ones.
  function shown() {
    var wanted = chosen || (location.hash.indexOf("#runs=") === 0 ? location.hash.slice(6).split(",") : null);
    var found = (wanted || []).filter(function (key) { return order.indexOf(key) >= 0; });
    if (wanted && (found.length || wanted.join("") === "")) { return order.filter(function (key) { return found.indexOf(key) >= 0; }); }
    var live = order.filter(function (key) { return runs[key].facts && runs[key].facts.state === "live"; });
    return (live.length ? live : order.slice(0, 1)).slice(0, SHOWN_FIRST);
  }

  function choose(key, on) {
    chosen = shown().filter(function (one) { return one !== key; }).concat(on ? [key] : []);
    history.replaceState(null, "", "#runs=" + chosen.join(","));
    dirty = true;
    draw();
  }

  function hue(key) { return order.indexOf(key) % COLOURS; }

  function nameOf(key) { return runs[key].facts ? runs[key].facts.name : ""; }

  // Keeps the children of a node in step with keys; make() is called once for each new key.
  function keep(parent, keys, make) {
    var have = {};
    Array.prototype.slice.call(parent.children).forEach(function (child) {
      if (keys.indexOf(child.dataset.key) < 0) { drop(child); child.remove(); } else { have[child.dataset.key] = child; }
    });
    keys.forEach(function (key, at) {
      var child = have[key];
      if (!child) {
        child = make(key);
        child.dataset.key = key;
      }
      if (parent.children[at] !== child) { parent.insertBefore(child, parent.children[at] || null); }
    });
  }

  function drop(node) {
    node.querySelectorAll("figure").forEach(function (figure) {
      if (plots[figure.id]) { plots[figure.id].plot.destroy(); delete plots[figure.id]; }
    });
  }

  function drawChooser(keys) {
    byId("runs").hidden = order.length < 2;
    keep(byId("choices"), order, function (key) {
      var label = el("label"), box = el("input");
      box.type = "checkbox";
      box.addEventListener("change", function () { choose(key, box.checked); });
      label.append(box, el("span", "swatch s" + hue(key)), el("span", "name"), el("span", "state"));
      return label;
    });
    Array.prototype.forEach.call(byId("choices").children, function (label) {
      var key = label.dataset.key, facts = runs[key].facts;
      label.children[0].checked = keys.indexOf(key) >= 0;
      label.children[1].className = "swatch s" + hue(key);
      say(label.children[2], nameOf(key));
      say(label.children[3], facts ? STATES[facts.state] || facts.state : "");
    });
    say(byId("hidden"), hidden ? hidden + " older runs are not shown." : "");
  }

  function tiles(facts) {
    var t = facts.totals, end = facts.end || {}, made = [];
    var add = function (name, value, remark) { made.push([name, value, remark || ""]); };
    add("Energy", amount(t.energy_j, "J"), kwh(t.energy_j));
    add("Power now", facts.state === "live" ? amount(t.power_w, "W") : "–", "");
    var place = facts.place;
    add("Emissions", amount(t.operational_co2e_g, "gCO2e"),
      t.intensity_g_per_kwh === null ? "intensity unknown" : number(t.intensity_g_per_kwh) + " g/kWh" + (place ? ", " + place.place : "") +
      (t.pue === null ? ", IT energy alone" : ", PUE " + number(t.pue)));
    add("Energy per token", amount(t.j_per_token, "J"), t.tokens === null ? "tokens unknown" : number(t.tokens) + " tokens");
    add("Energy per step", amount(t.j_per_step, "J"), number(t.steps, 9) + (end.total_steps ? " of " + number(end.total_steps, 9) : "") + " steps");
    add("Loss", t.loss === null ? "–" : number(t.loss), t.step === null ? "" : "step " + number(t.step, 9));
    add("Time", span(t.duration_s), facts.started_utc ? "since " + facts.started_utc.slice(0, 19).replace("T", " ") + " UTC" : "");
    var range = function (three, unit) { return amount(three[0], unit) + " to " + amount(three[2], unit); };
    if (end.forecast_energy_j && end.forecast_energy_j[1] !== null) {
      add("Energy at the end", amount(end.forecast_energy_j[1], "J"), range(end.forecast_energy_j, "J"));
    }
    if (end.forecast_emissions_g && end.forecast_emissions_g[1] !== null) {
      add("Emissions at the end", amount(end.forecast_emissions_g[1], "gCO2e"), range(end.forecast_emissions_g, "gCO2e"));
    }
    if (end.forecast_cost && end.forecast_cost[1] !== null) {
      add("Cost at the end", number(end.forecast_cost[1]) + " " + (end.currency || ""), range(end.forecast_cost, ""));
    }
    if (end.energy_budget_j) {
      add("Energy budget", t.energy_j === null ? "–" : number(100 * t.energy_j / end.energy_budget_j, 3) + "\u00a0% used", "of " + amount(end.energy_budget_j, "J"));
    }
    if (end.emissions_budget_g) {
      add("Emissions budget", t.operational_co2e_g === null ? "–" : number(100 * t.operational_co2e_g / end.emissions_budget_g, 3) + "\u00a0% used",
        "of " + amount(end.emissions_budget_g, "gCO2e"));
    }
    return made;
  }

  function drawTiles(list, facts) {
    var made = tiles(facts), names = made.map(function (one) { return one[0]; });
    keep(list, names, function () {
      var tile = el("div", "tile");
      tile.append(el("dt"), el("dd", "value"), el("dd", "remark"));
      return tile;
    });
    made.forEach(function (one, at) {
      one.forEach(function (text, part) { say(list.children[at].children[part], text); });
    });
  }

  function makeRun(key) {
    var card = el("article", "run");
    var head = el("h2");
    head.append(el("span", "swatch"), el("span", "name"), el("span", "state"));
    var figure = el("figure");
    figure.id = "power-" + key;
    card.append(head, el("p", "subtitle"), el("p", "reading"), el("dl", "tiles"), el("h3", "", "Power by device"), figure,
      el("h3", "", "Energy by phase"), table(["Phase", "Energy", "Share"]), el("h3", "", "Devices"),
      table(["Device", "Source", "Power", "Energy"]), el("h3", "", "Gaps and warnings"), el("ul", "warnings"));
    return card;
  }

  function table(titles) {
    var room = el("div", "scroll"), made = el("table"), head = el("tr"), body = el("tbody"), top = el("thead");
    titles.forEach(function (text, at) {
      var cell = el("th", at && text !== "Source" ? "number" : "", text);
      cell.scope = "col";
      head.append(cell);
    });
    top.append(head);
    made.append(top, body);
    room.append(made);
    return room;
  }

  function fill(room, rows) {
    var body = room.querySelector("tbody");
    keep(body, rows.map(function (row) { return row.key; }), function () { return el("tr"); });
    rows.forEach(function (row, at) {
      var line = body.children[at];
      row.cells.forEach(function (text, column) {
        var cell = line.children[column];
        if (!cell) {
          cell = el(column ? "td" : "th", column && !(row.words && column === 1) ? "number" : "");
          if (!column) { cell.scope = "row"; }
          line.append(cell);
        }
        if (column === 2 && row.share !== undefined) {
          if (!cell.firstChild) {
            var bar = el("span", "bar");
            bar.append(el("span"));
            cell.append(bar, el("span", "beside"));
          }
          cell.firstChild.firstChild.style.width = 100 * Math.min(1, Math.max(0, row.share || 0)) + "%";
          say(cell.children[1], text);
        } else { say(cell, text); }
      });
    });
    room.hidden = !rows.length;
    room.previousElementSibling.hidden = !rows.length;
  }

  function drawRun(card) {
    var key = card.dataset.key, run = runs[key], facts = run.facts, parts = card.children;
    if (!facts) { return; }
    var head = parts[0].children;
    head[0].className = "swatch s" + hue(key);
    say(head[1], facts.name);
    say(head[2], STATES[facts.state] || facts.state);
    head[2].className = "state " + facts.state;
    say(parts[1], [facts.project && "project " + facts.project, facts.variant && "variant " + facts.variant].filter(Boolean).join(", "));
    parts[2].hidden = facts.share_read >= 0.995;
    say(parts[2], "Reading the record: " + Math.floor(100 * facts.share_read) + " %");
    drawTiles(parts[3], facts);
    drawPower(parts[5], run);
    var total = facts.totals.energy_j;
    fill(parts[7], Object.keys(facts.phases).filter(function (one) { return facts.phases[one]; }).map(function (one) {
      var share = total ? facts.phases[one] / total : 0;
      return { key: one, share: share, cells: [one, amount(facts.phases[one], "J"), number(100 * share, 3) + " %"] };
    }));
    fill(parts[9], facts.devices.map(function (one) {
      var name = (one.rank ? "rank " + one.rank + " " : "") + one.device;
      return { key: one.rank + one.device, words: true, cells: [
        name + (one.model ? ", " + one.model : ""), one.method + ", " + one.trust, amount(one.power_w, "W"), amount(one.energy_j, "J")
      ] };
    }));
    drawWarnings(parts[11], facts);
  }

  function drawWarnings(list, facts) {
    var texts = facts.notices.slice();
    facts.events.slice().reverse().forEach(function (one) {
      if (!one.reason && (one.what === "stopped" || one.what === "parent_died")) { return; }
      var where = (one.rank ? "rank " + one.rank + ": " : "") + (one.device ? one.device + ": " : "");
      texts.push((one.t_s === null ? "" : span(one.t_s) + "  ") + where + one.what.replace(/_/g, " ") + (one.reason ? ": " + one.reason : ""));
    });
    texts = texts.slice(0, EVENTS_SHOWN);
    while (list.children.length > texts.length) { list.lastChild.remove(); }
    texts.forEach(function (text, at) {
      if (!list.children[at]) { list.append(el("li")); }
      say(list.children[at], text);
    });
    list.hidden = list.previousElementSibling.hidden = !texts.length;
  }

  // Plots. A curve is its mean, and a band between its least and greatest where these differ.
  function drawPower(figure, run) {
    var keys = Object.keys(run.curves).filter(function (key) { return key.indexOf("power:") === 0; }).sort();
    var lines = keys.map(function (key, at) {
      var part = key.split(":"), name = (part[1] === "0" ? "" : "rank " + part[1] + " ") + part.slice(2).join(":");
      return { name: name, hue: at, curve: run.curves[key] };
    });
    var phases = [];
    run.facts.spans.forEach(function (one) { if (phases.indexOf(one[0]) < 0) { phases.push(one[0]); } });
    plot(figure, { title: "Power by device", unit: "W", zero: true, run: figure.id.slice(6),
      note: "means of half a second; shaded: " + (phases.join(", ") || "nothing") }, lines);
  }

  function drawTogether(keys) {
    var any = false;
    TOGETHER.forEach(function (chart) {
      var lines = keys.filter(function (key) { return runs[key].curves[chart.key]; }).map(function (key) {
        return { name: keys.length > 1 ? nameOf(key) : chart.title, hue: hue(key), curve: runs[key].curves[chart.key] };
      });
      var figure = byId("chart-" + chart.key);
      figure.parentElement.hidden = !lines.length;
      any = any || lines.length > 0;
      if (lines.length) { plot(figure, chart, lines); }
    });
    byId("together").hidden = !any;
  }

  function isBand(curve) {
    for (var at = 0; at < curve.mid.length; at += 1) { if (curve.low[at] !== curve.high[at]) { return true; } }
    return false;
  }

  function dataOf(lines) {
    var tables = lines.map(function (line) {
      return line.band ? [line.curve.x, line.curve.mid, line.curve.low, line.curve.high] : [line.curve.x, line.curve.mid];
    });
    if (tables.length === 1) { return tables[0]; }
    // 2: a gap reaches over the moments that only the other curves have, or they would bridge it.
    return uPlot.join(tables, tables.map(function (one) { return one.map(function (_, at) { return at ? 2 : 0; }); }));
  }

  function plot(figure, chart, lines) {
    lines.forEach(function (line) { line.name = line.name.slice(0, 60); line.band = isBand(line.curve); });
    var shape = JSON.stringify(lines.map(function (line) { return [line.name, line.hue, line.band]; }));
    var held = plots[figure.id];
    if (held && held.shape !== shape) {
      held.plot.destroy();
      figure.textContent = "";
      held = null;
    }
    if (!lines.length || !figure.clientWidth) { return; }
    var data = dataOf(lines);
    if (held) {
      held.plot.setData(data, false);
      if (!held.zoomed) { held.plot.setScale("x", reach(data)); } else { held.plot.redraw(true, true); }
    } else { held = plots[figure.id] = make(figure, chart, lines, data, shape); }
    figure.dataset.points = data[0].length;
    figure.dataset.until = data[0].length ? data[0][data[0].length - 1] : 0;
    describe(figure, chart, lines);
  }

  function reach(data) {
    var x = data[0], last = x.length ? x[x.length - 1] : 1;
    return { min: x.length ? Math.min(x[0], 0) : 0, max: Math.max(last, 1) };
  }

  function make(figure, chart, lines, data, shape) {
    var unit = function (plot, value) { return amount(value, chart.unit); };
    var series = [{ label: "time", value: function (plot, value) { return span(value); } }], bands = [];
    lines.forEach(function (line) {
      var stroke = colour("--c" + line.hue % COLOURS);
      series.push({ label: line.name, stroke: stroke, width: 1.5, value: unit, dash: line.hue < COLOURS ? undefined : [5, 4],
        points: { show: line.curve.mid.length < 3 } });
      if (line.band) {
        series.push({ label: "least", width: 0, points: { show: false }, value: unit });
        series.push({ label: "greatest", width: 0, points: { show: false }, value: unit });
        bands.push({ series: [series.length - 1, series.length - 2], fill: stroke + "33" });
      }
    });
    var axis = function (size, values) {
      return { size: size, gap: 6, values: values, stroke: colour("--muted"), font: "12px system-ui, sans-serif",
        grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false } };
    };
    var held = { shape: shape, zoomed: false };
    var room = el("div", "room");
    room.tabIndex = 0;
    room.setAttribute("role", "img");
    figure.append(room, el("figcaption"));
    held.plot = new uPlot({
      width: figure.clientWidth, height: HEIGHT, series: series, bands: bands,
      scales: {
        x: { time: false, auto: false, range: function (plot, low, high) { return [low === null ? 0 : low, high === null ? 1 : high]; } },
        y: { range: function (plot, low, high) {
          if (low === null || high === null) { return [0, 1]; }
          var space = 0.08 * (high - low) || Math.abs(high) / 2 || 0.5;
          return chart.zero ? [Math.min(0, low), high + space] : [low - space, high + space];
        } }
      },
      axes: [axis(28, function (plot, ticks) { return ticks.map(span); }),
        axis(chart.unit === "gCO2e" ? 88 : 68, function (plot, ticks) { return ticks.map(function (one) { return amount(one, chart.unit); }); })],
      cursor: { points: { size: 6 }, y: false, sync: { key: "time" } },
      hooks: {
        drawClear: [function (plot) { if (chart.run) { shade(plot, chart.run); } }],
        setSelect: [function (plot) { if (plot.select.width > 0) { held.zoomed = true; } }]
      }
    }, data, room);
    held.plot.setScale("x", reach(data));
    held.plot.over.addEventListener("dblclick", function () { held.zoomed = false; dirty = true; });
    room.addEventListener("keydown", function (event) { step(held.plot, event); });
    return held;
  }

  function shade(plot, key) {
    var facts = runs[key] && runs[key].facts, context = plot.ctx, box = plot.bbox;
    if (!facts) { return; }
    context.save();
    context.beginPath();
    context.rect(box.left, box.top, box.width, box.height);
    context.clip();
    context.fillStyle = colour("--shade");
    facts.spans.forEach(function (one) {
      var left = plot.valToPos(one[1], "x", true), right = plot.valToPos(one[2], "x", true);
      context.fillRect(left, box.top, Math.max(1, right - left), box.height);
    });
    context.fillStyle = colour("--notice-line");
    facts.events.forEach(function (one) {
      if (one.t_s !== null && one.reason) { context.fillRect(plot.valToPos(one.t_s, "x", true), box.top, 2, box.height); }
    });
    context.restore();
  }

  // Arrow keys move the cursor over the curve, Escape takes a zoom back.
  function step(plot, event) {
    var x = plot.data[0], at = plot.cursor.idx, move = { ArrowLeft: -1, ArrowRight: 1, Home: -x.length, End: x.length }[event.key];
    if (event.key === "Escape") { plot.over.dispatchEvent(new MouseEvent("dblclick")); return; }
    if (move === undefined || !x.length) { return; }
    event.preventDefault();
    at = at === null || at === undefined ? x.length - 1 : Math.min(x.length - 1, Math.max(0, at + move));
    plot.setCursor({ left: plot.valToPos(x[at], "x"), top: 10 });
  }

  function describe(figure, chart, lines) {
    var latest = lines.map(function (line) {
      var values = line.curve.mid, at = values.length - 1;
      while (at >= 0 && values[at] === null) { at -= 1; }
      return line.name + " " + (at < 0 ? "–" : amount(values[at], chart.unit));
    }).join(", ");
    figure.firstChild.setAttribute("aria-label", chart.title + ", latest: " + latest);
    say(figure.lastChild, chart.note);
  }

  function drawStatus() {
    var away = (Date.now() - heard) / 1000, text;
    if (!began) { text = connected ? "Reading the record …" : "Connecting …"; }
    else if (!connected) { text = "Connection lost: what is shown is as of " + span(away) + " ago. Trying again …"; }
    else if (!order.length) { text = "No run here yet: one that begins will appear."; }
    else {
      var live = order.filter(function (key) { return runs[key].facts && runs[key].facts.state === "live"; }).length;
      text = live ? live + (live > 1 ? " runs are" : " run is") + " going on; updated each second." : "No run is going on.";
    }
    say(byId("status"), text);
    byId("status").className = began && !connected ? "warn" : "subtitle";
  }

  function draw() {
    if (document.hidden) { return; }
    drawStatus();
    if (!dirty) { return; }
    dirty = false;
    var keys = shown().filter(function (key) { return runs[key]; });
    say(byId("title"), keys.length === 1 ? nameOf(keys[0]) : title || "greenai");
    document.title = byId("title").textContent.slice(0, 80) + " · greenai watch";
    drawChooser(keys);
    byId("each").classList.toggle("many", keys.length > 1);
    keep(byId("each"), keys, makeRun);
    drawTogether(keys);
    Array.prototype.forEach.call(byId("each").children, drawRun);
    if (!drawn && Object.keys(plots).length) {
      drawn = true;
      performance.mark("curves");
    }
  }

  function again() {
    Object.keys(plots).forEach(function (id) { plots[id].plot.destroy(); byId(id).textContent = ""; });
    plots = {};
    dirty = true;
    draw();
  }

  TOGETHER.forEach(function (chart) {
    var part = el("div", "chart"), figure = el("figure");
    figure.id = "chart-" + chart.key;
    part.append(el("h3", "", chart.title), figure);
    byId("charts").append(part);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  addEventListener("resize", function () {
    Object.keys(plots).forEach(function (id) {
      if (byId(id).clientWidth) { plots[id].plot.setSize({ width: byId(id).clientWidth, height: HEIGHT }); }
    });
  });
  document.addEventListener("visibilitychange", function () { dirty = true; draw(); });
  addEventListener("hashchange", function () { chosen = null; dirty = true; draw(); });
  setInterval(draw, 500);
  connect();
})();
