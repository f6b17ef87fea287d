/** Which rows of the team are shown, and in which order: search, filters, tree or states, sort; pure. */

import type { InstanceInfo, Role, Status, WorkInfo } from "./wire.ts";

export type SortKey = "order" | "status" | "name" | "since" | "context" | "tokens" | "unread" | "ahead";

export interface View {
  search: string;
  statuses: ReadonlySet<Status>;
  roles: ReadonlySet<Role>;
  /** Only those that need somebody. */
  needing: boolean;
  grouping: "tree" | "state";
  sort: SortKey;
  descending: boolean;
}

export const WHOLE_TEAM: View = {
  search: "",
  statuses: new Set(),
  roles: new Set(),
  needing: false,
  grouping: "tree",
  sort: "order",
  descending: false,
};

export interface ShownRow {
  row: InstanceInfo;
  /** 0 for those without a lead in the team. */
  depth: number;
  /** False for one that is shown only because somebody below it matches. */
  matches: boolean;
}

/** From what needs somebody down to what has ended. */
export const STATUS_ORDER: readonly Status[] = [
  "waiting_permission",
  "waiting_input",
  "failed",
  "rate_limited",
  "busy",
  "starting",
  "ready",
  "stopped",
];

export function shownRows(
  rows: ReadonlyMap<string, InstanceInfo>,
  view: View,
  work: Readonly<Record<string, WorkInfo>> = {},
): ShownRow[] {
  const all = [...rows.values()];
  const matching = all.filter(matcher(view));
  const compare = comparison(view, work);
  if (view.grouping === "state") {
    const byState = (one: InstanceInfo, other: InstanceInfo) => rank(one) - rank(other) || compare(one, other);
    return matching.sort(byState).map((row) => ({ row, depth: 0, matches: true }));
  }
  return asTree(all, new Set(matching), compare);
}

/** Each below its lead. A lead that does not match stays when somebody below it does. */
function asTree(
  all: InstanceInfo[],
  matching: ReadonlySet<InstanceInfo>,
  compare: (one: InstanceInfo, other: InstanceInfo) => number,
): ShownRow[] {
  const ids = new Set(all.map((row) => row.instanceId));
  const below = new Map<string, InstanceInfo[]>();
  for (const row of all) {
    const lead = row.parentId && ids.has(row.parentId) ? row.parentId : "";
    const members = below.get(lead);
    if (members) members.push(row);
    else below.set(lead, [row]);
  }
  const visited = new Set<InstanceInfo>();
  const shown = (rowsOfLead: InstanceInfo[], depth: number): ShownRow[] =>
    rowsOfLead.sort(compare).flatMap((row) => {
      if (visited.has(row)) return [];
      visited.add(row);
      const members = shown(below.get(row.instanceId) ?? [], depth + 1);
      const matches = matching.has(row);
      return matches || members.length > 0 ? [{ row, depth, matches }, ...members] : [];
    });
  // Whoever is below nobody that is shown, as in a circle of leads, stands at the end.
  return [...shown(below.get("") ?? [], 0), ...shown([...all], 0)];
}

function matcher(view: View): (row: InstanceInfo) => boolean {
  const words = view.search.toLowerCase().split(/\s+/).filter(Boolean);
  return (row) => {
    if (view.needing && !row.needsAttention) return false;
    if (view.statuses.size > 0 && !view.statuses.has(row.status)) return false;
    if (view.roles.size > 0 && !view.roles.has(row.role)) return false;
    if (words.length === 0) return true;
    const text = [row.instanceId, row.name, row.task, row.activity, row.reason, row.branch, row.model, row.host]
      .filter(Boolean)
      .join("\n")
      .toLowerCase();
    return words.every((word) => text.includes(word));
  };
}

function comparison(view: View, work: Readonly<Record<string, WorkInfo>>) {
  const sign = view.descending ? -1 : 1;
  return (one: InstanceInfo, other: InstanceInfo): number => {
    const order = sign * by(view.sort, one, other, work);
    return order || natural(one.instanceId, other.instanceId);
  };
}

function by(
  key: SortKey,
  one: InstanceInfo,
  other: InstanceInfo,
  work: Readonly<Record<string, WorkInfo>>,
): number {
  switch (key) {
    case "order":
      return natural(one.instanceId, other.instanceId);
    case "status":
      return rank(one) - rank(other);
    case "name":
      return natural(one.name ?? one.instanceId, other.name ?? other.instanceId);
    case "since":
      return one.since.localeCompare(other.since);
    case "context":
      return fill(one) - fill(other);
    case "tokens":
      return usedTokens(one) - usedTokens(other);
    case "unread":
      return one.unread - other.unread;
    case "ahead":
      return (work[one.instanceId]?.ahead ?? -1) - (work[other.instanceId]?.ahead ?? -1);
  }
}

const NUMBERS = new Intl.Collator("en", { numeric: true });

function natural(one: string, other: string): number {
  return NUMBERS.compare(one, other);
}

function rank(row: InstanceInfo): number {
  return STATUS_ORDER.indexOf(row.status);
}

/** Part of the model's window that is used; where the window is not known, a small number that grows with the tokens. */
function fill(row: InstanceInfo): number {
  const tokens = row.contextTokens ?? 0;
  return row.contextWindow ? tokens / row.contextWindow : tokens / 1e9;
}

/** What an instance has used, without what was read from the cache. */
export function usedTokens(row: InstanceInfo): number {
  return row.tokens.input + row.tokens.output + row.tokens.cacheCreation;
}
