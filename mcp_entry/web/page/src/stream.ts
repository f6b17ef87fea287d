/** A stream of server-sent events of the endpoint, and the stream of one instance's screen. */

import { parsedJson } from "./server.ts";
import type { JsonObject, ScreenResult } from "./wire.ts";

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 3_000;
const ASK_LIMIT_MS = 5_000;

/** Connects again by itself, with growing pauses, until it is closed. */
export class Stream {
  private source: EventSource | null = null;
  private retryMs = FIRST_RETRY_MS;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isClosed = false;

  /**
   * @param path is asked for each time that it connects.
   * @param broken tells that nothing comes just now, before anybody knows why; it may be back in a moment.
   * @param lost tells why nothing comes: 0 without words when no server answers, else its status and words.
   */
  constructor(
    private readonly path: () => string,
    private readonly listeners: Readonly<Record<string, (data: unknown) => void>>,
    private readonly broken: () => void,
    private readonly lost: (status: number, words: string) => void,
  ) {
    this.open();
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  private open(): void {
    const path = this.path();
    const source = new EventSource(path);
    let hasOpened = false;
    this.source = source;
    source.onopen = () => {
      hasOpened = true;
      this.retryMs = FIRST_RETRY_MS;
    };
    for (const [name, heard] of Object.entries(this.listeners)) {
      source.addEventListener(name, (event) => heard(parsedJson((event as MessageEvent<string>).data)));
    }
    source.onerror = () => {
      source.close();
      if (this.source !== source) return;
      this.source = null;
      if (hasOpened) this.broken();
      void this.again(hasOpened ? null : path);
    };
  }

  /** `refused`: what could not be opened at all. */
  private async again(refused: string | null): Promise<void> {
    const refusal = await whyLost(refused);
    if (this.isClosed) return;
    if (refusal) this.lost(refusal.status, refusal.words);
    this.timer = setTimeout(() => this.open(), this.retryMs);
    this.retryMs = Math.min(2 * this.retryMs, LONGEST_RETRY_MS);
  }
}

interface Refusal {
  status: number;
  words: string;
}

/** An event source does not tell why it ended. The page itself is asked for, which opens no second stream; only what was
 * refused is asked for its words. Null when nothing stands against opening it again. */
async function whyLost(refused: string | null): Promise<Refusal | null> {
  const page = await answerTo("HEAD", "/");
  if (page === null || page.status === 401 || page.status === 403) return { status: page?.status ?? 0, words: "" };
  if (refused === null) return null;
  const answer = await answerTo("GET", refused);
  if (answer === null) return { status: 0, words: "" };
  return answer.status < 400 ? null : answer;
}

/** Null when there is none. Of an answer that is well, only the status is read. */
async function answerTo(method: string, path: string): Promise<Refusal | null> {
  const asked = new AbortController();
  const timer = setTimeout(() => asked.abort(), ASK_LIMIT_MS);
  try {
    const response = await fetch(path, { method, signal: asked.signal });
    const told = response.status < 400 ? null : parsedJson(await response.text());
    const message = (told as JsonObject | null)?.message;
    return { status: response.status, words: typeof message === "string" ? message : "" };
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
    asked.abort(); // the stream that it may have begun
  }
}

export interface ScreenListener {
  drawn(screen: ScreenResult): void;
  /** There is no terminal to look at now; it is shown when there is one again. */
  waiting(words: string): void;
  ended(words: string): void;
  /** Without words no server answers. */
  lost(words: string): void;
}

/** Follows the terminal of one instance while the page is looked at. Returns what ends it. */
export function followScreen(instanceId: string, listener: ScreenListener): () => void {
  let stream: Stream | null = null;
  const close = () => {
    stream?.close();
    stream = null;
  };
  const open = () => {
    stream ??= new Stream(
      () => `/api/screen/${encodeURIComponent(instanceId)}`,
      {
        screen: (data) => listener.drawn(data as ScreenResult),
        waiting: (data) => listener.waiting((data as { words: string }).words),
        ended: (data) => {
          end();
          listener.ended((data as { words: string }).words);
        },
      },
      () => listener.lost(""),
      (_status, words) => listener.lost(words),
    );
  };
  const turn = () => (document.hidden ? close() : open());
  const end = () => {
    document.removeEventListener("visibilitychange", turn);
    close();
  };
  document.addEventListener("visibilitychange", turn);
  turn();
  return end;
}
