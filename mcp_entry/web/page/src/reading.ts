/** Reads one conversation on, for the view that shows it.
 *
 * Looking leaves answers unread. What was read stays when a later read fails. Receipts that are not final are read again
 * with each look, and once more `SECOND_LOOK_MS` after it, since a receipt may come though nothing else changes.
 */

import { unsettled, withReceipts } from "./receipts.ts";
import { inWords } from "./server.ts";
import type { ConversationEntry, ReadResult } from "./wire.ts";

export const FIRST_ASKED = 200;
/** The most that one read gives. */
export const MOST_READ = 2_000;
const READ_EVERY_MS = 300;
const SECOND_LOOK_MS = 2_000;
/** A receipt that never becomes final is not asked for without end. */
const MOST_LOOKS = 20;

export interface Reading {
  readonly entries: readonly ConversationEntry[];
  /** Index in `entries` of the first that was ever read; so an entry keeps its number when earlier ones are read. */
  readonly origin: number;
  readonly cursor: string | null;
  /** How many of the latest were asked for. */
  readonly asked: number;
  /** Why the last try failed; empty when it did not. */
  readonly error: string;
  /** Something was tried. */
  readonly done: boolean;
}

export const NOTHING_READ: Reading = {
  entries: [],
  origin: 0,
  cursor: null,
  asked: FIRST_ASKED,
  error: "",
  done: false,
};

/** What the verb `read` is asked for. */
export interface ReadRequest {
  instanceId: string;
  lines: number;
  leavesUnread: true;
  cursor?: string;
}

export class ConversationReader {
  private reading = NOTHING_READ;
  private wantedAsked = FIRST_ASKED;
  private isReading = false;
  private isWanted = false;
  private isClosed = false;
  private mayLookAgain = false;
  private secondLook: ReturnType<typeof setTimeout> | undefined;
  /** How often the receipts of these messages were asked for. */
  private looks = { key: "", count: 0 };

  /** @param changed is told after each try, until `close`. */
  constructor(
    private readonly instanceId: string,
    private readonly ask: (request: ReadRequest) => Promise<ReadResult>,
    private readonly changed: (reading: Reading) => void,
  ) {}

  /** Reads what is new. */
  look(): void {
    this.mayLookAgain = true;
    void this.readOn();
  }

  /** Reads so many of the latest entries. */
  lookFurtherBack(asked: number): void {
    this.wantedAsked = Math.min(asked, MOST_READ);
    this.look();
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.secondLook);
  }

  private async readOn(): Promise<void> {
    this.isWanted = true;
    clearTimeout(this.secondLook);
    if (this.isReading) return;
    this.isReading = true;
    while (this.isWanted && !this.isClosed) {
      this.isWanted = false;
      try {
        await this.read();
      } catch (error) {
        this.reading = { ...this.reading, error: inWords(error), done: true };
      }
      if (!this.isClosed) this.changed(this.reading);
      await new Promise((resolve) => setTimeout(resolve, READ_EVERY_MS));
    }
    this.isReading = false;
    if (this.mayLookAgain && !this.isClosed && this.open() > 0) {
      this.mayLookAgain = false;
      this.secondLook = setTimeout(() => void this.readOn(), SECOND_LOOK_MS);
    }
  }

  private async read(): Promise<void> {
    const openBefore = this.open();
    const { entries: held, origin, cursor, asked } = this.reading;
    const isAnew = cursor === null || asked < this.wantedAsked;
    const wantedAsked = this.wantedAsked;
    const found = await this.readFrom(isAnew ? null : cursor, wantedAsked);
    const entries = isAnew ? found.entries : [...held, ...found.entries];
    this.reading = {
      entries: found.entries.length === 0 && !isAnew ? held : entries,
      origin: isAnew && held.length > 0 ? origin + Math.max(0, entries.length - held.length) : origin,
      cursor: found.cursor,
      asked: wantedAsked,
      error: "",
      done: true,
    };
    if (openBefore > 0 && !isAnew) await this.readReceipts(openBefore + found.entries.length);
  }

  /** How many of the latest entries hold all receipts that are to be read again. */
  private open(): number {
    const { key, depth } = unsettled(this.reading.entries);
    if (key !== this.looks.key) this.looks = { key, count: 0 };
    return this.looks.count < MOST_LOOKS ? depth : 0;
  }

  private async readReceipts(depth: number): Promise<void> {
    this.looks.count += 1;
    const { entries: fresh } = await this.readFrom(null, Math.min(depth, MOST_READ));
    this.reading = { ...this.reading, entries: withReceipts(this.reading.entries, fresh) };
  }

  /** All that stands after the cursor; without one, the latest `asked` entries. */
  private async readFrom(cursor: string | null, asked: number) {
    const { instanceId } = this;
    const entries: ConversationEntry[] = [];
    let at = cursor;
    let page: ReadResult;
    do {
      const place = at === null ? { lines: asked } : { lines: MOST_READ, cursor: at };
      page = await this.ask({ instanceId, leavesUnread: true, ...place });
      entries.push(...page.entries);
      const isStuck = page.more && page.cursor === at;
      at = page.cursor ?? at;
      if (isStuck) break;
    } while (page.more);
    return { entries, cursor: at };
  }
}
