/** The events that the page holds; pure. */

import type { TeamEvent } from "./wire.ts";

export interface Happened {
  /** Oldest first. */
  readonly events: readonly TeamEvent[];
  /** How many more there were, which this page did not get. */
  readonly missed: number;
  /** The number of the last one of all; null before the page knows where the team is. */
  readonly last: number | null;
}

export interface ToldEvents {
  readonly events: readonly TeamEvent[];
  /** How many the endpoint knows that it could not give. */
  readonly missed: number;
  /** The number of the team's last event by then. */
  readonly last: number;
}

export const NOTHING_HAPPENED: Happened = { events: [], missed: 0, last: null };
const MOST_EVENTS = 2_000;

/** What is held with what was told; an event that is told twice is held once.
 *
 * The team numbers its events without gaps, so whatever lies between the last one that was known and the last one now and
 * did not come is counted: also what happened while one page gave the stream to another.
 */
export function withHappened(held: Happened, told: ToldEvents): Happened {
  const known = new Set(held.events.filter(isStored).map(nameOf));
  const fresh = told.events.filter((event) => !isStored(event) || !known.has(nameOf(event)));
  return {
    events: [...held.events, ...fresh].slice(-MOST_EVENTS),
    missed: held.missed + newlyMissed(held.last, told, fresh),
    last: told.last,
  };
}

function newlyMissed(last: number | null, told: ToldEvents, fresh: readonly TeamEvent[]): number {
  // A team whose state was restored from an older one counts on from there.
  if (last === null || told.last < last) return told.missed;
  return told.last - last - fresh.filter(({ number }) => number > last).length;
}

function isStored(event: TeamEvent): boolean {
  return event.number > 0;
}

/** A team whose state was restored from an older one gives a number a second time. */
function nameOf(event: TeamEvent): string {
  return `${event.number} ${event.at}`;
}
