import assert from "node:assert/strict";
import { test } from "node:test";

import { NOTHING_HAPPENED, withHappened } from "../src/happened.ts";
import type { TeamEvent } from "../src/wire.ts";

function event(number: number, at = "2026-11-01T10:00:00.000+00:00"): TeamEvent {
  return { kind: "became_idle", at, number, text: "" };
}

test("an event that is told again after a lost connection is held once", () => {
  const before = withHappened(NOTHING_HAPPENED, { events: [event(1), event(2)], missed: 0, last: 2 });
  const now = withHappened(before, { events: [event(2), event(3)], missed: 0, last: 3 });
  assert.deepEqual(now.events.map((each) => each.number), [1, 2, 3]);
  assert.equal(now.missed, 0);
});

test("events without a number are all held", () => {
  const before = withHappened(NOTHING_HAPPENED, { events: [event(0), event(2)], missed: 0, last: 2 });
  assert.equal(withHappened(before, { events: [event(0)], missed: 0, last: 2 }).events.length, 3);
});

test("a number of a state that was restored may come again", () => {
  const before = withHappened(NOTHING_HAPPENED, { events: [event(2)], missed: 0, last: 9 });
  const restored = withHappened(before, { events: [], missed: 0, last: 1 });
  const now = withHappened(restored, { events: [event(2, "2026-11-01T11:00:00.000+00:00")], missed: 0, last: 2 });
  assert.equal(now.events.length, 2);
  assert.equal(now.missed, 0);
});

test("events that did not come are counted, whoever left them out", () => {
  const opened = withHappened(NOTHING_HAPPENED, { events: [], missed: 0, last: 4 });
  assert.equal(opened.missed, 0);
  const told = withHappened(opened, { events: [], missed: 3, last: 7 });
  assert.equal(told.missed, 3);
  const silent = withHappened(told, { events: [event(10)], missed: 0, last: 10 });
  assert.equal(silent.missed, 5);
  assert.equal(withHappened(silent, { events: [event(9), event(10)], missed: 0, last: 10 }).missed, 5);
});
