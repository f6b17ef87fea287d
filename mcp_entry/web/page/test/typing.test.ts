import assert from "node:assert/strict";
import { test } from "node:test";

import { OLDEST_MS, type TypedKeys, Typing } from "../src/typing.ts";
import type { Key } from "../src/wire.ts";

/** A terminal whose calls end when the test says so, at times that it gives. */
function terminal() {
  const sent: TypedKeys[] = [];
  const lost: unknown[] = [];
  let nowMs = 0;
  let answer: { resolve: () => void; reject: (error: unknown) => void } | undefined;
  const typing = new Typing(
    (typed) => {
      sent.push(typed);
      return new Promise<void>((resolve, reject) => (answer = { resolve, reject }));
    },
    (why) => lost.push(why),
    () => nowMs,
  );
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  return {
    typing,
    sent,
    lost,
    texts: () => sent.map(({ keys }) => keys.map((key) => ("text" in key ? key.text : key.key)).join("")),
    async answered(afterMs: number, error?: unknown) {
      nowMs += afterMs;
      if (error) answer?.reject(error);
      else answer?.resolve();
      await settled();
    },
  };
}

const text = (typed: string): Key[] => [...typed].map((each) => ({ text: each }));

test("keys go one call after the other, each with the screen that was shown", async () => {
  const { typing, sent, texts, answered } = terminal();
  for (const key of text("abc")) typing.type([key], "v1");
  typing.type([{ key: "Enter" }], "v2");
  await answered(100);
  await answered(100);
  await answered(100);
  assert.deepEqual(texts(), ["a", "bc", "Enter"]);
  assert.deepEqual(sent.map(({ seen }) => seen), ["v1", "v1", "v2"]);
});

test("keys that waited for more than a second are dropped with all after them", async () => {
  const { typing, texts, lost, answered } = terminal();
  typing.type(text("a"), "v1");
  typing.type(text("bc"), "v1");
  typing.type([{ key: "Enter" }], "v2");
  await answered(OLDEST_MS + 1);
  typing.type(text("d"), "v2");
  assert.deepEqual(texts(), ["a"]);
  assert.deepEqual(lost, [{ dropped: 3 }]);
});

test("a long paste goes in whole while each part of it is taken in time", async () => {
  const { typing, sent, lost, answered } = terminal();
  typing.type(text("x".repeat(1_000)), "v1");
  for (let part = 0; part < 5; part += 1) await answered(OLDEST_MS - 1);
  assert.deepEqual(sent.map(({ keys }) => keys.length), [200, 200, 200, 200, 200]);
  assert.deepEqual(lost, []);
});

test("once the terminal is given back, nothing more is typed", async () => {
  const { typing, texts, lost, answered } = terminal();
  typing.type(text("a"), "v1");
  typing.type([{ key: "Enter" }], "v1");
  typing.end();
  await answered(10);
  typing.type(text("b"), "v1");
  assert.deepEqual(texts(), ["a"]);
  assert.deepEqual(lost, []);
});

test("keys that did not arrive end it", async () => {
  const { typing, texts, lost, answered } = terminal();
  typing.type(text("a"), "v1");
  typing.type(text("b"), "v1");
  const error = new Error("a dialog has come up");
  await answered(10, error);
  assert.deepEqual(texts(), ["a"]);
  assert.deepEqual(lost, [{ error }]);
});
