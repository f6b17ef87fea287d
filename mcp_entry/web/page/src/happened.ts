/** The events that the page holds; pure. */

import type { TeamEvent } from "./wire.ts";

export interface Happened {
  /** Oldest first. */
  readonly events: readonly TeamEvent[];
  /** How many more there were, which this page did not get. */
  readonly missed: number;
}

export const NOTHING_HAPPENED: Happened = { events: [], missed: 0 };
const MOST_EVENTS = 2_000;

/** What is held with what was told; an event that is told twice is held once. */
export function withHappened(held: Happened, told: Happened): Happened {
  const known = new Set(held.events.filter(isStored).map(nameOf));
  const fresh = told.events.filter((event) => !isStored(event) || !known.has(nameOf(event)));
  return { events: [...held.events, ...fresh].slice(-MOST_EVENTS), missed: held.missed + told.missed };
}

function isStored(event: TeamEvent): boolean {
  return event.number > 0;
}

/** A team whose state was restored from an older one gives a number a second time. */
function nameOf(event: TeamEvent): string {
  return `${event.number} ${event.at}`;
}
