import assert from "node:assert/strict";
import { test } from "node:test";

import { shownRows, type View, WHOLE_TEAM } from "../src/order.ts";
import { byId, row } from "./rows.ts";

const TEAM = byId(
  row("spec_0_1_10", { parentId: "mgr_0_1", name: "cart", status: "busy", task: "Write tests for the cart" }),
  row("spec_0_1_2", { parentId: "mgr_0_1", status: "failed", needsAttention: true }),
  row("mgr_0_1", { parentId: "exec_0", role: "manager" }),
  row("exec_0", { role: "executive" }),
  row("spec_9_9_9", { parentId: "mgr_of_another_team" }),
);

function ids(view: Partial<View>): string[] {
  return shownRows(TEAM, { ...WHOLE_TEAM, ...view }).map(({ row: { instanceId } }) => instanceId);
}

test("each stands below its lead, by the numbers in its id", () => {
  const shown = shownRows(TEAM, WHOLE_TEAM);
  assert.deepEqual(
    shown.map(({ row: { instanceId }, depth }) => [instanceId, depth]),
    [
      ["exec_0", 0],
      ["mgr_0_1", 1],
      ["spec_0_1_2", 2],
      ["spec_0_1_10", 2],
      ["spec_9_9_9", 0],
    ],
  );
});

test("a lead is shown when somebody below it matches, and marked", () => {
  const shown = shownRows(TEAM, { ...WHOLE_TEAM, search: "TESTS cart" });
  assert.deepEqual(
    shown.map(({ row: { instanceId }, matches }) => [instanceId, matches]),
    [
      ["exec_0", false],
      ["mgr_0_1", false],
      ["spec_0_1_10", true],
    ],
  );
});

test("by status those stand first that need somebody", () => {
  assert.deepEqual(ids({ grouping: "state" }).slice(0, 2), ["spec_0_1_2", "spec_0_1_10"]);
});

test("filters of one kind widen, those of two kinds narrow", () => {
  const flat = { grouping: "state" } as const;
  assert.equal(ids({ ...flat, statuses: new Set(["busy", "failed"]) }).length, 2);
  assert.deepEqual(ids({ ...flat, statuses: new Set(["ready"]), roles: new Set(["manager"]) }), ["mgr_0_1"]);
  assert.deepEqual(ids({ ...flat, needing: true }), ["spec_0_1_2"]);
});

test("leads that lead each other are shown all the same, each once", () => {
  const odd = byId(row("a", { parentId: "b" }), row("b", { parentId: "a" }), row("c"));
  assert.deepEqual(
    shownRows(odd, WHOLE_TEAM).map(({ row: { instanceId } }) => instanceId),
    ["c", "a", "b"],
  );
});

test("a sort by context takes the part of the window, and turns around", () => {
  const rows = byId(
    row("small", { contextTokens: 50, contextWindow: 100 }),
    row("large", { contextTokens: 60, contextWindow: 1_000 }),
    row("unknown", { contextTokens: 70 }),
  );
  const sorted = (descending: boolean) =>
    shownRows(rows, { ...WHOLE_TEAM, sort: "context", descending }).map(({ row: { instanceId } }) => instanceId);
  assert.deepEqual(sorted(true), ["small", "large", "unknown"]);
  assert.deepEqual(sorted(false), ["unknown", "large", "small"]);
});

test("a sort by commits takes what is known of the branches", () => {
  const work = { "spec_0_1_10": { ahead: 3 }, "spec_0_1_2": { ahead: 0 } };
  const view: View = { ...WHOLE_TEAM, grouping: "tree", sort: "ahead", descending: true };
  const shown = shownRows(TEAM, view, work).map(({ row: { instanceId } }) => instanceId);
  assert.ok(shown.indexOf("spec_0_1_10") < shown.indexOf("spec_0_1_2"));
});
