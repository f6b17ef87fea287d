import assert from "node:assert/strict";
import { test } from "node:test";

import { legible } from "../src/contrast.ts";

test("a color that can be read stays as it is", () => {
  assert.equal(legible("#ffffff", "#16181d"), "#ffffff");
  assert.equal(legible("#000000", "#e0e0e0"), "#000000");
});

test("grey on dark grey becomes lighter, and on light grey darker", () => {
  const lighter = legible("#4e4e4e", "#3a3a3a");
  const darker = legible("#a0a0a0", "#c0c0c0");
  assert.ok(Number.parseInt(lighter.slice(1, 3), 16) > 0x90, lighter);
  assert.ok(Number.parseInt(darker.slice(1, 3), 16) < 0x60, darker);
});

test("its hue stays while that suffices", () => {
  const blue = legible("#0000d0", "#16181d");
  const [red, , strong] = [1, 3, 5].map((from) => Number.parseInt(blue.slice(from, from + 2), 16));
  assert.ok((strong ?? 0) > (red ?? 0), blue);
});
