import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { ConversationReader, type Reading, type ReadRequest } from "../src/reading.ts";
import { CallError } from "../src/server.ts";
import type { ConversationEntry, EntryMessage, ReadResult } from "../src/wire.ts";

beforeEach(() => mock.timers.enable({ apis: ["setTimeout"] }));
afterEach(() => mock.timers.reset());

function entry(text: string, ...messages: EntryMessage[]): ConversationEntry {
  return { kind: "question", at: "2026-11-01T10:00:00.000+00:00", text, messages };
}

/** A conversation that grows, as the verb `read` gives it: a cursor is how many entries one has. */
function conversation(...said: ConversationEntry[]) {
  const asked: ReadRequest[] = [];
  let shown: Reading | undefined;
  let trouble: CallError | null = null;
  const reader = new ConversationReader(
    "a",
    async (request): Promise<ReadResult> => {
      asked.push(request);
      if (trouble) throw trouble;
      const from = request.cursor === undefined ? Math.max(0, said.length - request.lines) : Number(request.cursor);
      const entries = said.slice(from, from + request.lines);
      const cursor = String(from + entries.length);
      return { instanceId: "a", entries, cursor, more: from + entries.length < said.length };
    },
    (reading) => (shown = reading),
  );
  return {
    reader,
    said,
    asked,
    shown: () => shown,
    failing(error: CallError | null) {
      trouble = error;
    },
    /** Lets the reader do what it does in this time. */
    async passed(ms: number) {
      for (let step = 0; step <= ms; step += 100) {
        await new Promise((resolve) => setImmediate(resolve));
        if (step < ms) mock.timers.tick(100);
      }
    },
  };
}

test("what is new is added, and what was read keeps its number when earlier entries are read", async () => {
  const all = Array.from({ length: 300 }, (_, index) => entry(`${index}`));
  const { reader, said, shown, passed } = conversation(...all);
  reader.look();
  await passed(500);
  assert.equal(shown()?.entries.length, 200);
  said.push(entry("300"));
  reader.look();
  await passed(500);
  assert.equal(shown()?.entries.at(-1)?.text, "300");
  assert.equal(shown()?.origin, 0);
  reader.lookFurtherBack(800);
  await passed(500);
  assert.equal(shown()?.entries.length, 301);
  assert.equal(shown()?.entries[shown()?.origin ?? 0]?.text, "100");
});

test("what was read stays when a read fails, and the next look reads on", async () => {
  const { reader, said, shown, failing, passed } = conversation(entry("first"));
  reader.look();
  await passed(500);
  failing(new CallError(503, "unavailable", "The team does not answer."));
  reader.look();
  await passed(500);
  assert.equal(shown()?.error, "The team does not answer.");
  assert.equal(shown()?.entries.length, 1);
  failing(null);
  said.push(entry("second"));
  reader.look();
  await passed(500);
  assert.equal(shown()?.error, "");
  assert.deepEqual(shown()?.entries.map(({ text }) => text), ["first", "second"]);
});

test("a receipt that comes later is shown, though nothing else changes", async () => {
  const { reader, said, shown, asked, passed } = conversation(entry("first", { messageId: "m1", status: "accepted" }));
  reader.look();
  await passed(500);
  said[0] = entry("first", { messageId: "m1", status: "submitted", exact: true });
  await passed(2_500);
  assert.equal(shown()?.entries[0]?.messages?.[0]?.status, "submitted");
  assert.ok(asked.every(({ leavesUnread }) => leavesUnread));
  const before = asked.length;
  await passed(10_000);
  assert.equal(asked.length, before);
});

test("a receipt that stays open is read again with each look and once after it, and not without end", async () => {
  const { reader, asked, passed } = conversation(entry("first", { messageId: "m1", status: "accepted" }));
  reader.look();
  await passed(20_000);
  const receipts = () => asked.filter(({ cursor }) => cursor === undefined).length - 1;
  assert.equal(receipts(), 1);
  reader.look();
  await passed(5_000);
  assert.equal(receipts(), 3);
  for (let look = 0; look < 30; look += 1) {
    reader.look();
    await passed(400);
  }
  assert.equal(receipts(), 20);
});

test("a reader that was closed reads nothing more", async () => {
  const { reader, asked, passed } = conversation(entry("first", { messageId: "m1", status: "accepted" }));
  reader.look();
  await passed(500);
  reader.close();
  await passed(5_000);
  assert.equal(asked.length, 1);
});
