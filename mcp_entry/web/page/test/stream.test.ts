import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { Stream } from "../src/stream.ts";

/** Stands in for the browser's. */
class Source {
  static opened: Source[] = [];
  onopen = () => {};
  onerror = () => {};
  constructor(readonly path: string) {
    Source.opened.push(this);
  }
  readonly heard = new Map<string, (event: object) => void>();
  addEventListener(name: string, heard: (event: object) => void): void {
    this.heard.set(name, heard);
  }
  close(): void {}
}

interface Answer {
  status: number;
  body?: string;
}
let answers: Record<string, Answer | undefined>;
let asked: string[];
let broken: number;

beforeEach(() => {
  Source.opened = [];
  answers = { "HEAD /": { status: 200 } };
  asked = [];
  mock.timers.enable({ apis: ["setTimeout"] });
  mock.method(globalThis, "fetch", async (path: string, { method }: { method: string }) => {
    asked.push(`${method} ${path}`);
    const answer = answers[`${method} ${path}`];
    if (!answer) throw new TypeError("no server");
    return new Response(answer.body ?? null, { status: answer.status });
  });
  Object.assign(globalThis, { EventSource: Source });
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

/** The stream's sources one after another: each ends, and the next one is opened. */
async function follow(count: number, opens: boolean) {
  const lost: [number, string][] = [];
  broken = 0;
  let number = 0;
  const stream = new Stream(
    () => `/api/team?after=${++number}`,
    {},
    () => (broken += 1),
    (status, words) => lost.push([status, words]),
  );
  for (let at = 0; at < count; at += 1) {
    const source = Source.opened[at];
    assert.ok(source, `${Source.opened.length} were opened`);
    if (opens) source.onopen();
    source.onerror();
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    mock.timers.tick(10_000);
  }
  stream.close();
  return lost;
}

test("a stream that only broke is told as such and opened again, from where it was", async () => {
  assert.deepEqual(await follow(2, true), []);
  assert.equal(broken, 2);
  assert.deepEqual(Source.opened.map(({ path }) => path), [1, 2, 3].map((after) => `/api/team?after=${after}`));
  assert.deepEqual(asked, ["HEAD /", "HEAD /"]);
});

test("what is told comes as what the server gave", () => {
  const told: unknown[] = [];
  const stream = new Stream(() => "/api/team", { happened: (data) => void told.push(data) }, () => {}, () => {});
  Source.opened[0]?.heard.get("happened")?.({ data: '{"missed":0}' });
  stream.close();
  assert.deepEqual(told, [{ missed: 0 }]);
});

test("a server that does not answer, and a session that has ended, are told by the status", async () => {
  answers["HEAD /"] = undefined;
  assert.deepEqual(await follow(1, true), [[0, ""]]);
  Source.opened = [];
  answers["HEAD /"] = { status: 401 };
  assert.deepEqual(await follow(1, true), [[401, ""]]);
});

test("a stream that is refused is told in the server's words", async () => {
  const message = "This browser has 5 views of the team open already: close some of them.";
  answers["GET /api/team?after=1"] = { status: 503, body: JSON.stringify({ code: "unavailable", message }) };
  assert.deepEqual(await follow(1, false), [[503, message]]);
});

test("a stream that would be given by now is only opened again", async () => {
  answers["GET /api/team?after=1"] = { status: 200, body: ": still here\n\n" };
  assert.deepEqual(await follow(1, false), []);
  assert.equal(Source.opened.length, 2);
});
