import assert from "node:assert/strict";
import { test } from "node:test";

import { applyChanges, EMPTY_TEAM, newlyNeeding, type Team } from "../src/team.ts";
import type { ChangesResult } from "../src/wire.ts";
import { row } from "./rows.ts";

function changes(given: Partial<ChangesResult>): ChangesResult {
  return { cursor: "1", complete: false, instances: [], gone: [], needsAttention: [], warnings: [], ...given };
}

function after(...all: Partial<ChangesResult>[]): Team {
  return all.reduce((team: Team, each) => applyChanges(team, changes(each)), EMPTY_TEAM);
}

test("a row that was not sent again keeps its identity", () => {
  const before = after({ complete: true, instances: [row("a"), row("b")] });
  const now = applyChanges(before, changes({ instances: [row("b", { status: "busy" })] }));
  assert.equal(now.rows.get("a"), before.rows.get("a"));
  assert.equal(now.rows.get("b")?.status, "busy");
});

test("a complete answer forgets who is not in it and keeps rows that are the same", () => {
  const before = after({ complete: true, instances: [row("a"), row("b")] });
  const now = applyChanges(before, changes({ complete: true, instances: [row("b"), row("c")] }));
  assert.deepEqual([...now.rows.keys()], ["b", "c"]);
  assert.equal(now.rows.get("b"), before.rows.get("b"));
});

test("a row needs somebody when the team says so, whatever the row itself says", () => {
  const before = after({ complete: true, instances: [row("a"), row("b", { needsAttention: true })], needsAttention: ["a"] });
  const needing = (team: Team) => [...team.rows.values()].filter((each) => each.needsAttention);
  assert.deepEqual(needing(before).map((each) => each.instanceId), ["a"]);
  const now = applyChanges(before, changes({ needsAttention: [] }));
  assert.deepEqual(needing(now), []);
  assert.equal(now.rows.get("b"), before.rows.get("b"));
});

test("who is gone is gone", () => {
  const now = after({ complete: true, instances: [row("a"), row("b")] }, { gone: ["a", "never"] });
  assert.deepEqual([...now.rows.keys()], ["b"]);
});

test("rows that were held by one who applies changes are those of the team, whatever came between", () => {
  let seed = 7;
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    return seed % below;
  };
  for (let run = 0; run < 50; run += 1) {
    const truth = new Map<string, ReturnType<typeof row>>();
    let held = EMPTY_TEAM;
    for (let step = 0; step < 40; step += 1) {
      const id = `i${random(8)}`;
      const isGone = random(4) === 0;
      if (isGone) truth.delete(id);
      else truth.set(id, row(id, { unread: random(100) }));
      const told: Partial<ChangesResult> =
        random(10) === 0
          ? { complete: true, instances: [...truth.values()] }
          : isGone
            ? { gone: [id] }
            : { instances: [truth.get(id) as ReturnType<typeof row>] };
      held = applyChanges(held, changes(told));
    }
    const sorted = (rows: Iterable<[string, unknown]>) => [...rows].sort(([one], [other]) => one.localeCompare(other));
    assert.deepEqual(sorted(held.rows), sorted(truth));
  }
});

test("only those who newly need somebody are told", () => {
  const before = after({ needsAttention: ["a", "b"] });
  const now = after({ needsAttention: ["b", "c"] });
  assert.deepEqual(newlyNeeding(before, now), ["c"]);
});
