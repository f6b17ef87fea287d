import assert from "node:assert/strict";
import { test } from "node:test";

import { failureInWords, isUnknown, RequestIds } from "../src/outcome.ts";
import { CallError, limitMs } from "../src/server.ts";

const DEED = { failed: "worker was not restarted", whether: "worker was restarted" };

test("what had no answer may have been done", () => {
  for (const [status, code] of [
    [0, "unreachable"],
    [503, "unavailable"],
    [500, "internal"],
  ] as const) {
    const words = failureInWords(new CallError(status, code, "No answer."), DEED);
    assert.equal(words, "It is not known whether worker was restarted: No answer. Look before you do it again.");
  }
});

test("what was refused was not done", () => {
  for (const [status, code] of [
    [409, "wrong_state"],
    [401, "signed_out"],
    [429, "too_many_calls"],
    [503, "team_not_running"],
  ] as const) {
    assert.equal(failureInWords(new CallError(status, code, "No."), DEED), "worker was not restarted: No.");
  }
  assert.equal(isUnknown(new TypeError("a fault of the page")), false);
});

test("what changes nothing only fails", () => {
  const words = failureInWords(new CallError(0, "unreachable", "No answer."), { failed: "It cannot be read" });
  assert.equal(words, "It cannot be read: No answer.");
});

test("a message that is sent again keeps its request id until the team has answered", () => {
  let made = 0;
  const ids = new RequestIds(() => String(++made));
  const first = ids.of("a", "Go on.");
  assert.equal(ids.of("a", "Go on."), first);
  const others = [ids.of("a", "Go on!"), ids.of("b", "Go on.")];
  assert.equal(new Set([first, ...others]).size, 3);
  ids.settle("a", "Go on.");
  assert.notEqual(ids.of("a", "Go on."), first);
});

test("calls that start or end agents have the time that this takes", () => {
  const seconds = ["restart", "recycle", "terminate", "git_batch", "send"].map((verb) => limitMs(verb) / 1_000);
  assert.deepEqual(seconds, [900, 900, 300, 900, 120]);
});
