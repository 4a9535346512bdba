"use strict";
// The report's computations, with answers worked out by hand: node --test tests/render/report/
const test = require("node:test");
const assert = require("node:assert/strict");
const path = require("node:path");
const logic = require(path.join(__dirname, "../../../src/ecgcam/render/report/logic.js"));
globalThis.reportLogic = logic; // one script in the page: elements.js finds it there
const elements = require(path.join(__dirname, "../../../src/ecgcam/render/report/elements.js"));

const LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"];

test("numbers have a true minus and no needless digits", () => {
  assert.equal(logic.plain(-0.5), "\u22120.500");
  assert.equal(logic.signed(0.25), "+0.250");
  assert.equal(logic.signed(-0.0001), "\u22121e\u22124".replace("e\u2212", "e-"));
  assert.equal(logic.signed(0), "+0.000");
  assert.equal(logic.short(0), "0");
  assert.equal(logic.short(0.12345), "0.12");
});

test("averaging keeps the integral and the height of what is as wide as a column", () => {
  assert.deepEqual([...logic.averaged([1, 3, 5, 7], 2)], [2, 6]);
  assert.deepEqual([...logic.averaged([0, 3, 0], 2)], [1, 1]);
  assert.deepEqual(logic.averaged([1, 2], 5), [1, 2]);
});

test("smoothing is the mean of the real samples around", () => {
  const real = [1, 1, 0, 1, 1];
  assert.deepEqual([...logic.smoothed([3, 0, 9, 6, 0], real, 1)], [1.5, 1.5, 0, 3, 3]);
});

test("a view is every lead whole, or columns that follow one another over strips", () => {
  assert.equal(logic.panels(LEADS, 1000, 100, "12x1", []).length, 12);
  const rows = logic.panels(LEADS, 1000, 100, "3x4", [1, 6]);
  assert.equal(rows.length, 5);
  assert.deepEqual(rows[0].map((panel) => [LEADS[panel.row], panel.first, panel.stop]),
    [["I", 0, 250], ["aVR", 250, 500], ["V1", 500, 750], ["V4", 750, 1000]]);
  assert.deepEqual(rows[4], [{row: 6, first: 0, stop: 1000}]);
  assert.equal(logic.panels(LEADS, 300, 100, "3x4", [1]).length, 12); // columns of 0.75 s hold no beat
  assert.equal(logic.panels(["I", "II"], 1000, 100, "3x4", [1]).length, 2);
});

test("a point on a trace is the sample below it", () => {
  const whole = {row: 0, first: 0, stop: 1000};
  // 258 mm on 645 px: 2.5 px a mm, the pulse takes 20 px; 1 s is 62.5 px.
  assert.equal(logic.sampleAt(20, 645, whole, 100, 8), 0);
  assert.equal(logic.sampleAt(20 + 62.5, 645, whole, 100, 8), 100);
  assert.equal(logic.sampleAt(0, 645, whole, 100, 8), 0);
  assert.equal(logic.sampleAt(645, 645, whole, 100, 8), 999);
  assert.equal(logic.sampleAt(50, 100, {row: 0, first: 500, stop: 750}, 100, 0), 625);
});

test("an answer is the verdict, or no where the ECG does not raise the score", () => {
  assert.equal(logic.answerOf({verdict: {answer: "unclear"}, score: 1, empty: 0}), "unclear");
  assert.equal(logic.answerOf({verdict: null, score: 0.1, empty: 0.1}), "no");
  assert.equal(logic.answerOf({verdict: null, score: 0.2, empty: 0.1}), null);
});

test("the report opens with the clearest yes", () => {
  const of = (answer, score) => ({verdict: answer && {answer}, score, empty: 0});
  assert.equal(logic.opening([of(null, 0.9), of("yes", 0.2), of("yes", 0.6), of("no", 2)]), 2);
  assert.equal(logic.opening([of(null, 0.3), of(null, 0.4)]), 1);
});

test("sorting is stable, by size or alphabet, with what is unknown last", () => {
  const rows = [{n: 10, t: "r10"}, {n: null, t: "r9"}, {n: -2, t: "r1"}, {n: 10, t: "a"}];
  assert.deepEqual(logic.sorted(rows, "n", true).map((row) => row.t), ["r10", "a", "r1", "r9"]);
  assert.deepEqual(logic.sorted(rows, "n", false).map((row) => row.t), ["r1", "r10", "a", "r9"]);
  assert.deepEqual(logic.sorted(rows, "t", false).map((row) => row.t), ["a", "r1", "r9", "r10"]);
});

test("a filter wants every word, anywhere and in any case", () => {
  const rows = [{a: "Rec 1", b: "atrial fibrillation"}, {a: "rec 2", b: "normal"}];
  assert.deepEqual(logic.filtered(rows, "REC fibr", ["a", "b"]), [rows[0]]);
  assert.equal(logic.filtered(rows, "  ", ["a", "b"]).length, 2);
});

test("pages stay within what there is", () => {
  const rows = Array.from({length: 45}, (_, i) => i);
  assert.deepEqual(logic.paged(rows, 9, 20), {rows: [40, 41, 42, 43, 44], number: 2, count: 3});
  assert.deepEqual(logic.paged([], 0, 20), {rows: [], number: 0, count: 1});
});

test("one scale is offered only where units agree", () => {
  const of = (method, unit) => ({settings: {method, model: "m"}, scales: {raw: {unit}, evidence: {unit: "e"}}});
  assert.equal(logic.comparable(of("a", "u"), of("b", "u"), "raw"), false);
  assert.equal(logic.comparable(of("a", "u"), of("a", "u"), "raw"), true);
  assert.equal(logic.comparable(of("a", "u"), of("b", "u"), "evidence"), true);
});

test("leads are ordered by what each adds, flat ones last, and equal ranks are marked", () => {
  const leads = [{gain: 0.1, rank: 2, value: null}, {gain: 0.9, rank: null, value: null}, {gain: 0.3, rank: 1, value: null}, {gain: 0.1, rank: 2, value: null}];
  const result = {leads};
  elements.orderLeads([result]);
  assert.deepEqual(result.order, [2, 0, 3, 1]);
  assert.deepEqual([0, 1, 2, 3].map((row) => elements.rankOf(result, row)), ["2=", "\u2013", "1", "2="]);
  assert.equal(elements.alive(result), 3);
});

test("results of one method are labelled by the settings in which they differ, and repeated ones are numbered", () => {
  const of = (mask) => ({signal: "r", text: "a", settings: {method: "grad-cam", mask, layer: "x"}});
  const results = [of("baseline"), of("noise"), of("noise")];
  elements.labelResults(results);
  assert.deepEqual(results.map((result) => result.label), ["grad-cam, baseline", "grad-cam, noise", "grad-cam, noise (2)"]);
});

test("a trace has a path for each run of real samples, and a lead's height is a multiple of five squares", () => {
  const keep = (i) => i !== 2;
  assert.equal(elements.line([0, 1, 9, 2, 3], (i) => i, (value) => -value, keep), "M0.00 0.00L1.00 -1.00M3.00 -2.00L4.00 -3.00");
  assert.equal(elements.heightOf([0, 0], 10), 15);
  assert.equal(elements.heightOf([-1, 1.2], 10), 35); // 22 mm and 9 of air and margin: 31
});
