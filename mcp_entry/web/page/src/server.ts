/** The calls and streams of the endpoint that serves this page. Errors are told in the server's own words. */

import type { ChangesResult, JsonObject, ScreenResult, TeamEvent, WorkOfTeam } from "./wire.ts";

export class CallError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

const CALL_LIMIT_MS = 120_000;
const WORK_LIMIT_MS = 30_000;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 3_000;

/** The result of one verb. Raises `CallError`; status 0 when the endpoint does not answer. */
export async function call<ResultT>(verb: string, request: object, limitMs = CALL_LIMIT_MS): Promise<ResultT> {
  return (await answered(`/api/call/${verb}`, limitMs, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(request),
  })) as ResultT;
}

export async function readWork(): Promise<WorkOfTeam> {
  return (await answered("/api/work", WORK_LIMIT_MS)) as WorkOfTeam;
}

async function answered(path: string, limitMs: number, init: RequestInit = {}): Promise<unknown> {
  let response: Response;
  let body: string;
  try {
    response = await fetch(path, { ...init, signal: AbortSignal.timeout(limitMs), redirect: "error" });
    body = await response.text();
  } catch (error) {
    const isLate = error instanceof DOMException && error.name === "TimeoutError";
    const words = isLate ? `No answer within ${Math.round(limitMs / 1000)} s.` : "The page's server does not answer.";
    throw new CallError(0, "unreachable", words);
  }
  const answer = parsed(body);
  if (response.ok) return answer;
  const told = (answer ?? {}) as JsonObject;
  throw new CallError(
    response.status,
    typeof told.code === "string" ? told.code : "error",
    typeof told.message === "string" ? told.message : `The page's server answered ${response.status}.`,
  );
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}

export function inWords(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Connects again by itself, with growing pauses, until it is closed or rests. */
class Stream {
  private source: EventSource | null = null;
  private retryMs = FIRST_RETRY_MS;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isAwake = false;

  constructor(
    private readonly path: string,
    private readonly listeners: Readonly<Record<string, (data: unknown) => void>>,
    private readonly lost: (status: number) => void,
  ) {}

  wake(): void {
    if (this.isAwake) return;
    this.isAwake = true;
    this.open();
  }

  rest(): void {
    this.isAwake = false;
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
      source.addEventListener(name, (event) => heard(parsed((event as MessageEvent<string>).data)));
    }
    source.onerror = () => {
      source.close();
      if (this.source === source) void this.again(source);
    };
  }

  /** An event source does not tell why it ended, so a request asks. */
  private async again(ended: EventSource): Promise<void> {
    const status = await statusOf(this.path);
    if (this.source !== ended) return;
    this.lost(status);
    this.timer = setTimeout(() => this.open(), this.retryMs);
    this.retryMs = Math.min(2 * this.retryMs, LONGEST_RETRY_MS);
  }
}

/**
 * Calls one of both now and whenever the page comes into sight or is hidden. A browser opens few connections to one
 * server, so a page that nobody sees gives its own up. Returns what ends it.
 */
function bySight(seen: () => void, hidden: () => void): () => void {
  const turned = () => (document.hidden ? hidden() : seen());
  document.addEventListener("visibilitychange", turned);
  turned();
  return () => document.removeEventListener("visibilitychange", turned);
}

async function statusOf(path: string): Promise<number> {
  const asked = new AbortController();
  try {
    const limit = AbortSignal.timeout(5_000);
    limit.addEventListener("abort", () => asked.abort());
    const response = await fetch(path, { signal: asked.signal, headers: { Accept: "text/event-stream" } });
    return response.status;
  } catch {
    return 0;
  } finally {
    asked.abort(); // the stream that it may have begun
  }
}

export interface TeamListener {
  changed(changes: ChangesResult): void;
  happened(events: TeamEvent[], missed: number): void;
  /** The endpoint answers and the team does not. */
  away(words: string): void;
  back(): void;
  /** The endpoint does not answer, or refuses with this status. */
  lost(status: number): void;
}

const HIDDEN_LOCK = "phalanx: the hidden page that follows the team";

/** Follows the team for as long as the page is open. Of hidden pages one goes on, so that its title tells the count. */
export function followTeam(listener: TeamListener): void {
  const stream = new Stream(
    "/api/team",
    {
      changes: (data) => listener.changed(data as ChangesResult),
      happened: (data) => {
        const { events, missed } = data as { events: TeamEvent[]; missed: number };
        listener.happened(events, missed);
      },
      away: (data) => listener.away((data as { words: string }).words),
      back: () => listener.back(),
    },
    (status) => listener.lost(status),
  );
  let giveUp = () => {};
  const seen = () => {
    giveUp();
    stream.wake();
  };
  const hidden = () => {
    void navigator.locks.request(HIDDEN_LOCK, { ifAvailable: true }, (lock) => {
      if (!document.hidden) return;
      if (lock === null) {
        stream.rest();
        return;
      }
      stream.wake();
      return new Promise<void>((release) => {
        giveUp = release;
      });
    });
  };
  bySight(seen, hidden);
}

export interface ScreenListener {
  drawn(screen: ScreenResult): void;
  ended(words: string): void;
  lost(): void;
}

/** Follows the terminal of one instance. Returns what ends it. */
export function followScreen(instanceId: string, listener: ScreenListener): () => void {
  const stream = new Stream(
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
  const stopLooking = bySight(
    () => stream.wake(),
    () => stream.rest(),
  );
  const end = () => {
    stopLooking();
    stream.rest();
  };
  return end;
}
