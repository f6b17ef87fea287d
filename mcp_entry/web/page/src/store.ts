/** What the page knows, as signals: the team, its work and events, the connection, the route; and how it stays current.
 *
 * Views read the signals; only this module writes those of the team. `start` is called once.
 */

import { computed, effect, signal } from "@preact/signals";

import { needInWords, needOf, waiting } from "./attention.ts";
import { followTeam, type Told } from "./feed.ts";
import { type Happened, NOTHING_HAPPENED, withHappened } from "./happened.ts";
import { type Deed, failureInWords, isUnknown } from "./outcome.ts";
import { readWork } from "./server.ts";
import { applyChanges, EMPTY_TEAM, newlyNeeding, type Team } from "./team.ts";
import type { InstanceInfo, WorkOfTeam } from "./wire.ts";

export type Connection =
  | { state: "connecting" }
  | { state: "live" }
  /** The endpoint answers and the team does not. */
  | { state: "away"; words: string }
  /** The endpoint does not answer; with words, it answers why it does not tell of the team. */
  | { state: "lost"; words: string }
  | { state: "signed out" };

export type PanelTab = "conversation" | "terminal" | "changes" | "events";
export type Route =
  | { view: "team"; instanceId: string | null; tab: PanelTab }
  | { view: "time" }
  | { view: "hosts" };

export interface Notice {
  id: number;
  words: string;
  /** `done` goes by itself; the others stay until they are dismissed. */
  tone: "done" | "note" | "failed";
}

const TABS: readonly PanelTab[] = ["conversation", "terminal", "changes", "events"];
const WORK_EVERY_MS = 10_000;
const NOTICE_MS = 8_000;

export const team = signal<Team>(EMPTY_TEAM);
export const work = signal<WorkOfTeam>({ instances: {}, conflicts: [] });
/** Since the page was opened. */
const happened = signal<Happened>(NOTHING_HAPPENED);
/** Oldest first. */
export const events = computed(() => happened.value.events);
/** Events that this page did not get. */
export const missedEvents = computed(() => happened.value.missed);
export const connection = signal<Connection>({ state: "connecting" });
export const route = signal<Route>(parseRoute(globalThis.location?.hash ?? ""));
export const nowMs = signal(Date.now());
export const notices = signal<readonly Notice[]>([]);
/** For readers of the screen: who newly needs somebody. */
export const announcement = signal("");
export const openedAt = new Date().toISOString();

export const needing = computed<InstanceInfo[]>(() => waiting(team.value.rows, team.value.needsAttention));

/** Ids of instances whose branches would conflict with another one, each with what it would conflict with. */
export const conflictsOf = computed<ReadonlyMap<string, string>>(() => {
  const found = new Map<string, string>();
  for (const { between, files } of work.value.conflicts) {
    for (const one of between) {
      const others = between.filter((other) => other !== one).map(nameOfId).join(", ");
      const told = `with ${others}: ${files.join(", ")}`;
      const before = found.get(one);
      found.set(one, before ? `${before}\n${told}` : told);
    }
  }
  return found;
});

export function parseRoute(hash: string): Route {
  const [, first, id, tab] = hash.split("/");
  if (first === "time" || first === "hosts") return { view: first };
  const known = TABS.find((each) => each === tab) ?? "conversation";
  return { view: "team", instanceId: first === "i" && id ? decoded(id) : null, tab: known };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function hrefOf(instanceId: string, tab: PanelTab = "conversation"): string {
  return `#/i/${encodeURIComponent(instanceId)}/${tab}`;
}

/** Of an instance that the page does not know, or of a branch, what is given. */
function nameOfId(id: string): string {
  const row = team.value.rows.get(id);
  return row ? nameOf(row) : id;
}

export function nameOf(row: InstanceInfo): string {
  return row.name ?? row.instanceId;
}

let lastNotice = 0;

export function tell(words: string, tone: Notice["tone"] = "done"): void {
  const notice = { id: ++lastNotice, words, tone };
  notices.value = [...notices.value, notice];
  if (tone === "done") setTimeout(() => dismiss(notice.id), NOTICE_MS);
}

export function dismiss(id: number): void {
  notices.value = notices.value.filter((notice) => notice.id !== id);
}

/** Does what a button asks for, and tells how it went. `unknown`: it may have been done. */
export async function attempt(
  deed: Deed,
  act: () => Promise<string | undefined>,
): Promise<"done" | "failed" | "unknown"> {
  try {
    const words = await act();
    if (words) tell(words);
    return "done";
  } catch (error) {
    tell(failureInWords(error, deed), "failed");
    return isUnknown(error) ? "unknown" : "failed";
  }
}

export function start(): void {
  addEventListener("hashchange", () => {
    route.value = parseRoute(location.hash);
  });
  setInterval(() => {
    if (!document.hidden) nowMs.value = Date.now();
  }, 1_000);
  followTeam(hear);
  document.addEventListener("visibilitychange", wantWork);
  effect(showCount);
}

function hear(told: Told): void {
  switch (told.kind) {
    case "changes": {
      const before = team.value;
      team.value = applyChanges(before, told.changes);
      connection.value = { state: "live" };
      announce(newlyNeeding(before, team.value));
      if (told.changes.instances.length > 0 || told.changes.gone.length > 0) wantWork();
      break;
    }
    case "happened":
      happened.value = withHappened(happened.value, told);
      break;
    case "away":
      connection.value = { state: "away", words: told.words };
      break;
    case "back":
      connection.value = { state: "live" };
      break;
    case "broken":
      connection.value = { state: "connecting" };
      break;
    case "lost":
      connection.value =
        told.status === 401 || told.status === 403 ? { state: "signed out" } : { state: "lost", words: told.words };
      break;
  }
}

function announce(ids: readonly string[]): void {
  const told = ids.flatMap((id) => {
    const row = team.value.rows.get(id);
    const need = row ? needOf(row) : null;
    return row && need ? [`${nameOf(row)} ${needInWords(need)}`] : [];
  });
  if (told.length > 0) announcement.value = `${told.slice(0, 3).join(". ")}${told.length > 3 ? `, and ${told.length - 3} more` : ""}`;
}

let workTimer: ReturnType<typeof setTimeout> | undefined;
let workAskedAt = Number.NEGATIVE_INFINITY;

/** Commits and conflicts are compared by git for the whole team: soon after a change, and not more often than needed. */
function wantWork(): void {
  if (document.hidden || workTimer !== undefined) return;
  const waitMs = Math.max(250, workAskedAt + WORK_EVERY_MS - performance.now());
  workTimer = setTimeout(() => void askForWork(), waitMs);
}

async function askForWork(): Promise<void> {
  workAskedAt = performance.now();
  try {
    work.value = await readWork();
  } catch {
    // The connection's own state says what is wrong; the next change asks again.
  } finally {
    workTimer = undefined;
  }
}

/** How many need somebody, in the title and on the icon of the tab. */
function showCount(): void {
  const number = needing.value.length;
  document.title = number > 0 ? `(${number}) Phalanx` : "Phalanx";
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 32;
  const draw = canvas.getContext("2d");
  const icon = document.querySelector<HTMLLinkElement>("link[rel=icon]");
  if (!draw || !icon) return;
  draw.fillStyle = number > 0 ? "#b54708" : "#475467";
  draw.beginPath();
  draw.roundRect(1, 1, 30, 30, 7);
  draw.fill();
  draw.fillStyle = "#fff";
  draw.font = `700 ${number > 9 ? 17 : 21}px system-ui, sans-serif`;
  draw.textAlign = "center";
  draw.textBaseline = "middle";
  draw.fillText(number === 0 ? "P" : number > 99 ? "99" : String(number), 16, 17);
  icon.href = canvas.toDataURL("image/png");
}
