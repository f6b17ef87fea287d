/** The keys on their way to a terminal: in their order, one call after the other; pure.
 *
 * A key is meant for the screen that was shown when it was pressed. So it is sent with the version of that screen, and a
 * key that could not be sent within `OLDEST_MS` is dropped with all after it: what it would do by now nobody has seen.
 */

import type { Key } from "./wire.ts";

/** Of one call. */
const MOST_KEYS = 200;
export const OLDEST_MS = 1_000;

export interface TypedKeys {
  keys: Key[];
  /** The version of the screen that was shown. */
  seen: string;
}

interface Waiting extends TypedKeys {
  /** When they were pressed; of the rest of a long paste, when the part before it was sent. */
  sinceMs: number;
}

export class Typing {
  private waiting: Waiting[] = [];
  private isSending = false;
  private hasEnded = false;

  /**
   * @param send types them; raises when they did not arrive.
   * @param lost gets the error, or the number of keys that were dropped because they were too old. Nothing is sent after.
   */
  constructor(
    private readonly send: (typed: TypedKeys) => Promise<unknown>,
    private readonly lost: (why: { error: unknown } | { dropped: number }) => void,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Keys that were pressed while the screen of the version `seen` was shown. */
  type(keys: readonly Key[], seen: string): void {
    if (keys.length === 0 || this.hasEnded) return;
    const last = this.waiting.at(-1);
    if (last?.seen === seen && last.keys.length + keys.length <= MOST_KEYS) last.keys.push(...keys);
    else this.waiting.push({ keys: [...keys], seen, sinceMs: this.now() });
    if (!this.isSending) void this.sendAll();
  }

  /** The terminal was given back: what was not sent is not typed any more. */
  end(): void {
    this.hasEnded = true;
    this.waiting = [];
  }

  private async sendAll(): Promise<void> {
    this.isSending = true;
    try {
      for (let next = this.waiting[0]; next && !this.hasEnded; next = this.waiting[0]) {
        if (this.now() - next.sinceMs > OLDEST_MS) {
          this.drop();
          return;
        }
        const keys = next.keys.splice(0, MOST_KEYS);
        if (next.keys.length === 0) this.waiting.shift();
        else next.sinceMs = this.now();
        await this.send({ keys, seen: next.seen });
      }
    } catch (error) {
      this.end();
      this.lost({ error });
    } finally {
      this.isSending = false;
    }
  }

  private drop(): void {
    const dropped = this.waiting.reduce((sum, { keys }) => sum + keys.length, 0);
    this.end();
    this.lost({ dropped });
  }
}
