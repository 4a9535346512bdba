"use strict";
// What the report makes: elements, tables and drawings out of what they are given; no state of the page.
/* global reportLogic */
const reportElements = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const {plain} = reportLogic;
  const AIR = 6, LEAST = 15, MARGIN = 3;

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
  const quoted = (text) => `\u201c${text}\u201d`;

  // ---- arrays and results ----
  function unpack(stored, leads, bytes) {
    const binary = atob(stored.data), count = binary.length / bytes / leads;
    const view = new DataView(Uint8Array.from(binary, (c) => c.charCodeAt(0)).buffer);
    return stored.step.map((step, row) => Float64Array.from({length: count}, (_, i) => {
      const at = (row * count + i) * bytes;
      return step * (bytes === 1 ? view.getInt8(at) : view.getInt16(at, true));
    }));
  }
  // Leads by what each adds; only leads with a signal have a rank.
  function orderLeads(results) {
    for (const result of results) {
      const values = result.leads.map((lead) => lead.value ?? lead.gain);
      result.order = result.leads.map((_, row) => row).sort((a, b) => (result.leads[a].rank === null) - (result.leads[b].rank === null) || values[b] - values[a] || a - b);
    }
  }
  const rankOf = (result, row) => {
    const rank = result.leads[row].rank;
    if (rank === null) return "\u2013";
    return result.leads.filter((lead) => lead.rank === rank).length > 1 ? `${rank}=` : String(rank);
  };
  const alive = (result) => result.leads.filter((lead) => lead.rank !== null).length;

  // What tells results of one prompt apart: the method, and whatever else differs among the results.
  function labelResults(results) {
    const keys = ["mask", "against", "options", "layer", "model", "checkpoint_sha256", "seed"];
    const value = (result, key) => JSON.stringify(result.settings[key] ?? null);
    const differing = keys.filter((key) => {
      const byMethod = new Map();
      for (const result of results) {
        const found = byMethod.get(result.settings.method) ?? new Set();
        byMethod.set(result.settings.method, found.add(value(result, key)));
      }
      return [...byMethod.values()].some((found) => found.size > 1);
    });
    const count = new Map();
    for (const result of results) {
      const parts = differing.map((key) => {
        const said = result.settings[key];
        if (key === "against" && !said) return "";
        return key === "checkpoint_sha256" ? `weights ${String(said).slice(0, 8)}`
          : said === null || said === undefined ? `no ${key}` : typeof said === "string" ? said : `${key} ${JSON.stringify(said)}`;
      });
      const label = [result.settings.method, ...parts].filter(Boolean).join(", ");
      const key = JSON.stringify([result.signal, result.text, label]);
      count.set(key, (count.get(key) ?? 0) + 1);
      result.label = count.get(key) > 1 ? `${label} (${count.get(key)})` : label;
    }
  }

  // ---- colour: as in the pictures, the sign is the hue and the magnitude the opacity ----
  function shade(values, highest, strongest, palette, threshold, pixels) {
    values.forEach((value, i) => {
      const part = highest > 0 ? Math.min(Math.abs(value) / highest, 1) : 0;
      const hue = value < 0 ? palette.negative : palette.positive;
      hue.forEach((channel, c) => { pixels[4 * i + c] = Math.round(255 * channel); });
      pixels[4 * i + 3] = part > 0 && part >= threshold ? Math.round(255 * strongest * part) : 0;
    });
  }
  function paint(values, highest, strongest, palette, threshold) {
    const canvas = make("canvas", {width: values.length, height: 1}), context = canvas.getContext("2d");
    const image = context.createImageData(values.length, 1);
    shade(values, highest, strongest, palette, threshold, image.data);
    context.putImageData(image, 0, 0);
    return canvas.toDataURL("image/png");
  }

  // ---- paper and traces ----
  function heightOf([low, high], gain) {
    return Math.max(5 * Math.ceil(((high - low) * gain + AIR + MARGIN) / 5), LEAST);
  }
  function grid(left, width, height) {
    const group = draw("g", {class: "grid"});
    for (const [step, kind] of [[1, "fine"], [5, "bold"]]) {
      let path = "";
      for (let x = Math.ceil(left); x <= left + width + 1e-6; x += 1) if (x % step === 0 && (kind === "bold" || x % 5)) path += `M${x} 0V${height}`;
      for (let y = 0; y <= height; y += step) if (kind === "bold" || y % 5) path += `M${left} ${y}h${width}`;
      group.append(draw("path", {d: path, class: kind}));
    }
    return group;
  }
  function line(values, xOf, yOf, keep, first = 0, stop = values.length) {
    let path = "", pen = false;
    for (let i = first; i < stop; i += 1) {
      if (!keep(i)) { pen = false; continue; }
      path += `${pen ? "L" : "M"}${xOf(i).toFixed(2)} ${yOf(values[i]).toFixed(2)}`;
      pen = true;
    }
    return path;
  }
  const pulseBase = (zero, height, gain) => Math.max(Math.min(zero, height - 1), gain + 1);

  // ---- tables ----
  function table(caption, headings, lines) {
    const head_ = make("tr", {}, ...headings.map(([text, kind]) => make("th", {scope: "col", class: kind || false}, text)));
    const rows_ = lines.map((cells) => make("tr", {}, ...cells.map((cell, i) =>
      i ? make("td", {class: headings[i][1] || false}, cell) : make("th", {scope: "row", class: headings[i][1] || false}, cell))));
    return make("table", {}, make("caption", {}, caption), make("thead", {}, head_), make("tbody", {}, ...rows_));
  }
  const scrolling = (label, content) => make("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": label}, content);
  const nth = (place) => place ? "Second result:" : "First result:";
  function waveTable(result, place) {
    const segments = ["P", "PR", "QRS", "ST", "T", "TP"], waves = result.waves;
    const cell = (of) => !of || of.share === null || of.share === undefined ? "\u2013" : make("span", {}, `${Math.round(100 * of.share)} %`,
      make("small", {}, of.density === null || of.density === undefined ? "" : ` ${of.density.toFixed(1)}\u202f\u00d7`));
    const lines = waves.leads.map((lead) => [lead.name, ...segments.map((segment) => cell(lead[segment]))]);
    const found = waves.found ? `, ${["P", "QRS", "T"].map((name) => `${name} in ${waves.found[name]}`).join(", ")}` : "";
    const unknown_ = typeof waves.unknown_time === "number" ? `, ${Math.round(100 * waves.unknown_time)} % of the time in no known wave` : "";
    return scrolling(`${nth(place)} waves, ${quoted(result.text)}`, table(`${quoted(result.text)}, ${waves.beats} beats${found}${unknown_}: share of the lead's map, and its density against the average (1.0 \u00d7 is chance); \u2013: found in fewer than half of the beats`,
      [["lead"], ...segments.map((segment) => [segment, "number"])], lines));
  }
  function criteriaTable(result, place) {
    const lines = result.criteria.rows.map((row) => [row.text, row.holds, row.value, row.density, row.change, row.words]);
    return scrolling(`${nth(place)} criteria, ${quoted(result.text)}`, table(`Criteria of ${quoted(result.text)}: whether each holds as measured, density of the map on its waves and leads (1 \u00d7 is chance), change of the score when these waves become a flat line, score of its words minus that of the opposite`,
      [["criterion"], ["holds"], ["measured", "number"], ["map there", "number"], ["score without", "number"], ["score of its words", "number"]], lines));
  }
  function settingsList(result) {
    const list = make("dl", {class: "settings"});
    for (const [key, value] of [...Object.entries(result.settings), ...Object.entries(result.report)]) {
      list.append(make("dt", {}, key), make("dd", {}, typeof value === "string" ? value : JSON.stringify(value)));
    }
    return make("div", {class: "view"}, make("h3", {}, `${quoted(result.text)}, ${result.label}`), list);
  }
  const MAIN = ["pointing", "deletion", "insertion"];
  function evidenceTable(text, known) {
    const number = (value) => typeof value === "number", methods = [...new Set(known.map((row) => row.method))], lines = new Map();
    for (const row of known) {
      const key = JSON.stringify([row.mask, row.metric]);
      if (!lines.has(key)) lines.set(key, {of: row, chance: null, cells: new Map()});
      const line_ = lines.get(key);
      if (number(row.chance)) line_.chance = row.chance;
      const interval = number(row.low) && number(row.high);
      const better = interval && number(row.chance) && (row.direction === "higher" ? row.low > row.chance : row.high < row.chance);
      line_.cells.set(row.method, !number(row.mean) ? "" : make("span", {}, plain(row.mean),
        make("small", {}, interval ? ` ${plain(row.low)} to ${plain(row.high)}` : "", better ? " \u2713" : "", ` n\u202f=\u202f${row.n}`)));
    }
    return table(`${quoted(text)}: mean, 95 % interval, n recordings; \u2713: the interval lies on the better side of chance`,
      [["metric"], ["mask"], ["better"], ["chance", "number"], ...methods.map((method) => [method, "number"])],
      [...lines.values()].map(({of, chance, cells}) => [of.metric, of.mask, of.direction, chance === null ? "" : plain(chance), ...methods.map((method) => cells.get(method) ?? "")]));
  }
  // The main metrics of each prompt as a table, the others folded below it.
  function evidenceParts(rows, texts) {
    const parts = [];
    for (const text of texts) {
      const of = rows.filter((row) => row.text === text), main = of.filter((row) => MAIN.some((name) => row.metric.startsWith(name))), rest = of.filter((row) => !main.includes(row));
      if (main.length) parts.push(evidenceTable(text, main));
      if (rest.length && main.length) parts.push(make("details", {}, make("summary", {}, `${rest.length} further rows for ${quoted(text)}`), evidenceTable(text, rest)));
      else if (rest.length) parts.push(evidenceTable(text, rest));
    }
    return parts;
  }

  return {make, draw, quoted, unpack, orderLeads, rankOf, alive, labelResults, paint, MARGIN, heightOf, grid, line, pulseBase, table, scrolling, nth, waveTable,
    criteriaTable, settingsList, evidenceParts};
})();
if (typeof module !== "undefined") module.exports = reportElements;
