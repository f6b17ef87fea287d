/** The stream of the team, which all pages of a browser share.
 *
 * A browser opens six connections to one server, so a stream for each page would leave none for calls. The page that was
 * looked at last holds the stream and tells the others; a lock says which one it is. A page that comes into view takes
 * the lock, because browsers slow down the others. When the one that holds it is closed, the next in the queue takes over.
 */

import type { ToldEvents } from "./happened.ts";
import { Stream } from "./stream.ts";
import { applyChanges, EMPTY_TEAM, type Team } from "./team.ts";
import type { ChangesResult } from "./wire.ts";

export type Told =
  | { kind: "changes"; changes: ChangesResult }
  | ({ kind: "happened" } & ToldEvents)
  /** The endpoint answers and the team does not. */
  | { kind: "away"; words: string }
  | { kind: "back" }
  /** The stream has ended and is opened again; who knows whether anybody answers. */
  | { kind: "broken" }
  /** The endpoint does not answer (0), or refuses with this status and words. */
  | { kind: "lost"; status: number; words: string };

const NAME = "phalanx-team";
/** What a page that begins in the background asks for: all that is known. */
const HELLO = "hello";
const TAKEN = "this page takes the lock itself";

interface Passed {
  /** Of the page that holds the stream. */
  from: string;
  told: Told;
}

/** Follows the team for as long as the page is open. */
export function followTeam(hear: (told: Told) => void): void {
  const channel = new BroadcastChannel(NAME);
  const own = String(Math.random());
  /** Whose news count here: of two pages, the one that told the whole team last. */
  let holder = "";
  let stream: Stream | null = null;
  let cursor = "";
  let team: Team = EMPTY_TEAM;
  let trouble: Told | null = null;
  /** From which on a stream that is opened again tells the events; null before any stream has said where the team is. */
  let lastEvent: number | null = null;
  let queued: AbortController | null = null;

  const pass = (told: Told) => channel.postMessage({ from: own, told } satisfies Passed);
  const tell = (told: Told) => {
    if (told.kind === "changes") {
      team = applyChanges(team, told.changes);
      cursor = told.changes.cursor;
      trouble = null;
    } else if (told.kind === "away" || told.kind === "lost" || told.kind === "broken") trouble = told;
    else if (told.kind === "back") trouble = null;
    pass(told);
    takeIn(told);
  };
  const takeIn = (told: Told) => {
    if (told.kind === "happened") lastEvent = told.last;
    hear(told);
  };

  const open = () => {
    stream ??= new Stream(
      () => (lastEvent === null ? "/api/team" : `/api/team?after=${lastEvent}`),
      {
        changes: (data) => tell({ kind: "changes", changes: data as ChangesResult }),
        happened: (data) => tell({ kind: "happened", ...(data as ToldEvents) }),
        away: (data) => tell({ kind: "away", words: (data as { words: string }).words }),
        back: () => tell({ kind: "back" }),
      },
      () => tell({ kind: "broken" }),
      (status, words) => tell({ kind: "lost", status, words }),
    );
  };

  channel.onmessage = ({ data }: MessageEvent<Passed | typeof HELLO>) => {
    if (data === HELLO) {
      if (stream !== null) passWhole();
      return;
    }
    if (data.told.kind === "lost" || (data.told.kind === "changes" && data.told.changes.complete)) holder = data.from;
    if (stream === null && data.from === holder) takeIn(data.told);
  };

  const passWhole = () => {
    if (cursor) {
      const { rows, needsAttention, warnings } = team;
      const whole = { cursor, complete: true, instances: [...rows.values()], gone: [] };
      const changes = { ...whole, needsAttention: [...needsAttention], warnings: [...warnings] };
      pass({ kind: "changes", changes });
    }
    if (lastEvent !== null) pass({ kind: "happened", events: [], missed: 0, last: lastEvent });
    if (trouble) pass(trouble);
  };

  /** How often this page got the lock. */
  let grants = 0;
  /** Asks for the lock, and holds it until another page takes it, or this one by another request. */
  const request = (options: LockOptions) => {
    let grant = 0;
    const hold = () => {
      grant = ++grants;
      open();
      return new Promise<never>(() => {});
    };
    const give = (reason: unknown) => {
      // The browser may tell of a lock that was taken only when the next request has it.
      if (reason === TAKEN || grant !== grants) return;
      stream?.close();
      stream = null;
      queue();
    };
    navigator.locks.request(NAME, options, hold).catch(give);
  };
  const queue = () => {
    queued?.abort(TAKEN);
    queued = new AbortController();
    request({ signal: queued.signal });
  };
  const take = () => {
    if (stream !== null) return;
    queued?.abort(TAKEN);
    request({ steal: true });
  };

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) take();
  });
  if (document.hidden) {
    queue();
    channel.postMessage(HELLO);
  } else take();
}
