import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { TELLING, tellingArgument } from "../src/toolcall.ts";

test("a call is told by the same argument as in the rows of the team", async () => {
  // The tests run in the folder of the page.
  const source = await readFile("../../../actors/instance/activity.py", "utf8");
  const [, listed = ""] = /^_TELLING = \(([^)]*)\)/m.exec(source) ?? [];
  assert.deepEqual([...TELLING], [...listed.matchAll(/"(\w+)"/g)].map(([, name]) => name));
});

test("the argument that says most stands before the others", () => {
  assert.equal(tellingArgument({ description: "Run the tests", command: "npm test" }), "npm test");
  assert.equal(tellingArgument({ command: " ", path: "/srv", pattern: "TODO" }), "TODO");
  assert.equal(tellingArgument({ questions: [{ question: "Which one?" }], header: "x" }), "Which one?");
  assert.equal(tellingArgument({ limit: 3, unknown: "as it is" }), "as it is");
  assert.equal(tellingArgument({ limit: 3 }), "");
  assert.equal(tellingArgument({ prompt: "x".repeat(1_000) }).length, 300);
});
