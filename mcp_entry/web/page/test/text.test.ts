import assert from "node:assert/strict";
import { test } from "node:test";

import { bars, series } from "../src/history.ts";
import { keyOf, keysOfText, refusalOf } from "../src/keys.ts";
import { age, asText, clock, dateAndTime, hour, milliseconds, oneLine, shortModel, shortNumber, spares, visible } from "../src/text.ts";

test("control characters are shown as symbols", () => {
  assert.equal(visible("a\u0000\u001b[31mb\u007f"), "a␀␛[31mb␡");
  assert.equal(visible("line\r\nnext\ttab"), "line\nnext\ttab");
  assert.equal(visible("over\rwritten"), "over␍written");
});

test("what turns or hides text is shown by its number", () => {
  assert.equal(visible("a\u202egnp.exe"), "a⟨U+202E⟩gnp.exe");
  assert.equal(visible("a\u200bb\u{e0041}"), "a⟨U+200B⟩b⟨U+E0041⟩");
  assert.equal(visible("\u009b2J"), "⟨U+009B⟩2J");
});

test("half of a character is shown by its number, a whole one stays", () => {
  assert.equal(visible("\ud83d"), "⟨U+D83D⟩");
  assert.equal(visible("🚀 日本 שלום é"), "🚀 日本 שלום é");
});

test("a text stays as it is, other values are shown as JSON", () => {
  assert.equal(asText("a\nb"), "a\nb");
  assert.equal(asText({ a: [1] }), '{\n  "a": [\n    1\n  ]\n}');
});

test("one line is one line", () => {
  assert.equal(oneLine("  a\n\n b\tc "), "a b c");
});

test("ages are told in their largest unit", () => {
  const now = Date.parse("2026-11-01T12:00:00Z");
  assert.equal(age("2026-11-01T11:59:55.000+00:00", now), "5s");
  assert.equal(age("2026-11-01T10:30:00Z", now), "1h");
  assert.equal(age("2026-11-01T12:00:09Z", now), "0s");
  assert.equal(age("", now), "");
});

test("times have the hours of the terminal's commands in every language", () => {
  const afternoon = new Date(2026, 10, 1, 16, 6, 7);
  const midnight = new Date(2026, 10, 1, 0, 6, 7);
  assert.deepEqual([hour(afternoon.getTime()), hour(midnight.getTime())], ["16:06", "00:06"]);
  assert.equal(clock(afternoon.toISOString()), "16:06:07");
  assert.match(dateAndTime(midnight.toISOString()), /2026.*\b00:06:07$/);
});

test("spares are counted in words that also fit more of them than are wanted", () => {
  assert.equal(spares({ ready: 1, wanted: 1, waitsFor: null }), "1 of 1 ready");
  assert.equal(spares({ ready: 0, wanted: 2, waitsFor: "memory" }), "0 of 2 ready, waits for memory");
  assert.equal(spares({ ready: 2, wanted: 1, waitsFor: "memory" }), "2 ready, 1 wanted");
});

test("numbers are short and never round up to a unit too low", () => {
  assert.deepEqual(
    [0, 950, 12_345, 99_960, 999_499, 999_500, 4_500_000].map(shortNumber),
    ["0", "950", "12.3k", "100k", "999k", "1M", "4.5M"],
  );
  assert.deepEqual([0.5, 85, 1_240, 210_000].map(milliseconds), ["0.5 ms", "85 ms", "1.24 s", "3.5 min"]);
});

test("models are told without what all have in common", () => {
  assert.equal(shortModel("claude-opus-4-5-20251101"), "opus-4-5");
  assert.equal(shortModel("us.anthropic.claude-sonnet-4-20250514-v1:0"), "sonnet-4-v1:0");
  assert.equal(shortModel("demo"), "demo");
});

test("keys of a browser are named as the terminal takes them", () => {
  const pressed = (key: string, more = {}) =>
    keyOf({ key, ctrlKey: false, shiftKey: false, altKey: false, metaKey: false, ...more });
  assert.deepEqual(pressed("ArrowUp"), { key: "Up" });
  assert.deepEqual(pressed("Tab", { shiftKey: true }), { key: "BTab" });
  assert.deepEqual(pressed("c", { ctrlKey: true }), { key: "C-c" });
  assert.equal(pressed("x"), null);
  assert.equal(pressed("v", { ctrlKey: true }), null);
  assert.equal(pressed("F5"), null);
  assert.equal(pressed("r", { metaKey: true }), null);
});

test("what suspends the agent is not sent, and the page says why", () => {
  const pressed = { key: "z", ctrlKey: true, shiftKey: false, altKey: false, metaKey: false };
  assert.equal(keyOf(pressed), null);
  assert.match(refusalOf(pressed), /suspend/);
  assert.match(refusalOf({ ...pressed, key: "Z" }), /suspend/);
  assert.equal(refusalOf({ ...pressed, ctrlKey: false }), "");
  assert.equal(refusalOf({ ...pressed, key: "c" }), "");
});

test("a pasted text submits nothing and holds no control character", () => {
  assert.deepEqual(keysOfText("a\r\nb\u001b[31m"), [{ text: "a" }, { key: "C-j" }, { text: "b[31m" }]);
  const long = keysOfText("🚀".repeat(5_000));
  assert.ok(long.every((key) => "text" in key && key.text.length <= 4_000));
  assert.equal(long.map((key) => ("text" in key ? key.text : "")).join("").length, 10_000);
});

test("a plot shows what lies in its time, as high as its part of the highest", () => {
  const point = (at: string, spawns: number) => ({
    ...{ at, seconds: 10, spawns, spawnsFailed: 0, avgSpawnTime: 0 },
    ...{ messages: 0, avgMessageTime: 0, gitOps: 0, cacheHits: 0 },
  });
  const history = [point("2026-11-01T12:00:00Z", 4), point("2026-11-01T12:00:30Z", 2), point("2026-11-01T12:02:00Z", 1)];
  const drawn = series(history, "Spawns", (each) => each.spawns, String);
  const from = Date.parse("2026-11-01T12:00:05Z");
  const shown = bars(drawn, from, from + 50_000);
  assert.deepEqual(shown, [
    { x: 0, width: 0.1, height: 1 },
    { x: 0.5, width: 0.2, height: 0.5 },
  ]);
  assert.equal(drawn.latest, 1);
  assert.deepEqual(bars(series([], "Spawns", (each) => each.spawns, String), from, from + 1), []);
});
