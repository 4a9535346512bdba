"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const MM_PER_S = 25, MM_PER_MV = 10, AIR = 6, LEAST = 15, TALLEST = 60;
  const WIDEST_IMAGE = 5000;
  const byId = (id) => document.getElementById(id);

  // ---- making elements: text is always set as text, never as HTML ----
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }
  function draw(tag, attributes = {}) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }
  const minus = (text) => text.replace("-", "\u2212");
  const plain = (value, digits = 3) => minus(value.toFixed(digits));
  const short = (value) => value === 0 ? "0" : minus(Math.abs(value) < 0.001 ? value.toExponential(1) : Number(value.toPrecision(2)).toString());
  const signed = (value) => (value >= 0 ? "+" : "") + (value && Math.abs(value) < 0.0005 ? minus(value.toExponential(0)) : plain(value));
  const quoted = (text) => `\u201c${text}\u201d`;

  // ---- arrays ----
  function unpack(stored, leads, bytes) {
    const binary = atob(stored.data), count = binary.length / bytes / leads;
    const view = new DataView(Uint8Array.from(binary, (c) => c.charCodeAt(0)).buffer);
    return stored.step.map((step, row) => Float64Array.from({length: count}, (_, i) => {
      const at = (row * count + i) * bytes;
      return step * (bytes === 1 ? view.getInt8(at) : view.getInt16(at, true));
    }));
  }
  const signals = data.signals, results = data.results;
  const voltages = (signal) => signal.volts ??= unpack(signal.mv, signal.leads.length, 2);
  const maps = (result) => result.values ??= unpack(result.map, result.leads.length, 2);
  const gradients = (result) => result.gradient && (result.curve ??= unpack(result.gradient, result.leads.length, 1));
  for (const result of results) {
    result.order = result.leads.map((_, row) => row).sort((a, b) => result.leads[b].gain - result.leads[a].gain || a - b);
  }

  // What tells results of one prompt apart: the method, and whatever else differs among the results.
  (() => {
    const keys = ["mask", "against", "options", "layer", "model", "checkpoint_sha256", "seed"];
    const value = (result, key) => JSON.stringify(result.settings[key] ?? null);
    const differing = keys.filter((key) => results.some((result) =>
      results.some((other) => other.settings.method === result.settings.method && value(other, key) !== value(result, key))));
    const count = new Map();
    for (const result of results) {
      const parts = differing.map((key) => {
        const said = result.settings[key];
        return key === "checkpoint_sha256" ? `weights ${String(said).slice(0, 8)}`
          : said === null || said === undefined ? `no ${key}` : typeof said === "string" ? said : `${key} ${JSON.stringify(said)}`;
      });
      const label = [result.settings.method, ...parts].join(", ");
      const key = JSON.stringify([result.signal, result.text, label]);
      count.set(key, (count.get(key) ?? 0) + 1);
      result.label = count.get(key) > 1 ? `${label} (${count.get(key)})` : label;
    }
  })();

  // ---- what is shown ----
  const state = {signal: results.length ? results[0].signal : "", a: 0, b: -1, lead: "", scale: data.scale, zoom: 1, threshold: 0,
    shared: true, gradient: false, sample: null, row: null};
  // The page opens with what the model says of the first recording, not with what is first in the alphabet.
  const opening = (index) => results[index].score - results[index].empty;
  results.forEach((result, index) => { if (result.signal === state.signal && opening(index) > opening(state.a)) state.a = index; });
  const shown = () => [state.a, state.b].filter((index) => index >= 0).map((index) => results[index]);
  const seconds = (value) => minus(Number(value.toFixed(3)).toString());
  const spoken = (signal) => `${signal.record}, ${seconds(signal.start)} to ${seconds(signal.start + signal.samples / signal.fs)} s`;
  const rows = (signal) => state.lead === "" ? signal.leads.map((_, row) => row) : [signal.leads.indexOf(state.lead)];
  const timeOf = (signal, sample) => signal.start + sample / signal.fs;
  const top = (result) => state.shared ? Math.max(...shown().map((each) => each.scales[state.scale].top)) : result.scales[state.scale].top;
  const valueAt = (result, row, sample) => maps(result)[row][sample] * result.scales[state.scale].factor[row];
  const isReal = (signal, row, sample) => !signal.invalid[row].some(([first, stop]) => sample >= first && sample < stop);

  // ---- colour: as in the pictures, the sign is the hue and the magnitude the opacity ----
  function shade(values, highest, pixels) {
    values.forEach((value, i) => {
      const part = highest > 0 ? Math.min(Math.abs(value) / highest, 1) : 0;
      const hue = value < 0 ? data.palette.negative : data.palette.positive;
      hue.forEach((channel, c) => { pixels[4 * i + c] = Math.round(255 * channel); });
      pixels[4 * i + 3] = part > 0 && part >= state.threshold ? Math.round(255 * data.palette.strongest * part) : 0;
    });
  }
  // Means over equal columns, so that no thin peak is skipped.
  function averaged(values, columns) {
    if (values.length <= columns) return values;
    const mass = new Float64Array(values.length + 1);
    values.forEach((value, i) => { mass[i + 1] = mass[i] + value; });
    const upTo = (x) => { const i = Math.min(Math.floor(x), values.length - 1); return mass[i] + (x - i) * values[i]; };
    const width = values.length / columns;
    return Float64Array.from({length: columns}, (_, i) => (upTo((i + 1) * width) - upTo(i * width)) / width);
  }
  function picture(values, highest) {
    const canvas = make("canvas", {width: values.length, height: 1}), context = canvas.getContext("2d");
    const image = context.createImageData(values.length, 1);
    shade(values, highest, image.data);
    context.putImageData(image, 0, 0);
    return canvas.toDataURL("image/png");
  }

  // ---- one lead ----
  function heightOf([low, high]) {
    return Math.min(Math.max(5 * Math.ceil(((high - low) * MM_PER_MV + AIR) / 5), LEAST), TALLEST);
  }
  function grid(width, height) {
    const group = draw("g", {class: "grid"});
    for (const [step, kind] of [[1, "fine"], [5, "bold"]]) {
      let path = "";
      for (let x = 0; x <= width + 1e-6; x += step) if (kind === "bold" || x % 5) path += `M${x} 0V${height}`;
      for (let y = 0; y <= height; y += step) if (kind === "bold" || y % 5) path += `M0 ${y}H${width}`;
      group.append(draw("path", {d: path, class: kind}));
    }
    return group;
  }
  function line(values, xOf, yOf, keep) {
    let path = "", pen = false;
    values.forEach((value, i) => {
      if (!keep(i)) { pen = false; return; }
      path += `${pen ? "L" : "M"}${xOf(i).toFixed(2)} ${yOf(value).toFixed(2)}`;
      pen = true;
    });
    return path;
  }
  function strip(result, row) {
    const signal = signals[result.signal], [low, high] = signal.range[row];
    const width = signal.samples / signal.fs * MM_PER_S, height = heightOf(signal.range[row]);
    const zero = height - 5 * Math.round((height / 2 - (low + high) / 2 * MM_PER_MV) / 5);
    const step = MM_PER_S / signal.fs, xOf = (i) => i * step;
    const svg = draw("svg", {viewBox: `0 0 ${width} ${height}`, class: "trace", role: "slider", tabindex: "-1",
      "aria-orientation": "horizontal", "aria-valuemin": signal.start, "aria-valuemax": timeOf(signal, signal.samples - 1),
      "aria-label": `Lead ${signal.leads[row]}, gain ${signed(result.leads[row].gain)}, ${quoted(result.text)}`});
    svg.dataset.row = row;
    svg.append(draw("rect", {width, height, class: "paper"}), grid(width, height));
    const factor = result.scales[state.scale].factor[row];
    const coloured = maps(result)[row].map((value, i) => isReal(signal, row, i) ? value * factor : 0);
    if (factor > 0) svg.append(draw("image", {href: picture(averaged(coloured, WIDEST_IMAGE), top(result)), x: -step / 2, y: 0,
      width, height, preserveAspectRatio: "none", class: "map"}));
    for (const [first, stop] of signal.invalid[row]) {
      svg.append(draw("rect", {x: (first - 0.5) * step, width: (stop - first) * step, y: 0, height, class: "missing"}));
    }
    const real = new Uint8Array(signal.samples).fill(1);
    for (const [first, stop] of signal.invalid[row]) real.fill(0, first, stop);
    if (state.gradient && gradients(result)) {
      const curves = gradients(result), strongest = Math.max(...result.gradient.step) * 127, smoothed = result.settings.smoothing;
      const both = Boolean(smoothed && smoothed.signed), base = both ? height / 2 : height - 0.5, reach = both ? height / 2 - 1 : height * 0.4;
      const d = line(curves[row], xOf, (value) => base - value / (strongest || 1) * reach, (i) => real[i]);
      svg.append(draw("path", {d, class: "gradient"}));
    }
    svg.append(draw("path", {d: line(voltages(signal)[row], xOf, (mv) => zero - mv * MM_PER_MV, (i) => real[i]), class: "ecg"}));
    svg.append(draw("line", {y1: 0, y2: height, x1: 0, x2: 0, class: "cursor"}));
    return svg;
  }

  // ---- the traces ----
  function legend(result) {
    const highest = top(result), of = result.scales[state.scale];
    const values = Float64Array.from({length: 120}, (_, i) => highest * (result.signed ? i / 59.5 - 1 : i / 119));
    const ends = result.signed ? [-highest, 0, highest] : [0, highest / 2, highest];
    const figure = make("div", {class: "legend"});
    if (!(highest > 0)) { figure.append("no colour: every map is zero on this scale"); return figure; }
    figure.append(make("img", {src: picture(values, highest), alt: ""}),
      make("div", {class: "ticks"}, ...ends.map((end) => make("span", {}, short(end)))),
      make("div", {}, of.unit + (result.signed ? ", signed" : "")));
    return figure;
  }
  function view(result, place) {
    const signal = signals[result.signal];
    const inner = make("div", {class: "inner"});
    for (const row of rows(signal)) {
      const lead = result.leads[row];
      const blank = state.scale === "evidence" && lead.gain <= 0 ? "no gain: left blank" : lead.note;
      const note = [blank, signal.cut[row]].filter(Boolean).join("; ");
      inner.append(make("div", {class: "row"}, make("div", {class: "name"}, make("b", {}, signal.leads[row]),
        ` gain ${signed(lead.gain)}, rank ${result.order.indexOf(row) + 1}`, note ? make("i", {}, ` ${note}`) : ""), strip(result, row)));
    }
    const first = Math.ceil(signal.start - 1e-6), width = signal.samples / signal.fs, ticks = make("div", {class: "seconds", "aria-hidden": "true"});
    for (let s = first; s <= signal.start + width + 1e-6; s += 1) {
      const tick = make("span", {}, `${s}${s === first ? " s" : ""}`);
      tick.style.left = `${100 * (s - signal.start) / width}%`;
      ticks.append(tick);
    }
    inner.append(ticks);
    inner.style.width = `${100 * state.zoom}%`;
    const scroll = make("div", {class: "scroll paper-scroll"}, inner);
    const title = make("h3", {}, quoted(result.text));
    const section = make("section", {class: "view", "aria-label": `Traces, ${quoted(result.text)}, ${result.label}`}, title,
      make("p", {class: "scores"}, result.outcome), make("p", {class: "provenance"}, result.provenance), legend(result), scroll,
      make("p", {class: "note"}, `Scale ${state.scale}. One small square is 40 ms and 0.1 mV.`
        + (state.threshold ? ` Colour below ${Math.round(100 * state.threshold)} % of the strongest is hidden.` : "") + (state.gradient && result.gradient
        ? ` Thin violet curve: the smoothed input gradient, ${short(Math.max(...result.gradient.step) * 127)} per mV at its highest.` : "")));
    section.dataset.place = place;
    for (const warning of result.warnings) section.append(make("p", {class: "warning"}, `Note: ${warning}`));
    return section;
  }
  function showTraces() {
    const left = byId("views").querySelector(".paper-scroll")?.scrollLeft ?? 0;
    const focused = document.activeElement?.classList?.contains("trace") ? document.activeElement : null;
    const again = focused && [focused.closest(".view").dataset.place, focused.dataset.row];
    byId("views").replaceChildren(...shown().map((result, place) => view(result, place)));
    for (const scroll of byId("views").querySelectorAll(".paper-scroll")) scroll.scrollLeft = left;
    const candidates = rows(signals[state.signal]);
    if (state.row === null || !candidates.includes(state.row)) state.row = candidates[0];
    mark();
    if (again) trace(Number(again[0]), Number(again[1]))?.focus();
  }
  const trace = (place, row) => byId("views").querySelector(`.view[data-place="${place}"] .trace[data-row="${row}"]`);

  // ---- the cursor ----
  function words(result, row, sample) {
    const signal = signals[result.signal];
    if (!isReal(signal, row, sample)) return "no signal";
    const value = valueAt(result, row, sample), highest = top(result);
    const share = highest > 0 ? `, ${Math.round(100 * value / highest)} % of the strongest` : "";
    return `map ${short(value)}${minus(share)}`;
  }
  function mark() {
    const signal = signals[state.signal], sample = state.sample;
    for (const element of byId("views").querySelectorAll(".trace")) {
      const row = Number(element.dataset.row), at = sample ?? 0, result = shown()[Number(element.closest(".view").dataset.place)];
      element.setAttribute("tabindex", row === state.row ? "0" : "-1");
      element.setAttribute("aria-valuenow", timeOf(signal, at).toFixed(3));
      element.setAttribute("aria-valuetext", `${timeOf(signal, at).toFixed(3)} s, ${plain(voltages(signal)[row][at], 2)} mV, ${words(result, row, at)}`);
      const cursor = element.querySelector(".cursor"), x = at / signal.fs * MM_PER_S;
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      cursor.classList.toggle("on", sample !== null);
      element.classList.toggle("current", sample !== null && row === state.row);
    }
    const readout = byId("readout");
    if (sample === null) { readout.textContent = "Point at a trace, or move along it with the arrow keys."; return; }
    const row = state.row, several = shown().length > 1;
    readout.replaceChildren(make("b", {}, signal.leads[row]), ` at ${timeOf(signal, sample).toFixed(3)} s: ${plain(voltages(signal)[row][sample], 2)} mV; `,
      shown().map((result) => words(result, row, sample) + (several ? ` for ${quoted(result.text)}` : "")).join("; "));
  }
  function moveTo(sample, row) {
    const signal = signals[state.signal];
    state.sample = Math.min(Math.max(sample, 0), signal.samples - 1);
    state.row = row;
    mark();
  }
  function reveal(place) {
    const element = trace(place, state.row), scroll = element?.closest(".paper-scroll");
    if (!scroll) return;
    const x = state.sample / signals[state.signal].samples * element.getBoundingClientRect().width;
    if (x < scroll.scrollLeft || x > scroll.scrollLeft + scroll.clientWidth - 20) scroll.scrollLeft = x - scroll.clientWidth / 2;
  }
  byId("views").addEventListener("pointermove", (event) => {
    const element = event.target.closest?.(".trace");
    if (!element) return;
    const box = element.getBoundingClientRect(), signal = signals[state.signal];
    moveTo(Math.round((event.clientX - box.left) / box.width * signal.samples), Number(element.dataset.row));
  });
  byId("views").addEventListener("focusin", (event) => {
    const element = event.target.closest?.(".trace");
    if (element) moveTo(state.sample ?? 0, Number(element.dataset.row));
  });
  byId("views").addEventListener("keydown", (event) => {
    const element = event.target.closest?.(".trace");
    if (!element || event.altKey || event.ctrlKey || event.metaKey) return;
    const signal = signals[state.signal], row = Number(element.dataset.row), place = Number(element.closest(".view").dataset.place);
    const stride = Math.max(1, Math.round((event.shiftKey ? 0.2 : 0.01) * signal.fs)), sample = state.sample ?? 0, candidates = rows(signal);
    const moments = shown()[place].leads[row].moments, samples = moments.map((s) => Math.round((s - signal.start) * signal.fs)).sort((a, b) => a - b);
    const to = {
      ArrowLeft: () => sample - stride, ArrowRight: () => sample + stride, Home: () => 0, End: () => signal.samples - 1,
      PageDown: () => samples.find((s) => s > sample) ?? sample, PageUp: () => samples.findLast((s) => s < sample) ?? sample,
    }[event.key];
    if (to) moveTo(to(), row);
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      const next = candidates[candidates.indexOf(row) + (event.key === "ArrowUp" ? -1 : 1)];
      if (next !== undefined) { moveTo(sample, next); trace(place, next).focus(); }
    } else return;
    event.preventDefault();
    reveal(place);
  });

  // ---- tables ----
  function table(caption, headings, lines) {
    const head = make("tr", {}, ...headings.map(([text, kind]) => make("th", {scope: "col", class: kind || false}, text)));
    const body = lines.map((cells) => make("tr", {}, ...cells.map((cell, i) =>
      i ? make("td", {class: headings[i][1] || false}, cell) : make("th", {scope: "row", class: headings[i][1] || false}, cell))));
    return make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body));
  }
  const scrolling = (label, content) => make("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": label}, content);
  function goTo(place, row, seconds) {
    const signal = signals[state.signal];
    if (state.lead !== "" && state.lead !== signal.leads[row]) { state.lead = ""; byId("lead").value = ""; showTraces(); }
    moveTo(Math.round((seconds - signal.start) * signal.fs), row);
    const element = trace(place, row);
    element.focus({preventScroll: true});
    element.scrollIntoView({block: "center", inline: "nearest"});
    reveal(place);
  }
  function leadTable(result, place) {
    const signal = signals[result.signal];
    const lines = result.order.map((row, rank) => {
      const lead = result.leads[row];
      const moments = make("span", {class: "moments"}, ...lead.moments.map((seconds) => {
        const button = make("button", {type: "button", "aria-label": `Go to ${seconds.toFixed(2)} s in lead ${signal.leads[row]}`}, seconds.toFixed(2));
        button.addEventListener("click", () => goTo(place, row, seconds));
        return button;
      }));
      return [signal.leads[row], String(rank + 1), signed(lead.gain), plain(lead.alone), plain(lead.shift), moments];
    });
    return scrolling(`Leads for ${quoted(result.text)}`, table(`${quoted(result.text)}, ${result.label}: score ${plain(result.score)}, empty score ${plain(result.empty)}`,
      [["lead"], ["rank", "number"], ["gain", "number"], ["score alone", "number"], ["mask shift", "number"], ["strongest moments, s"]], lines));
  }
  function waveTable(result) {
    const segments = ["P", "PR", "QRS", "ST", "T", "TP"], waves = result.waves;
    const cell = (of) => !of || of.share === null || of.share === undefined ? "unknown" : make("span", {}, `${Math.round(100 * of.share)} %`,
      make("small", {}, of.density === null || of.density === undefined ? "" : ` ${of.density.toFixed(1)}\u202f\u00d7`));
    const lines = waves.leads.map((lead) => [lead.name, ...segments.map((segment) => cell(lead[segment]))]);
    return scrolling(`Waves for ${quoted(result.text)}`, table(`${quoted(result.text)}, ${waves.beats} beats: share of the lead's map, and its density against the average (1.0 \u00d7 is chance)`,
      [["lead"], ...segments.map((segment) => [segment, "number"])], lines));
  }
  function showTables() {
    byId("tables").replaceChildren(...shown().map(leadTable));
    const known = shown().filter((result) => result.waves && Array.isArray(result.waves.leads));
    byId("waves-section").hidden = known.length === 0;
    byId("waves").replaceChildren(...known.map(waveTable));
    byId("settings").replaceChildren(...shown().map((result) => {
      const list = make("dl", {class: "settings"});
      for (const [key, value] of [...Object.entries(result.settings), ...Object.entries(result.report)]) {
        list.append(make("dt", {}, key), make("dd", {}, typeof value === "string" ? value : JSON.stringify(value)));
      }
      return make("div", {class: "view"}, make("h3", {}, `${quoted(result.text)}, ${result.label}`), list);
    }));
    for (const line of byId("all").querySelectorAll("tbody tr")) {
      const index = Number(line.dataset.index);
      line.toggleAttribute("data-current", index === state.a || index === state.b);
      line.querySelector("button").setAttribute("aria-pressed", String(index === state.a));
    }
  }
  function showAll() {
    const lines = results.map((result, index) => {
      const signal = signals[result.signal], strongest = result.order.slice(0, 3).map((row) => `${signal.leads[row]} ${signed(result.leads[row].gain)}`);
      const button = make("button", {type: "button", "aria-pressed": "false", "aria-label": `Show ${result.record}, ${quoted(result.text)}, ${result.label}`}, "show");
      button.addEventListener("click", () => {
        Object.assign(state, {a: index, b: -1, sample: null});
        if (state.signal !== result.signal) state.row = null;
        state.signal = result.signal;
        refill();
        byId("traces").scrollIntoView();
      });
      return [result.record, seconds(signal.start), result.text, result.label, plain(result.score), plain(result.empty),
        signed(result.score - result.empty), strongest.join(", "), button];
    });
    const caption = `${results.length} result${results.length === 1 ? "" : "s"}` + (data.leftOut ? `; ${data.leftOut} more are not in this file` : "");
    byId("all").replaceChildren(table(caption, [["recording"], ["from, s", "number"], ["prompt"], ["method"], ["score", "number"], ["empty", "number"],
      ["difference", "number"], ["strongest leads (gain)"], [""]], lines));
    byId("all").querySelectorAll("tbody tr").forEach((line, index) => { line.dataset.index = index; });
  }
  function showEvidence() {
    const texts = new Set(shown().map((result) => result.text)), known = data.evidence.filter((row) => texts.has(row.text));
    byId("evidence-section").hidden = known.length === 0;
    const methods = [...new Set(known.map((row) => row.method))], lines = new Map(), number = (value) => typeof value === "number";
    for (const row of known) {
      const key = JSON.stringify([row.text, row.mask, row.metric]);
      if (!lines.has(key)) lines.set(key, {of: row, chance: null, cells: new Map()});
      const line = lines.get(key);
      if (number(row.chance)) line.chance = row.chance;
      const interval = number(row.low) && number(row.high);
      const better = interval && number(row.chance) && (row.direction === "higher" ? row.low > row.chance : row.high < row.chance);
      line.cells.set(row.method, !number(row.mean) ? "" : make("span", {}, plain(row.mean),
        make("small", {}, interval ? ` ${plain(row.low)} to ${plain(row.high)}` : "", better ? " \u2713" : "", ` n\u202f=\u202f${row.n}`)));
    }
    byId("evidence").replaceChildren(table("Mean, 95 % interval, n recordings; \u2713: the interval lies on the better side of chance",
      [["prompt"], ["mask"], ["metric"], ["better"], ["chance", "number"], ...methods.map((method) => [method, "number"])],
      [...lines.values()].map(({of, chance, cells}) => [of.text, of.mask, of.metric, of.direction, chance === null ? "" : plain(chance),
        ...methods.map((method) => cells.get(method) ?? "")])));
  }

  // ---- controls ----
  function options(select, pairs, chosen) {
    select.replaceChildren(...pairs.map(([value, text]) => make("option", {value}, text)));
    select.value = String(chosen);
  }
  const here = () => results.map((result, index) => [result, index]).filter(([result]) => result.signal === state.signal);
  function refill() {
    const signal = signals[state.signal], keys = Object.keys(signals);
    if (state.lead !== "" && !signal.leads.includes(state.lead)) state.lead = "";
    const names = keys.map((key) => spoken(signals[key]));
    options(byId("recording"), keys.map((key, i) => [key, names.indexOf(names[i]) === names.lastIndexOf(names[i]) ? names[i] : `${names[i]}, ${signals[key].fs} Hz`]), state.signal);
    byId("recording-field").hidden = keys.length === 1;
    const texts = [...new Set(here().map(([result]) => result.text))];
    const choices = texts.map((text, i) => [i, text || "(empty text)"]);
    options(byId("prompt-a"), choices, texts.indexOf(results[state.a].text));
    options(byId("prompt-b"), [["", "nothing"], ...choices], state.b < 0 ? "" : texts.indexOf(results[state.b].text));
    const several = new Set(results.map((result) => result.label)).size > 1;
    for (const [side, index] of [["a", state.a], ["b", state.b]]) {
      const same = index < 0 ? [] : here().filter(([result]) => result.text === results[index].text);
      options(byId(`method-${side}`), same.map(([result, each]) => [each, result.label]), index);
      byId(`method-${side}-field`).hidden = !several || index < 0;
    }
    options(byId("lead"), [["", "all"], ...signal.leads.map((lead) => [lead, lead])], state.lead);
    byId("shared-field").hidden = state.b < 0;
    byId("gradient-field").hidden = !shown().some((result) => result.gradient);
    document.body.classList.toggle("two", state.b >= 0);
    show();
  }
  function show() { showTraces(); showTables(); showEvidence(); }
  function pick(side, text, label) {
    const same = here().filter(([result]) => result.text === text);
    state[side] = (same.find(([result]) => result.label === label) ?? same[0])[1];
  }
  function textAt(select) { return [...new Set(here().map(([result]) => result.text))][Number(select.value)]; }
  const on = (id, act, redraw = refill) => byId(id).addEventListener(byId(id).type === "range" ? "input" : "change", () => { act(byId(id)); redraw(); });
  on("recording", (select) => {
    const before = shown();
    Object.assign(state, {signal: select.value, sample: null, row: null, b: -1});
    const texts = here().map(([result]) => result.text);
    pick("a", texts.includes(before[0].text) ? before[0].text : texts[0], before[0].label);
    if (before[1] && texts.includes(before[1].text)) pick("b", before[1].text, before[1].label);
  });
  on("prompt-a", (select) => pick("a", textAt(select), results[state.a].label));
  on("prompt-b", (select) => { if (select.value === "") state.b = -1; else pick("b", textAt(select), results[state.b >= 0 ? state.b : state.a].label); });
  on("method-a", (select) => { state.a = Number(select.value); });
  on("method-b", (select) => { state.b = Number(select.value); });
  on("lead", (select) => { state.lead = select.value; state.row = null; }, show);
  on("scale", (select) => { state.scale = select.value; }, show);
  on("zoom", (select) => { state.zoom = Number(select.value); }, show);
  on("shared", (box) => { state.shared = box.checked; }, show);
  on("gradient", (box) => { state.gradient = box.checked; }, show);
  on("threshold", (range) => {
    state.threshold = Number(range.value) / 100;
    byId("threshold-value").textContent = `${range.value} %`;
    range.setAttribute("aria-valuetext", `${range.value} percent of the strongest`);
  }, showTraces);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("controls").reset();

  const recordings = new Set(results.map((result) => result.record)).size, prompts = new Set(results.map((result) => result.text)).size;
  const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;
  byId("subtitle").textContent = `${count(recordings, "recording")}, ${count(prompts, "prompt")}, ${count(results.length, "result")}; model `
    + [...new Set(results.map((result) => result.settings.model))].join(", ") + ".";
  byId("footer").textContent = `Made by ecgcam ${data.version}. ${data.research}.`;
  document.title = `ecgcam: ${[...new Set(results.map((result) => result.record))].slice(0, 3).join(", ")}`;
  byId("scale").value = state.scale;
  byId("main").hidden = false;
  showAll();
  refill();
})();
