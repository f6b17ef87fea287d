import assert from "node:assert/strict";
import { test } from "node:test";

import { fateInWords, unsettled, withReceipts } from "../src/receipts.ts";
import type { ConversationEntry, EntryMessage, TeamEvent } from "../src/wire.ts";

function asked(...messages: EntryMessage[]): ConversationEntry {
  return { kind: "question", at: "2026-11-01T10:00:00.000+00:00", text: "Go on.", messages };
}

const ANSWER: ConversationEntry = { kind: "answer", at: "2026-11-01T10:00:01.000+00:00", text: "Yes." };
const EXACT: EntryMessage = { messageId: "m1", status: "submitted", exact: true };

test("receipts that may still change are asked for again, those of all others are not", () => {
  const open: EntryMessage[] = [
    { messageId: "m2", status: "accepted" },
    { messageId: "m3", status: "submitted", exact: null },
    { messageId: "m4", status: "unconfirmed" },
  ];
  for (const message of open) {
    assert.deepEqual(unsettled([asked(EXACT), asked(message), ANSWER]), { depth: 2, key: message.messageId });
  }
  const final: EntryMessage[] = [{ messageId: "m5", status: "failed" }, { messageId: "m6", status: null }];
  assert.equal(unsettled([asked(EXACT, ...final), ANSWER]).depth, 0);
});

test("receipts of long ago are left as they are", () => {
  const long = Array.from({ length: 200 }, () => ANSWER);
  assert.equal(unsettled([asked({ messageId: "m2", status: "accepted" }), ...long]).depth, 0);
});

test("a receipt that has come takes the place of the one before, and nothing else changes", () => {
  const held = [asked(EXACT), asked({ messageId: "m2", status: "accepted" }), ANSWER];
  const now: EntryMessage = { messageId: "m2", status: "submitted", exact: false, changes: ["a tab is missing"] };
  const merged = withReceipts(held, [asked(now), ANSWER]);
  assert.deepEqual(merged[1]?.messages, [now]);
  assert.equal(merged[0], held[0]);
  assert.equal(merged[2], held[2]);
});

test("what was sent is settled by its event, or by the entry in which it stands", () => {
  const final: TeamEvent = { kind: "message_final", at: "", number: 1, text: "gone", messageId: "m1", status: "failed" };
  assert.equal(fateInWords("m1", [final], []), "failed: gone");
  assert.equal(fateInWords("m1", [], [asked(EXACT)]), "submitted");
  assert.equal(fateInWords("m1", [], [asked({ messageId: "m1", status: "accepted" })]), "");
});
