"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const {PULSE, minus, plain, short, signed, averaged, smoothed, panels, sampleAt, answerOf, opening, sorted, filtered, paged, comparable} = reportLogic;
  const {make, draw, quoted, unpack, orderLeads, rankOf, alive, labelResults, paint, MARGIN, heightOf, grid, line, pulseBase, table, scrolling, nth, waveTable,
    criteriaTable, settingsList, evidenceParts} = reportElements;
  const MM_PER_S = 25, PAGE = 50, TOP_LEADS = 3;
  const WIDEST_IMAGE = 5000;
  const byId = (id) => document.getElementById(id);

  // ---- arrays ----
  const signals = data.signals, results = data.results;
  const voltages = (signal) => signal.volts ??= unpack(signal.mv, signal.leads.length, 2);
  const maps = (result) => result.values ??= unpack(result.map, result.leads.length, 2);
  const gradients = (result) => result.gradient && (result.curve ??= unpack(result.gradient, result.leads.length, 1));
  orderLeads(results);
  labelResults(results);

  // ---- what is shown ----
  // The page opens with the clearest yes, not with what is first in the alphabet.
  const first = results.length ? opening(results) : 0;
  const state = {signal: results.length ? results[first].signal : "", a: first, b: -1, lead: "", scale: data.scale, view: "12x1", zoom: 1, threshold: 0,
    shared: true, gradient: false, sample: null, row: null, sort: "difference", descending: true, words: "", page: 0, chosen: new Set()};
  const scaleOf = (result) => state.scale === "auto" ? result.scale : state.scale;
  const shown = () => [state.a, state.b].filter((index) => index >= 0).map((index) => results[index]);
  const seconds = (value) => minus(Number(value.toFixed(3)).toString());
  const spoken = (signal) => `${signal.record}, ${seconds(signal.start)} to ${seconds(signal.start + signal.samples / signal.fs)} s`;
  const timeOf = (signal, sample) => signal.start + sample / signal.fs;
  const together = () => state.shared && shown().length === 2 && comparable(...shown(), scaleOf(shown()[0])) && scaleOf(shown()[0]) === scaleOf(shown()[1]);
  const top = (result) => together() ? Math.max(...shown().map((each) => each.scales[scaleOf(each)].top)) : result.scales[scaleOf(result)].top;
  // The map as it is shown: sample-level maps are smoothed over 40 ms.
  function shownMap(result, row) {
    result.display ??= [];
    if (result.display[row]) return result.display[row];
    const signal = signals[result.signal], half = Math.round(0.02 * signal.fs);
    const values = maps(result)[row];
    result.display[row] = result.smoothed && half > 0 ? smoothed(values, realOf(signal, row), half) : values;
    return result.display[row];
  }
  function realOf(signal, row) {
    signal.real ??= [];
    if (!signal.real[row]) {
      signal.real[row] = new Uint8Array(signal.samples).fill(1);
      for (const [first, stop] of signal.invalid[row]) signal.real[row].fill(0, first, stop);
    }
    return signal.real[row];
  }
  const byLead = (result) => result.byLead && scaleOf(result) === "raw";
  const valueAt = (result, row, sample) => byLead(result) ? 0 : shownMap(result, row)[sample] * result.scales[scaleOf(result)].factor[row];
  const isReal = (signal, row, sample) => realOf(signal, row)[sample] === 1;

  const picture = (values, highest, strongest) => paint(values, highest, strongest, data.palette, state.threshold);

  // ---- one lead ----
  function strip(result, panel, place, height) {
    const signal = signals[result.signal], row = panel.row, [low, high] = signal.range[row], gain = signal.gain[row];
    const step = MM_PER_S / signal.fs, xOf = (i) => (i - panel.first) * step, pulse = panel.first === 0 ? PULSE : 0;
    const span = (panel.stop - panel.first) * step, width = span + pulse, left = -pulse;
    const foot = footOf(result), zero = height - foot - 5 * Math.round(((height - foot - MARGIN) / 2 - (low + high) / 2 * gain) / 5);
    const rank = result.leads[row].rank === null ? "" : `, rank ${rankOf(result, row)}`;
    const svg = draw("svg", {viewBox: `${left} 0 ${width} ${height}`, class: "trace", role: "slider", tabindex: "-1",
      "aria-orientation": "horizontal", "aria-valuemin": timeOf(signal, panel.first), "aria-valuemax": timeOf(signal, panel.stop - 1),
      "aria-label": `Lead ${signal.leads[row]}, gain ${signed(result.leads[row].gain)}${rank}, ${quoted(result.text)}${place ? ", second" : ""}`});
    Object.assign(svg.dataset, {row, first: panel.first, stop: panel.stop, pulse});
    svg.append(draw("rect", {x: left, width, height, class: "paper"}), grid(left, width, height));
    const of = result.scales[scaleOf(result)], factor = byLead(result) ? 0 : of.factor[row], real = realOf(signal, row);
    if (factor > 0) {
      const values = shownMap(result, row).slice(panel.first, panel.stop).map((value, i) => real[panel.first + i] ? value * factor : 0);
      svg.append(draw("image", {href: picture(averaged(values, WIDEST_IMAGE), top(result), result.strongest), x: -step / 2, y: 0,
        width: span, height, preserveAspectRatio: "none", class: "map"}));
    }
    for (const [first, stop] of signal.invalid[row]) {
      const from = Math.max(first, panel.first), to = Math.min(stop, panel.stop);
      if (to > from) svg.append(draw("rect", {x: (from - panel.first - 0.5) * step, width: (to - from) * step, y: 0, height, class: "missing"}));
    }
    if (state.gradient && gradients(result)) {
      const curves = gradients(result), strongest = Math.max(...result.gradient.step) * 127, smoothing = result.settings.smoothing;
      const both = Boolean(smoothing && smoothing.signed), base = both ? height / 2 : height - 0.5, reach = both ? height / 2 - 1 : height * 0.4;
      const d = line(curves[row], xOf, (value) => base - value / (strongest || 1) * reach, (i) => real[i], panel.first, panel.stop);
      svg.append(draw("path", {d, class: "gradient"}));
    }
    if (pulse) svg.append(draw("path", {d: `M-7 ${pulseBase(zero, height, gain)}h1v${-gain}h4v${gain}h1`, class: "ecg"}));
    svg.append(draw("path", {d: line(voltages(signal)[row], xOf, (mv) => zero - mv * gain, (i) => real[i], panel.first, panel.stop), class: "ecg"}));
    svg.append(...moments(result, panel, xOf), ...waveMarks(result, panel, xOf, height));
    svg.append(draw("line", {y1: 0, y2: height, x1: 0, x2: 0, class: "cursor"}));
    return svg;
  }
  const footOf = (result) => result.marks?.length ? 3 : 0; // room for the names of the waves
  // Triangles at the strongest moments of the leads that add most.
  function moments(result, panel, xOf) {
    const lead = result.leads[panel.row], signal = signals[result.signal];
    if (lead.rank === null || lead.rank > TOP_LEADS || byLead(result) || !(result.scales[scaleOf(result)].factor[panel.row] > 0)) return [];
    return lead.moments.map((seconds) => Math.round((seconds - signal.start) * signal.fs)).filter((i) => i >= panel.first && i < panel.stop)
      .map((i) => draw("path", {d: `M${xOf(i) - 0.9} .6h1.8l-.9 1.6z`, class: "moment"}));
  }
  // P, QRS and T along the lower edge.
  function waveMarks(result, panel, xOf, height) {
    const marks = [];
    for (const [name, from, to] of result.marks ?? []) {
      if (from < panel.first || to >= panel.stop) continue;
      const label = draw("text", {x: (xOf(from) + xOf(to)) / 2, y: height - 1, class: "wave"});
      label.textContent = name;
      marks.push(draw("line", {x1: xOf(from), x2: xOf(to), y1: height - 0.5, y2: height - 0.5, class: "wave-line"}), label);
    }
    return marks;
  }

  // ---- the traces ----
  function legend(result) {
    const scale = scaleOf(result), of = result.scales[scale], highest = top(result);
    const figure = make("div", {class: "legend"});
    if (of.blank) { figure.append(make("p", {class: "blank"}, `No colour: ${of.blank}.`)); return figure; }
    const values = Float64Array.from({length: 120}, (_, i) => highest * (result.signed ? i / 59.5 - 1 : i / 119));
    const ends = result.signed ? [-highest, 0, highest] : [0, highest / 2, highest];
    const beyond = of.beyond ? ["\u2264\u202f", "\u2265\u202f"] : ["", ""];
    const ticks = ends.map((end, i) => make("span", {}, (i === 2 ? beyond[1] : i === 0 && result.signed ? beyond[0] : "") + short(end)));
    figure.append(make("img", {src: picture(values, highest, result.strongest), alt: ""}), make("div", {class: "ticks"}, ...ticks), make("div", {}, of.about));
    return figure;
  }
  function answerLine(result) {
    const answer = answerOf(result), said = answer === null ? quoted(result.title) : `Model: ${answer} \u2014 ${quoted(result.title)}`;
    return make("h3", {class: `answer ${answer ?? ""}`}, said);
  }
  function head(result) {
    const parts = [answerLine(result)];
    if (result.scales[scaleOf(result)].blank === data.noLead) parts.push(make("p", {class: "blank"}, `${data.noLead[0].toUpperCase()}${data.noLead.slice(1)}.`));
    parts.push(make("p", {class: "scores"}, result.outcome));
    if (result.check) parts.push(make("p", {class: result.check.passed ? "check" : "check warning"}, result.check.text));
    if (result.criteria.sentence) parts.push(make("p", {class: "check"}, result.criteria.sentence));
    for (const warning of result.warnings) parts.push(make("p", {class: "warning"}, warning));
    return make("div", {class: "view-head"}, ...parts, legend(result));
  }
  function viewRows(result, view) {
    const signal = signals[result.signal];
    if (state.lead !== "" && view !== "all") return [[{row: signal.leads.indexOf(state.lead), first: 0, stop: signal.samples}]];
    return panels(signal.leads, signal.samples, signal.fs, view === "all" ? "12x1" : view, result.strips);
  }
  function body(result, place, view) {
    const signal = signals[result.signal], inner = make("div", {class: "inner"});
    for (const line_ of viewRows(result, view)) {
      const height = Math.max(...line_.map((panel) => heightOf(signal.range[panel.row], signal.gain[panel.row]))) + footOf(result);
      const cells = line_.map((panel) => {
        const lead = result.leads[panel.row], blank = scaleOf(result) === "evidence" && lead.gain <= 0 ? "does not raise the score alone: left blank" : "";
        const notes = [lead.rank === null ? lead.note : blank || lead.note, signal.gain[panel.row] === 10 ? "" : `${signal.gain[panel.row]} mm/mV`].filter(Boolean).join("; ");
        const many = line_.length > 1;
        const value = byLead(result) ? `${result.settings.method} ${signed(lead.value)}${lead.error === null ? "" : ` \u00b1 ${plain(lead.error)}`}` : `gain ${signed(lead.gain)}`;
        const words = many ? "" : ` ${value}${lead.rank === null ? "" : `, rank ${rankOf(result, panel.row)} of ${alive(result)}`}`;
        const cell = make("div", {class: "cell"}, make("div", {class: "name"}, make("b", {}, signal.leads[panel.row]), words,
          notes && !many ? make("i", {}, ` ${notes}`) : ""), strip(result, panel, place, height));
        cell.style.flexGrow = String((panel.stop - panel.first) / signal.fs * MM_PER_S + (panel.first === 0 ? PULSE : 0));
        return cell;
      });
      inner.append(make("div", {class: "row"}, ...cells));
    }
    const firstTick = Math.ceil(signal.start - 1e-6), width = signal.samples / signal.fs, ticks = make("div", {class: "seconds", "aria-hidden": "true"});
    for (let s = firstTick; s <= signal.start + width + 1e-6; s += 1) {
      const tick = make("span", {}, `${s}${s === firstTick ? " s" : ""}`);
      tick.style.left = `${100 * ((s - signal.start) * MM_PER_S + PULSE) / (width * MM_PER_S + PULSE)}%`;
      ticks.append(tick);
    }
    inner.append(ticks);
    return inner;
  }
  function view(result, place) {
    const inner = body(result, place, state.view);
    inner.style.width = `${100 * state.zoom}%`;
    const scroll = make("div", {class: "scroll paper-scroll"}, inner);
    const notes = ["One small square is 40 ms and 0.1 mV, where not stated otherwise."];
    if (state.threshold) notes.push(`Colour below ${Math.round(100 * state.threshold)} % of the strongest is hidden.`);
    if (state.gradient && result.gradient) notes.push(`Thin violet curve: the smoothed input gradient, ${short(Math.max(...result.gradient.step) * 127)} per mV at its highest.`);
    const section = make("section", {class: "view", "aria-label": `${place ? "Second result" : "First result"}: traces, ${quoted(result.text)}, ${result.label}`},
      head(result), scroll, make("p", {class: "note"}, notes.join(" ")), make("p", {class: "provenance"}, result.provenance));
    section.dataset.place = place;
    return section;
  }
  function alignHeads() {
    const heads = [...byId("views").querySelectorAll(".view-head")];
    for (const each of heads) each.style.minHeight = "";
    if (heads.length < 2) return;
    const highest = Math.max(...heads.map((each) => each.getBoundingClientRect().height));
    for (const each of heads) each.style.minHeight = `${highest}px`;
  }
  function showTraces() {
    const left = byId("views").querySelector(".paper-scroll")?.scrollLeft ?? 0;
    const focused = document.activeElement?.classList?.contains("trace") ? document.activeElement : null;
    const again = focused && [focused.closest(".view").dataset.place, focused.dataset.row];
    byId("views").replaceChildren(...shown().map((result, place) => view(result, place)));
    alignHeads();
    for (const scroll of byId("views").querySelectorAll(".paper-scroll")) scroll.scrollLeft = left;
    const candidates = candidatesOf();
    if (state.row === null || !candidates.includes(state.row)) state.row = candidates[0];
    mark();
    if (again) trace(Number(again[0]), Number(again[1]))?.focus();
  }
  // The leads in the order of their traces.
  const candidatesOf = () => [...new Set(viewRows(shown()[0], state.view).flat().map((panel) => panel.row))];
  const trace = (place, row) => byId("views").querySelector(`.view[data-place="${place}"] .trace[data-row="${row}"]`);

  // ---- the cursor ----
  function words(result, row, sample) {
    const signal = signals[result.signal];
    if (!isReal(signal, row, sample)) return "no signal";
    const value = valueAt(result, row, sample), highest = top(result);
    const share = highest > 0 ? `, ${Math.round(100 * value / highest)} % of the strongest` : "";
    return byLead(result) ? `value of the lead ${signed(result.leads[row].value)}` : `map ${short(value)}${minus(share)}`;
  }
  function mark() {
    const signal = signals[state.signal], sample = state.sample, current = document.activeElement;
    const reachable = new Set();  // one trace a result is in the order of Tab
    for (const element of byId("views").querySelectorAll(".trace")) {
      const row = Number(element.dataset.row), at = sample ?? 0, place = Number(element.closest(".view").dataset.place), result = shown()[place];
      const inside = at >= Number(element.dataset.first) && at < Number(element.dataset.stop);
      const first = row === state.row && (!reachable.has(place) || element === current);
      element.setAttribute("tabindex", first ? "0" : "-1");
      if (first) reachable.add(place);
      const here = inside ? at : Number(element.dataset.first);
      element.setAttribute("aria-valuenow", timeOf(signal, here).toFixed(3));
      element.setAttribute("aria-valuetext", `${timeOf(signal, here).toFixed(3)} s, ${plain(voltages(signal)[row][here], 2)} mV, ${words(result, row, here)}`);
      const cursor = element.querySelector(".cursor"), x = (at - Number(element.dataset.first)) / signal.fs * MM_PER_S;
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      cursor.classList.toggle("on", sample !== null && inside);
      element.classList.toggle("current", sample !== null && row === state.row);
    }
    const readout = byId("readout");
    if (sample === null) { readout.textContent = "Point at a trace or tap it, or move along it with the arrow keys."; return; }
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
  // A tap or a click, and a pointer that moves: pen, mouse and finger alike. A finger still scrolls the page.
  function point(event) {
    const element = event.target.closest?.(".trace");
    if (!element) return;
    const box = element.getBoundingClientRect(), panel = {first: Number(element.dataset.first), stop: Number(element.dataset.stop)};
    moveTo(sampleAt(event.clientX - box.left, box.width, panel, signals[state.signal].fs, Number(element.dataset.pulse)), Number(element.dataset.row));
  }
  for (const kind of ["pointerdown", "pointermove"]) byId("views").addEventListener(kind, point);
  byId("views").addEventListener("focusin", (event) => {
    const element = event.target.closest?.(".trace");
    if (!element) return;
    const first = Number(element.dataset.first), inside = state.sample !== null && state.sample >= first && state.sample < Number(element.dataset.stop);
    moveTo(inside ? state.sample : first, Number(element.dataset.row));
  });
  byId("views").addEventListener("keydown", (event) => {
    const element = event.target.closest?.(".trace");
    if (!element || event.altKey || event.ctrlKey || event.metaKey) return;
    const signal = signals[state.signal], row = Number(element.dataset.row), place = Number(element.closest(".view").dataset.place);
    const stride = Math.max(1, Math.round((event.shiftKey ? 0.2 : 0.01) * signal.fs)), sample = state.sample ?? 0, candidates = candidatesOf();
    const begin = Number(element.dataset.first), end = Number(element.dataset.stop) - 1;
    const samples = shown()[place].leads[row].moments.map((s) => Math.round((s - signal.start) * signal.fs)).sort((a, b) => a - b);
    const to = {
      ArrowLeft: () => Math.max(sample - stride, begin), ArrowRight: () => Math.min(sample + stride, end), Home: () => begin, End: () => end,
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
    const lines = result.order.map((row) => {
      const lead = result.leads[row];
      const moments = make("span", {class: "moments"}, ...lead.moments.map((seconds) => {
        const button = make("button", {type: "button", "aria-label": `Go to ${seconds.toFixed(2)} s in lead ${signal.leads[row]}`}, seconds.toFixed(2));
        button.addEventListener("click", () => goTo(place, row, seconds));
        return button;
      }));
      const value = lead.value === null ? [] : [signed(lead.value) + (lead.error === null ? "" : ` \u00b1 ${plain(lead.error)}`)];
      return [signal.leads[row], rankOf(result, row), ...value, lead.rank === null ? "flat" : signed(lead.gain), plain(lead.alone), plain(lead.shift), moments];
    });
    const value = result.byLead ? [[result.settings.method, "number"]] : [];
    return scrolling(`${nth(place)} leads, ${quoted(result.text)}`, table(`${quoted(result.text)}, ${result.label}: score ${plain(result.score)}, without ECG ${plain(result.empty)}`,
      [["lead"], ["rank", "number"], ...value, ["gain", "number"], ["score alone", "number"], ["mask shift", "number"], ["strongest moments, s"]], lines));
  }
  function showTables() {
    byId("tables").replaceChildren(...shown().map(leadTable), ...shown().map((result, place) => result.criteria.rows.length ? criteriaTable(result, place) : ""));
    const known = shown().filter((result) => result.waves && Array.isArray(result.waves.leads));
    byId("waves-section").hidden = known.length === 0;
    byId("waves").replaceChildren(...known.map(waveTable));
    byId("settings").replaceChildren(...shown().map(settingsList));
    markResults();
    showBeats();
  }
  // ---- average beats: the largest group of beats of one shape ----
  function beatPanel(result, row) {
    const beats = result.beats, signal = signals[result.signal], scale = scaleOf(result);
    const mv = (beats.volts ??= unpack(beats.mv, result.leads.length, 2))[row], mean = (beats.values ??= unpack(beats.map, result.leads.length, 2))[row];
    const [low, high] = beats.range[row], gain = beats.gain[row], step = 50 / beats.fs, width = mv.length * step, height = heightOf([low, high], gain);
    const zero = height - 5 * Math.round(((height - MARGIN) / 2 - (low + high) / 2 * gain) / 5);
    const svg = draw("svg", {viewBox: `0 0 ${width} ${height}`, class: "beat", role: "img", "aria-label": `Average beat of lead ${signal.leads[row]}`});
    svg.append(draw("rect", {width, height, class: "paper"}), grid(0, width, height));
    const factor = byLead(result) ? 0 : result.scales[scale].factor[row];
    if (factor > 0) svg.append(draw("image", {href: picture(mean.map((value) => value * factor), top(result), result.strongest), x: -step / 2, y: 0, width, height, preserveAspectRatio: "none", class: "map"}));
    svg.append(draw("path", {d: line(mv, (i) => i * step, (value) => zero - value * gain, () => true), class: "ecg"}));
    return make("div", {class: "beat-cell"}, make("div", {class: "name"}, make("b", {}, signal.leads[row]), gain === 10 ? "" : make("i", {}, ` ${gain} mm/mV`)), svg);
  }
  function showBeats() {
    const known = shown().filter((result) => result.beats);
    byId("beats-section").hidden = known.length === 0;
    byId("beats").replaceChildren(...known.map((result) => make("div", {class: "view"}, make("h3", {}, `${quoted(result.text)}, ${result.label}: ${result.beats.count} of ${result.beats.of} beats`),
      make("div", {class: "beats"}, ...result.leads.map((_, row) => row).filter((row) => result.leads[row].rank !== null).map((row) => beatPanel(result, row))),
      make("p", {class: "note"}, "Median beat over the mean map, 50 mm/s."))));
  }

  // ---- the verdicts: all results, sorted, filtered, in pages ----
  const overview = results.map((result, index) => ({
    index, record: result.record, from: signals[result.signal].start, text: result.title, method: result.label, answer: answerOf(result), score: result.score,
    empty: result.empty, difference: result.score - result.empty, rank: result.verdict?.rank ?? null, check: result.check ? (result.check.passed ? "passed" : "failed") : null,
    leads: result.order.filter((row) => result.leads[row].rank !== null).slice(0, 3).map((row) => `${signals[result.signal].leads[row]} ${signed(result.leads[row].value ?? result.leads[row].gain)}`).join(", "),
  }));
  const COLUMNS = [["record", "recording"], ["from", "from, s", "number"], ["text", "prompt"], ["method", "method"], ["answer", "model says"], ["score", "score", "number"],
    ["empty", "without ECG", "number"], ["difference", "difference", "number"], ["rank", "rank", "number"], ["check", "check"], ["leads", "leads that add most"]];
  const columns = COLUMNS.filter(([key]) => key === "record" || overview.some((row) => row[key] !== null && row[key] !== ""));
  const cellOf = (key, value) => value === null || value === undefined ? "\u2013" : key === "from" ? seconds(value) : key === "difference" ? signed(value)
    : key === "rank" ? String(value) : typeof value === "number" ? plain(value) : value;
  function heading([key, text, kind]) {
    const active = state.sort === key, button = make("button", {type: "button", class: "sort"}, text, make("span", {"aria-hidden": "true"}, active ? (state.descending ? " \u25bc" : " \u25b2") : ""));
    button.addEventListener("click", () => {
      Object.assign(state, {sort: key, descending: active ? !state.descending : kind === "number", page: 0});
      showAll();
      byId("all").querySelector(`th[data-key="${key}"] button`).focus();
    });
    const th = make("th", {scope: "col", class: kind || false, "aria-sort": active ? (state.descending ? "descending" : "ascending") : "none"}, button);
    th.dataset.key = key;
    return th;
  }
  function resultRow(row) {
    const result = results[row.index], what = `${result.record}, ${quoted(result.title)}, ${result.label}`;
    const button = make("button", {type: "button", "aria-pressed": "false", "aria-label": `Show ${what}`}, "show");
    button.addEventListener("click", () => open(row.index));
    const box = make("input", {type: "checkbox", "aria-label": `Print ${what}`});
    box.checked = state.chosen.has(row.index);
    box.addEventListener("change", () => { state.chosen[box.checked ? "add" : "delete"](row.index); showChosen(); });
    const line_ = make("tr", {}, ...columns.map(([key, , kind], i) => make(i ? "td" : "th", {scope: i ? false : "row", class: [kind, key === "answer" && row.answer].filter(Boolean).join(" ") || false}, cellOf(key, row[key]))),
      make("td", {}, button), make("td", {}, box));
    line_.dataset.index = row.index;
    return line_;
  }
  function open(index) {
    Object.assign(state, {a: index, b: -1, sample: null});
    if (state.signal !== results[index].signal) state.row = null;
    state.signal = results[index].signal;
    refill();
    byId("traces").scrollIntoView();
  }
  function showAll() {
    const rows_ = sorted(filtered(overview, state.words, columns.map(([key]) => key)), state.sort, state.descending), page = paged(rows_, state.page, PAGE);
    state.page = page.number;
    const caption = `${rows_.length === results.length ? "" : `${rows_.length} of `}${results.length} result${results.length === 1 ? "" : "s"}` + (data.leftOut ? `; ${data.leftOut} more are not in this file` : "") + (data.light ? "; traces are thinned to 100 samples per second" : "");
    const head_ = make("tr", {}, ...columns.map(heading), make("th", {scope: "col"}, "open"), make("th", {scope: "col"}, "print"));
    byId("all").replaceChildren(make("table", {}, make("caption", {}, caption), make("thead", {}, head_), make("tbody", {}, ...page.rows.map(resultRow))));
    byId("pages").hidden = page.count === 1;
    byId("page-number").textContent = `page ${page.number + 1} of ${page.count}`;
    byId("page-back").disabled = page.number === 0;
    byId("page-on").disabled = page.number === page.count - 1;
    markResults();
  }
  function markResults() {
    for (const line_ of byId("all").querySelectorAll("tbody tr")) {
      const index = Number(line_.dataset.index);
      line_.toggleAttribute("data-current", index === state.a || index === state.b);
      line_.querySelector("button").setAttribute("aria-pressed", String(index === state.a));
    }
  }
  function showChosen() {
    const count_ = state.chosen.size;
    byId("print-chosen").textContent = count_ ? `Print ${count_} chosen` : "Print what is shown";
    byId("choose-none").hidden = count_ === 0;
  }

  // ---- printing: every chosen result, with its recording and prompt on each of its pages ----
  function printed(index) {
    const result = results[index], signal = signals[result.signal];
    const rows_ = body(result, 0, "all");
    const title = `${spoken(signal)}  \u00b7  ${quoted(result.title)}  \u00b7  ${result.label}`;
    return make("table", {class: "printed"}, make("caption", {}, title), make("thead", {}, make("tr", {}, make("th", {scope: "col"}, title))),
      make("tbody", {}, ...[head(result), ...rows_.children, make("p", {class: "provenance"}, result.provenance), leadTable(result, 0), ...(result.criteria.rows.length ? [criteriaTable(result, 0)] : [])].map((part) => make("tr", {}, make("td", {}, part)))));
  }
  function fillPrint() {
    const chosen = [...state.chosen].sort((a, b) => a - b), lead = state.lead;
    byId("print").replaceChildren(...(chosen.length ? chosen : [state.a, state.b].filter((index) => index >= 0)).map(printed));
    state.lead = lead;
  }
  window.addEventListener("beforeprint", fillPrint);
  window.addEventListener("afterprint", () => byId("print").replaceChildren());

  // ---- evidence ----
  function showEvidence() {
    const texts = [...new Set(shown().map((result) => result.text))], known = data.evidence.filter((row) => texts.includes(row.text));
    byId("evidence-section").hidden = known.length === 0;
    byId("evidence").replaceChildren(...evidenceParts(known, texts));
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
    byId("shared-field").hidden = state.b < 0 || scaleOf(shown()[0]) !== scaleOf(shown()[1]) || !comparable(...shown(), scaleOf(shown()[0]));
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
  on("scale", (select) => { state.scale = select.value; });
  on("view", (select) => { state.view = select.value; state.row = null; }, show);
  on("zoom", (select) => { state.zoom = Number(select.value); }, show);
  on("shared", (box) => { state.shared = box.checked; }, show);
  on("gradient", (box) => { state.gradient = box.checked; }, show);
  on("threshold", (range) => {
    state.threshold = Number(range.value) / 100;
    byId("threshold-value").textContent = `${range.value} %`;
    range.setAttribute("aria-valuetext", `${range.value} percent of the strongest`);
  }, showTraces);
  byId("filter").addEventListener("input", () => { state.words = byId("filter").value; state.page = 0; showAll(); });
  byId("page-back").addEventListener("click", () => { state.page -= 1; showAll(); });
  byId("page-on").addEventListener("click", () => { state.page += 1; showAll(); });
  byId("print-chosen").addEventListener("click", () => window.print());
  byId("choose-none").addEventListener("click", () => { state.chosen.clear(); showChosen(); showAll(); });
  byId("filter").value = "";
  window.addEventListener("resize", alignHeads);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("controls").reset();

  const recordings = new Set(results.map((result) => result.record)).size, prompts = new Set(results.map((result) => result.text)).size;
  const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;
  byId("subtitle").textContent = `${count(recordings, "recording")}, ${count(prompts, "prompt")}, ${count(results.length, "result")}; model `
    + [...new Set(results.map((result) => result.settings.model))].join(", ") + ".";
  byId("footer").textContent = `Made by ecgcam ${data.version}. ${data.research}.`;
  document.title = `ecgcam: ${[...new Set(results.map((result) => result.record))].slice(0, 3).join(", ")}`;
  byId("scale").value = state.scale;
  showChosen();
  byId("main").hidden = false;
  showAll();
  refill();
})();
