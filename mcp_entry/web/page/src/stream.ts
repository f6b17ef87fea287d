/** A stream of server-sent events of the endpoint, and the stream of one instance's screen. */

import { parsedJson } from "./server.ts";
import type { ScreenResult } from "./wire.ts";

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 3_000;
const ASK_LIMIT_MS = 5_000;

/** Connects again by itself, with growing pauses, until it is closed. */
export class Stream {
  private source: EventSource | null = null;
  private retryMs = FIRST_RETRY_MS;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isClosed = false;

  constructor(
    private readonly path: string,
    private readonly listeners: Readonly<Record<string, (data: unknown) => void>>,
    private readonly lost: (status: number) => void,
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
    const source = new EventSource(this.path);
    this.source = source;
    source.onopen = () => {
      this.retryMs = FIRST_RETRY_MS;
    };
    for (const [name, heard] of Object.entries(this.listeners)) {
      source.addEventListener(name, (event) => heard(parsedJson((event as MessageEvent<string>).data)));
    }
    source.onerror = () => {
      source.close();
      if (this.source !== source) return;
      this.source = null;
      void this.again();
    };
  }

  /** An event source does not tell why it ended, so a request asks. */
  private async again(): Promise<void> {
    const status = await statusOf(this.path);
    if (this.isClosed) return;
    this.lost(status);
    this.timer = setTimeout(() => this.open(), this.retryMs);
    this.retryMs = Math.min(2 * this.retryMs, LONGEST_RETRY_MS);
  }
}

async function statusOf(path: string): Promise<number> {
  const asked = new AbortController();
  try {
    const limit = AbortSignal.timeout(ASK_LIMIT_MS);
    limit.addEventListener("abort", () => asked.abort());
    const response = await fetch(path, { signal: asked.signal, headers: { Accept: "text/event-stream" } });
    return response.status;
  } catch {
    return 0;
  } finally {
    asked.abort(); // the stream that it may have begun
  }
}

export interface ScreenListener {
  drawn(screen: ScreenResult): void;
  ended(words: string): void;
  lost(): void;
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
      `/api/screen/${encodeURIComponent(instanceId)}`,
      {
        screen: (data) => listener.drawn(data as ScreenResult),
        ended: (data) => {
          end();
          listener.ended((data as { words: string }).words);
        },
      },
      () => listener.lost(),
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
