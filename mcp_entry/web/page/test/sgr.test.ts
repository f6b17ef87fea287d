import assert from "node:assert/strict";
import { test } from "node:test";

import { cellWidth, paletteColor, parseLine, parseScreen } from "../src/sgr.ts";

test("plain text is one run", () => {
  assert.deepEqual(parseLine("hello"), [{ text: "hello", style: {}, columns: 5, wide: false }]);
});

test("styles hold until they are reset", () => {
  const runs = parseLine("a\u001b[1;31mb\u001b[22mc\u001b[0md");
  assert.deepEqual(
    runs.map((run) => [run.text, run.style]),
    [
      ["a", {}],
      ["b", { bold: true, foreground: 1 }],
      ["c", { foreground: 1 }],
      ["d", {}],
    ],
  );
});

test("colors of 16, 256 and all are told apart", () => {
  const [bright, indexed, exact, joined] = parseLine(
    "\u001b[97ma\u001b[38;5;174mb\u001b[48;2;1;2;255mc\u001b[0;38:2::10:20:30md",
  );
  assert.equal(bright?.style.foreground, 15);
  assert.equal(indexed?.style.foreground, "#d78787");
  assert.equal(exact?.style.background, "#0102ff");
  assert.equal(joined?.style.foreground, "#0a141e");
});

test("codes after a color of 256 are not taken for parts of it", () => {
  const [run] = parseLine("\u001b[38;5;3;4mx");
  assert.deepEqual(run?.style, { foreground: 3, underline: true });
});

test("an underline of a kind is an underline, and none of it is none", () => {
  const [curly, none] = parseLine("\u001b[4:3ma\u001b[4:0mb");
  assert.equal(curly?.style.underline, true);
  assert.deepEqual(none?.style, {});
});

test("an empty code resets", () => {
  assert.deepEqual(parseLine("\u001b[1ma\u001b[mb").at(-1)?.style, {});
});

test("other sequences and control characters are dropped", () => {
  const text = parseLine("a\u001b[2Jb\u001b(Bc\u0007d\u009be\u001b")
    .map((run) => run.text)
    .join("");
  assert.ok(!/[\u0000-\u001f\u007f-\u009f]/.test(text), JSON.stringify(text));
  assert.ok(text.startsWith("ab"));
});

test("what turns the direction of text never reaches the view", () => {
  assert.equal(
    parseLine("a\u202eb\u2066c\u200f")
      .map((run) => run.text)
      .join(""),
    "abc",
  );
});

test("a wide character is a run of its own with two columns", () => {
  const runs = parseLine("a日b");
  assert.deepEqual(
    runs.map((run) => [run.text, run.columns, run.wide]),
    [
      ["a", 1, false],
      ["日", 2, true],
      ["b", 1, false],
    ],
  );
});

test("a combining mark takes no column and stays with its character", () => {
  const runs = parseLine("e\u0301x 日\u0301");
  assert.equal(runs[0]?.columns, 3);
  assert.equal(runs[1]?.text, "日\u0301");
});

test("a style goes on in the next line", () => {
  const [, second] = parseScreen(["\u001b[7ma", "b"]);
  assert.equal(second?.[0]?.style.reverse, true);
});

test("columns of characters follow terminals", () => {
  assert.equal(cellWidth("─".codePointAt(0) ?? 0), 1);
  assert.equal(cellWidth("✻".codePointAt(0) ?? 0), 1);
  assert.equal(cellWidth("🚀".codePointAt(0) ?? 0), 2);
  assert.equal(cellWidth("한".codePointAt(0) ?? 0), 2);
  assert.equal(cellWidth(0xfe0f), 0);
});

test("numbers outside of the palette have no color", () => {
  assert.equal(paletteColor(256), undefined);
  assert.equal(paletteColor(Number.NaN), undefined);
  assert.equal(paletteColor(255), "#eeeeee");
});
