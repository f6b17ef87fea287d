/** The team at a glance: a cell for each instance, then a row for each, with search, filters and sort. */

import { signal } from "@preact/signals";
import { Component } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { type ShownRow, shownRows, type SortKey, STATUS_ORDER, usedTokens, type View, WHOLE_TEAM } from "../order.ts";
import { conflictsOf, hrefOf, nameOf, route, team, work } from "../store.ts";
import { count, oneLine, shortModel, shortNumber } from "../text.ts";
import type { InstanceInfo, Role, WorkInfo } from "../wire.ts";
import { Age, Context, Line, StatusOf, STATUS_WORDS, StatusShape } from "./parts.tsx";

const view = signal<View>(WHOLE_TEAM);

const ROLES: readonly Role[] = ["executive", "manager", "specialist"];
const COLUMNS: readonly { key: SortKey | null; name: string; label: string; right?: true }[] = [
  { key: "name", name: "who", label: "Instance" },
  { key: "status", name: "state", label: "Status" },
  { key: "since", name: "since", label: "Since", right: true },
  { key: null, name: "now", label: "Now" },
  { key: null, name: "task", label: "Task" },
  { key: null, name: "model", label: "Model" },
  { key: "context", name: "fill", label: "Context", right: true },
  { key: "tokens", name: "tokens", label: "Tokens", right: true },
  { key: "unread", name: "unread", label: "Unread", right: true },
  { key: "ahead", name: "work", label: "Commits" },
];

/** A cell for each instance in the order of the rows, as a strip above everything else. */
export function Strip() {
  const { rows } = team.value;
  if (rows.size === 0) return null;
  return (
    <div class="strip">
      <Glance rows={shownRows(rows, view.value, work.value.instances)} />
    </div>
  );
}

export function TeamTable() {
  const { rows, warnings } = team.value;
  const shown = shownRows(rows, view.value, work.value.instances);
  const open = route.value.view === "team" ? route.value.instanceId : null;
  return (
    <section class="team" aria-labelledby="team-heading">
      <h2 id="team-heading">
        Team <span class="tally">{rows.size}</span>
      </h2>
      {warnings.map((warning) => (
        <p key={warning} class="warning">
          <Line text={warning} class="whole" />
        </p>
      ))}
      <Filters rows={rows} />
      {rows.size === 0 ? (
        <p class="calm">There is no instance. `phalanx spawn` or `phalanx lead` starts one.</p>
      ) : shown.length === 0 ? (
        <p class="calm">
          No instance matches.{" "}
          <button type="button" class="quiet" onClick={() => (view.value = WHOLE_TEAM)}>
            Show all
          </button>
        </p>
      ) : (
        <Rows shown={shown} open={open} />
      )}
    </section>
  );
}

/** A hundred are seen at once. The rows say the same for readers. */
function Glance({ rows }: { rows: readonly ShownRow[] }) {
  return (
    <div class="glance" aria-hidden="true">
      {rows.map(({ row, matches }) => (
        <span
          key={row.instanceId}
          class={`cell s-${row.status} ${row.needsAttention ? "needing" : ""} ${matches ? "" : "faint"}`}
          title={`${oneLine(nameOf(row))}: ${STATUS_WORDS[row.status]}`}
          onClick={() => (location.hash = hrefOf(row.instanceId))}
        >
          <StatusShape status={row.status} />
        </span>
      ))}
    </div>
  );
}

function toggled<Item>(set: ReadonlySet<Item>, item: Item): ReadonlySet<Item> {
  const changed = new Set(set);
  if (!changed.delete(item)) changed.add(item);
  return changed;
}

function Filters({ rows }: { rows: ReadonlyMap<string, InstanceInfo> }) {
  const search = useRef<HTMLInputElement>(null);
  const set = (change: Partial<View>) => (view.value = { ...view.value, ...change });
  const { statuses, roles, needing, grouping } = view.value;
  const all = [...rows.values()];
  const needs = all.filter((row) => row.needsAttention).length;
  return (
    <div class="filters" role="search" aria-label="Team">
      <input
        id="search"
        ref={search}
        type="search"
        placeholder="Search   /"
        aria-label="Search the team"
        aria-keyshortcuts="/"
        value={view.value.search}
        onInput={(event) => set({ search: event.currentTarget.value })}
      />
      <div class="chips" role="group" aria-label="Status">
        {needs > 0 && (
          <button type="button" class="chip" aria-pressed={needing} onClick={() => set({ needing: !needing })}>
            needs you {needs}
          </button>
        )}
        {STATUS_ORDER.map((status) => {
          const number = all.filter((row) => row.status === status).length;
          return number > 0 || statuses.has(status) ? (
            <button
              type="button"
              key={status}
              class={`chip s-${status}`}
              aria-pressed={statuses.has(status)}
              onClick={() => set({ statuses: toggled(statuses, status) })}
            >
              <StatusShape status={status} /> {STATUS_WORDS[status]} {number}
            </button>
          ) : null;
        })}
      </div>
      <div class="chips" role="group" aria-label="Role">
        {ROLES.map((role) => {
          const number = all.filter((row) => row.role === role).length;
          return number > 0 || roles.has(role) ? (
            <button
              type="button"
              key={role}
              class="chip"
              aria-pressed={roles.has(role)}
              onClick={() => set({ roles: toggled(roles, role) })}
            >
              {role} {number}
            </button>
          ) : null;
        })}
      </div>
      <div class="chips" role="group" aria-label="Arrange">
        {(["tree", "state"] as const).map((each) => (
          <button
            type="button"
            key={each}
            class="chip"
            aria-pressed={grouping === each}
            onClick={() => set({ grouping: each })}
          >
            {each === "tree" ? "As a tree" : "By status"}
          </button>
        ))}
      </div>
      <label class="sort-choice">
        Sort{" "}
        <select
          value={view.value.sort}
          onChange={(event) => set({ sort: event.currentTarget.value as SortKey, descending: false })}
        >
          <option value="order">by id</option>
          {COLUMNS.map(({ key, label }) => key && <option value={key}>by {label.toLowerCase()}</option>)}
        </select>
      </label>
    </div>
  );
}

function sortBy(key: SortKey): void {
  const { sort, descending } = view.value;
  const startsHigh = key === "context" || key === "tokens" || key === "unread" || key === "ahead";
  if (sort !== key) view.value = { ...view.value, sort: key, descending: startsHigh };
  else if (descending === startsHigh) view.value = { ...view.value, descending: !startsHigh };
  else view.value = { ...view.value, sort: "order", descending: false };
}

function Rows({ shown, open }: { shown: readonly ShownRow[]; open: string | null }) {
  const { sort, descending } = view.value;
  const rows = useRef<HTMLDivElement>(null);
  useOneTabStop(rows, shown);
  return (
    <div class="rows" role="table" aria-label="Instances" aria-rowcount={shown.length + 1}>
      <div role="rowgroup">
        <div class="row head" role="row">
          {COLUMNS.map(({ key, name, label, right }) => (
            <div
              key={name}
              role="columnheader"
              class={`c-${name} ${right ? "right" : ""}`}
              aria-sort={key !== null && key === sort ? (descending ? "descending" : "ascending") : undefined}
            >
              {key ? (
                <button type="button" onClick={() => sortBy(key)}>
                  {label}
                  {key === sort && <span aria-hidden="true">{descending ? " ↓" : " ↑"}</span>}
                </button>
              ) : (
                label
              )}
            </div>
          ))}
        </div>
      </div>
      <div role="rowgroup" ref={rows}>
        {shown.map(({ row, depth, matches }) => (
          <Row
            key={row.instanceId}
            row={row}
            depth={depth}
            matches={matches}
            isOpen={row.instanceId === open}
            work={work.value.instances[row.instanceId]}
            conflict={conflictsOf.value.get(row.instanceId)}
          />
        ))}
      </div>
    </div>
  );
}

/** One row takes the tab key: the one that had the focus last. The arrows go on from there. */
function useOneTabStop(rows: { current: HTMLElement | null }, shown: readonly ShownRow[]): void {
  useEffect(() => {
    const links = rowLinks(rows.current);
    if (!links.some((link) => link.tabIndex === 0) && links[0]) links[0].tabIndex = 0;
  }, [shown]);
  useEffect(() => {
    const focused = (event: FocusEvent) => {
      for (const link of rowLinks(rows.current)) link.tabIndex = link === event.target ? 0 : -1;
    };
    const group = rows.current;
    group?.addEventListener("focusin", focused);
    return () => group?.removeEventListener("focusin", focused);
  }, []);
}

function rowLinks(within: ParentNode | null): HTMLAnchorElement[] {
  return [...(within ?? document).querySelectorAll<HTMLAnchorElement>("a.row-link")];
}

/** Moves the focus among the rows; from elsewhere to the row that had it last. */
export function focusRow(step: 1 | -1): void {
  const links = rowLinks(null);
  const current = links.indexOf(document.activeElement as HTMLAnchorElement);
  const last = links.findIndex((link) => link.tabIndex === 0);
  const next = current < 0 ? Math.max(0, last) : Math.min(links.length - 1, Math.max(0, current + step));
  links[next]?.focus();
  links[next]?.scrollIntoView({ block: "nearest" });
}

/** Back to the row of an instance, when its panel is closed. */
export function focusRowOf(instanceId: string): void {
  rowLinks(null)
    .find((link) => link.hash === hrefOf(instanceId))
    ?.focus();
}

interface RowProps {
  row: InstanceInfo;
  depth: number;
  matches: boolean;
  isOpen: boolean;
  work: WorkInfo | undefined;
  conflict: string | undefined;
}

/** Drawn anew only when something in it changed. */
class Row extends Component<RowProps> {
  override shouldComponentUpdate(next: RowProps): boolean {
    const now = this.props;
    return (
      next.row !== now.row ||
      next.depth !== now.depth ||
      next.matches !== now.matches ||
      next.isOpen !== now.isOpen ||
      next.conflict !== now.conflict ||
      JSON.stringify(next.work) !== JSON.stringify(now.work)
    );
  }

  override render({ row, depth, matches, isOpen, work: branch, conflict }: RowProps) {
    const classes = ["row", ...(isOpen ? ["open"] : []), ...(matches ? [] : ["faint"])];
    return (
      <div class={classes.join(" ")} role="row" style={{ "--depth": String(depth) }}>
        <div role="cell" class="c-who">
          <a class="row-link" href={hrefOf(row.instanceId)} tabIndex={-1} aria-current={isOpen ? "true" : undefined}>
            <span class={`role role-${row.role}`} title={row.role}>
              {row.role[0]?.toUpperCase()}
            </span>
            <Line text={nameOf(row)} class="name" />
            {row.name && <Line text={row.instanceId} class="id" />}
          </a>
        </div>
        <div role="cell" class="c-state">
          <StatusOf row={row} />
        </div>
        <div role="cell" class="c-since right">
          <Age since={row.since} />
        </div>
        <div role="cell" class="c-now">
          <Line text={row.activity ?? row.reason ?? ""} />
        </div>
        <div role="cell" class="c-task">
          <Line text={row.task ?? ""} />
        </div>
        <div role="cell" class="c-model">
          {row.model && <Line text={shortModel(row.model)} />}
        </div>
        <div role="cell" class="c-fill right">
          <Context tokens={row.contextTokens} window={row.contextWindow} />
        </div>
        <div role="cell" class="c-tokens right">
          <span class="number" title={tokensInWords(row)}>
            {shortNumber(usedTokens(row))}
          </span>
        </div>
        <div role="cell" class="c-unread right">
          {row.unread > 0 && <span class="number unread">{row.unread}</span>}
        </div>
        <div role="cell" class="c-work">
          <Commits branch={branch} conflict={conflict} />
        </div>
      </div>
    );
  }
}

function tokensInWords({ tokens }: InstanceInfo): string {
  const limit = tokens.limit ? `; limit ${tokens.limit.toLocaleString()}` : "";
  return (
    `${tokens.input.toLocaleString()} in, ${tokens.output.toLocaleString()} out, ` +
    `${tokens.cacheCreation.toLocaleString()} cached, ${tokens.cacheRead.toLocaleString()} read from the cache${limit}`
  );
}

function Commits({ branch, conflict }: { branch: WorkInfo | undefined; conflict: string | undefined }) {
  const ahead = branch?.ahead ?? 0;
  const uncommitted = branch?.uncommittedFiles ?? 0;
  return (
    <>
      {ahead > 0 && (
        <span class="number" title={`${count(ahead, "commit")} ahead of ${branch?.base ?? "its base"}`}>
          {ahead}↑
        </span>
      )}
      {uncommitted > 0 && (
        <span class="number uncommitted" title={`${count(uncommitted, "file")} with uncommitted changes`}>
          {" "}
          {uncommitted}*
        </span>
      )}
      {conflict && (
        <span class="conflict" title={oneLine(`Would conflict ${conflict}`)}>
          {" "}
          conflict
        </span>
      )}
    </>
  );
}
