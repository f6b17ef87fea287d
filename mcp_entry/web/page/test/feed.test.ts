import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { followTeam } from "../src/feed.ts";

/** Stands in for the browser's; `open` are those that were not closed. */
class Source {
  static open = new Set<Source>();
  constructor(readonly path: string) {
    Source.open.add(this);
  }
  addEventListener(): void {}
  close(): void {
    Source.open.delete(this);
  }
}

interface Waiting {
  hold: () => Promise<never>;
  lose: (reason: unknown) => void;
}

/** One lock, as Chromium has it: whoever loses it is told a moment later than the next one that has it. */
class Locks {
  private holder: Waiting | null = null;
  private readonly queue: Waiting[] = [];

  request(_name: string, { steal = false, signal }: LockOptions, hold: () => Promise<never>): Promise<void> {
    return new Promise((_resolve, lose) => {
      const asking = { hold, lose };
      signal?.addEventListener("abort", () => {
        if (this.queue.includes(asking)) this.queue.splice(this.queue.indexOf(asking), 1);
        lose(signal.reason);
      });
      if (this.holder !== null && !steal) this.queue.push(asking);
      else this.give(asking);
    });
  }

  /** Another page takes it. */
  steal(): void {
    this.give({ hold: () => new Promise<never>(() => {}), lose: () => {} });
  }

  /** That page is closed. */
  free(): void {
    this.holder = null;
    const next = this.queue.shift();
    if (next) this.give(next);
  }

  private give(next: Waiting): void {
    const loser = this.holder;
    this.holder = next;
    setTimeout(() => void next.hold(), 1);
    if (loser) setTimeout(() => loser.lose(new DOMException("stolen", "AbortError")), 5);
  }
}

let locks: Locks;
let shown: () => void;

beforeEach(() => {
  Source.open.clear();
  locks = new Locks();
  const page = {
    hidden: false,
    addEventListener: (_name: string, heard: () => void) => {
      shown = heard;
    },
  };
  const Channel = class {
    postMessage(): void {}
  };
  Object.assign(globalThis, { EventSource: Source, BroadcastChannel: Channel, document: page });
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
});

function soon(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 20));
}

test("a page that is shown twice before it has the lock follows the team", async () => {
  followTeam(() => {});
  shown();
  await soon();
  assert.equal(Source.open.size, 1);
});

test("a page that loses the lock follows no more, and again when it is shown or the other one is closed", async () => {
  followTeam(() => {});
  await soon();
  locks.steal();
  await soon();
  assert.equal(Source.open.size, 0);
  shown();
  await soon();
  assert.equal(Source.open.size, 1);
  locks.steal();
  await soon();
  assert.equal(Source.open.size, 0);
  locks.free();
  await soon();
  assert.equal(Source.open.size, 1);
});
