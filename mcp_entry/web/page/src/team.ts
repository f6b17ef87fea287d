/** The team as the page holds it: rows by id, brought up to date by `changes`; pure.
 *
 * A row keeps its identity until the team sends it again, so a view that compares rows by identity draws only those
 * that changed.
 */

import type { ChangesResult, InstanceInfo } from "./wire.ts";

export interface Team {
  readonly rows: ReadonlyMap<string, InstanceInfo>;
  /** Ids of all that need somebody, as the team orders them. */
  readonly needsAttention: readonly string[];
  /** What is wrong with the team itself, for people. */
  readonly warnings: readonly string[];
}

export const EMPTY_TEAM: Team = { rows: new Map(), needsAttention: [], warnings: [] };

export function applyChanges(team: Team, changes: ChangesResult): Team {
  const rows = new Map(changes.complete ? [] : team.rows);
  for (const row of changes.instances) rows.set(row.instanceId, row);
  for (const id of changes.gone) rows.delete(id);
  const needing = new Set(changes.needsAttention);
  for (const [id, row] of rows) {
    const needsAttention = needing.has(id);
    const shown = row.needsAttention === needsAttention ? row : { ...row, needsAttention };
    const held = team.rows.get(id);
    rows.set(id, held && (held === shown || isSame(held, shown)) ? held : shown);
  }
  return { rows, needsAttention: changes.needsAttention, warnings: changes.warnings };
}

/** A complete answer after a lost connection mostly holds what is known already. */
function isSame(one: InstanceInfo, other: InstanceInfo): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** Ids that need somebody in `after` and did not in `before`. */
export function newlyNeeding(before: Team, after: Team): string[] {
  const known = new Set(before.needsAttention);
  return after.needsAttention.filter((id) => !known.has(id));
}
