import assert from "node:assert/strict";
import { test } from "node:test";

import { NOTHING_HAPPENED, withHappened } from "../src/happened.ts";
import type { TeamEvent } from "../src/wire.ts";

function event(number: number, at = "2026-11-01T10:00:00.000+00:00"): TeamEvent {
  return { kind: "became_idle", at, number, text: "" };
}

test("an event that is told again after a lost connection is held once", () => {
  const before = withHappened(NOTHING_HAPPENED, { events: [event(1), event(2)], missed: 0 });
  const now = withHappened(before, { events: [event(2), event(3)], missed: 0 });
  assert.deepEqual(now.events.map((each) => each.number), [1, 2, 3]);
});

test("events without a number are all held, and a number of an older state may come again", () => {
  const before = withHappened(NOTHING_HAPPENED, { events: [event(0), event(2)], missed: 0 });
  const now = withHappened(before, { events: [event(0), event(2, "2026-11-01T11:00:00.000+00:00")], missed: 0 });
  assert.equal(now.events.length, 4);
});

test("events that did not come are counted", () => {
  const before = withHappened(NOTHING_HAPPENED, { events: [], missed: 3 });
  assert.equal(withHappened(before, { events: [event(9)], missed: 2 }).missed, 5);
});
