"use strict";
// What the report computes: no document, no state. Tested by node (tests/render/report/logic.test.cjs).
const reportLogic = (() => {
  const PULSE = 8; // mm of paper before the first sample, for the calibration pulse
  const COLUMNS = [["I", "II", "III"], ["aVR", "aVL", "aVF"], ["V1", "V2", "V3"], ["V4", "V5", "V6"]];
  const LEAST_COLUMN = 1.5; // s; a shorter one need not hold a beat
  const ANSWERS = ["yes", "unclear", "no"];

  // Numbers: a true minus, and no more digits than mean something.
  const minus = (text) => text.replace("-", "\u2212");
  const plain = (value, digits = 3) => minus(value.toFixed(digits));
  function short(value) {
    if (value === 0) return "0";
    return minus(Math.abs(value) < 0.001 ? value.toExponential(1) : Number(value.toPrecision(2)).toString());
  }
  function signed(value) {
    const small = value !== 0 && Math.abs(value) < 0.0005;
    return (value >= 0 ? "+" : "") + (small ? minus(value.toExponential(0)) : plain(value));
  }

  // Means over equal columns, so that no thin peak is skipped.
  function averaged(values, columns) {
    if (values.length <= columns) return values;
    const mass = new Float64Array(values.length + 1);
    values.forEach((value, i) => { mass[i + 1] = mass[i] + value; });
    const upTo = (x) => {
      const i = Math.min(Math.floor(x), values.length - 1);
      return mass[i] + (x - i) * values[i];
    };
    const width = values.length / columns;
    return Float64Array.from({length: columns}, (_, i) => (upTo((i + 1) * width) - upTo(i * width)) / width);
  }

  // The mean of the real samples within `half` samples of each.
  function smoothed(values, real, half) {
    const sum = new Float64Array(values.length + 1), count = new Float64Array(values.length + 1);
    for (let i = 0; i < values.length; i += 1) {
      sum[i + 1] = sum[i] + (real[i] ? values[i] : 0);
      count[i + 1] = count[i] + (real[i] ? 1 : 0);
    }
    return Float64Array.from(values, (_, i) => {
      const first = Math.max(0, i - half), stop = Math.min(values.length, i + half + 1);
      return real[i] ? (sum[stop] - sum[first]) / Math.max(count[stop] - count[first], 1) : 0;
    });
  }

  // The rows of a view, each a list of panels {row, first, stop} in samples: every lead whole, or columns over two strips.
  function panels(leads, samples, fs, view, strips) {
    const whole = leads.map((_, row) => [{row, first: 0, stop: samples}]);
    const groups = COLUMNS.map((group) => group.map((lead) => leads.indexOf(lead)).filter((row) => row >= 0)).filter((group) => group.length);
    const each = samples / Math.max(groups.length, 1);
    if (view !== "3x4" || leads.length <= 3 || each / fs < LEAST_COLUMN) return whole;
    const rows = [];
    for (let place = 0; place < Math.max(...groups.map((group) => group.length)); place += 1) {
      rows.push(groups.map((group, column) => group.length > place
        ? {row: group[place], first: Math.round(column * each), stop: Math.round((column + 1) * each)} : null).filter(Boolean));
    }
    return [...rows, ...strips.map((row) => [{row, first: 0, stop: samples}])];
  }

  // The sample at a distance (px) from the left edge of a trace that is `width` px wide.
  function sampleAt(x, width, panel, fs, pulse) {
    const mm = (panel.stop - panel.first) / fs * 25 + pulse;
    const sample = panel.first + Math.round((x / width * mm - pulse) / 25 * fs);
    return Math.min(Math.max(sample, panel.first), panel.stop - 1);
  }

  // The answer of a result: its verdict, or no where the ECG does not raise the score; null where nothing is known.
  function answerOf(result) {
    const known = result.verdict && ANSWERS.includes(result.verdict.answer) ? result.verdict.answer : null;
    return known ?? (result.score <= result.empty ? "no" : null);
  }

  // The result that the report opens with: the clearest yes, else the largest gain of score.
  function opening(results) {
    const rank = (result) => ({yes: 0, null: 1, unclear: 2, no: 3})[String(answerOf(result))];
    let best = 0;
    results.forEach((result, i) => {
      const difference = rank(result) - rank(results[best]);
      if (difference < 0 || (difference === 0 && result.score - result.empty > results[best].score - results[best].empty)) best = i;
    });
    return best;
  }

  // Rows sorted by a column; numbers by size, words by the alphabet, what is unknown last; equal rows keep their order.
  function sorted(rows, key, descending) {
    const order = rows.map((row, i) => [row, i]);
    const unknown = (value) => value === null || value === undefined || Number.isNaN(value);
    order.sort(([a, i], [b, j]) => {
      const [x, y] = [a[key], b[key]];
      if (unknown(x) || unknown(y)) return (unknown(x) - unknown(y)) || i - j;
      const difference = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", {numeric: true});
      return (descending ? -difference : difference) || i - j;
    });
    return order.map(([row]) => row);
  }

  // Rows in which every word of the filter occurs somewhere.
  function filtered(rows, words, keys) {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    return rows.filter((row) => {
      const text = keys.map((key) => String(row[key] ?? "")).join("\n").toLowerCase();
      return wanted.every((word) => text.includes(word));
    });
  }

  // Page `number` (from 0, within what there is) of `size` rows: {rows, number, count}.
  function paged(rows, number, size) {
    const count = Math.max(1, Math.ceil(rows.length / size)), here = Math.min(Math.max(number, 0), count - 1);
    return {rows: rows.slice(here * size, (here + 1) * size), number: here, count};
  }

  // Whether two results may share one colour scale: score per second compares between methods, other values do not.
  function comparable(a, b, scale) {
    if (scale === "lead") return true;
    return a.scales[scale].unit === b.scales[scale].unit
      && (scale === "evidence" || (a.settings.method === b.settings.method && a.settings.model === b.settings.model));
  }

  return {PULSE, minus, plain, short, signed, averaged, smoothed, panels, sampleAt, answerOf, opening, sorted, filtered, paged, comparable};
})();
if (typeof module !== "undefined") module.exports = reportLogic;
