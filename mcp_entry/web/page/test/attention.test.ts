import assert from "node:assert/strict";
import { test } from "node:test";

import { needKey, needOf, waiting } from "../src/attention.ts";
import type { JsonObject } from "../src/wire.ts";
import { byId, row } from "./rows.ts";

function asking(tool: string, input: JsonObject, permissionId = "p1") {
  return row("a", { needsAttention: true, status: "waiting_permission", permission: { permissionId, tool, input } });
}

test("a question of Claude Code has its options", () => {
  const need = needOf(
    asking("AskUserQuestion", {
      questions: [
        { question: "Which?", header: "Index", multiSelect: true, options: [{ label: "A", description: "small" }] },
      ],
    }),
  );
  assert.ok(need?.kind === "questions");
  assert.deepEqual(need.questions, [
    { question: "Which?", header: "Index", several: true, options: [{ label: "A", description: "small" }] },
  ]);
});

test("a question of another form is shown as any request, with its whole input", () => {
  for (const questions of ["x", [], [1], [{ question: 1, options: [] }], [{ question: "x", options: [{}] }]]) {
    assert.equal(needOf(asking("AskUserQuestion", { questions } as JsonObject))?.kind, "permission");
  }
});

test("what is asked for comes before the reason, a failure before what is held", () => {
  assert.equal(needOf(row("a"))?.kind, undefined);
  const needing = { needsAttention: true, reason: "why" };
  assert.equal(needOf(row("a", { ...needing, dialog: { question: "Trust?", options: [] } }))?.kind, "dialog");
  assert.equal(needOf(row("a", { ...needing, status: "failed", heldMessages: 1 }))?.kind, "failed");
  assert.equal(needOf(row("a", { ...needing, status: "rate_limited" }))?.kind, "limited");
  assert.equal(needOf(row("a", { ...needing, heldMessages: 2 }))?.kind, "held");
  assert.equal(needOf(row("a", needing))?.kind, "stuck");
});

test("whoever needs somebody has a card, also when the row does not show why", () => {
  assert.deepEqual(needOf(row("a", { needsAttention: true })), { kind: "other", reason: "" });
  const reason = "2 messages are not delivered: restart it";
  const stopped = row("a", { needsAttention: true, status: "stopped", reason });
  assert.deepEqual(needOf(stopped), { kind: "other", reason });
});

test("the next request of the same instance is another one", () => {
  const keyOf = (id: string) => {
    const shown = asking("Bash", {}, id);
    const need = needOf(shown);
    return need && needKey(shown, need);
  };
  assert.notEqual(keyOf("p1"), keyOf("p2"));
});

test("who asks stands before who cannot go on, and the longest wait first", () => {
  const permission = { permissionId: "p", tool: "Bash", input: {} };
  const rows = byId(
    row("late", { permission, since: "2026-11-01T10:00:09.000+00:00" }),
    row("early", { permission, since: "2026-11-01T10:00:01.000+00:00" }),
    row("failed", { status: "failed", since: "2026-11-01T09:00:00.000+00:00" }),
  );
  const shown = waiting(rows, ["failed", "late", "gone", "early"]).map((each) => each.instanceId);
  assert.deepEqual(shown, ["early", "late", "failed"]);
});
