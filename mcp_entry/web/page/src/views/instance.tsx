/** The panel of one instance: who it is, what it needs, its conversation, terminal, changes and events. */

import { signal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";

import { needOf, needKey } from "../attention.ts";
import { connection, hrefOf, nameOf, type PanelTab, team } from "../store.ts";
import { shortModel, shortNumber } from "../text.ts";
import type { InstanceInfo } from "../wire.ts";
import { Actions } from "./actions.tsx";
import { Changes } from "./changes.tsx";
import { Conversation } from "./conversation.tsx";
import { Happenings } from "./happenings.tsx";
import { NeedCard } from "./needs.tsx";
import { Age, Context, Line, StatusOf } from "./parts.tsx";
import { Terminal } from "./terminal.tsx";

const widened = signal(false);

const TABS: readonly [PanelTab, string][] = [
  ["conversation", "Conversation"],
  ["terminal", "Terminal"],
  ["changes", "Changes"],
  ["events", "Events"],
];

export function Instance({ instanceId, tab }: { instanceId: string; tab: PanelTab }) {
  const row = team.value.rows.get(instanceId);
  const need = row ? needOf(row) : null;
  const panel = useRef<HTMLElement>(null);
  // A terminal of two hundred columns is not legible in half of the page.
  const isWide = widened.value || tab === "terminal";
  useLayoutEffect(() => panel.current?.focus({ preventScroll: true }), []);
  return (
    <section ref={panel} class={`panel ${isWide ? "widened" : ""}`} tabIndex={-1} aria-label={`Instance ${instanceId}`}>
      <header class="panel-head">
        <div class="panel-title">
          <a class="button quiet-link" href="#/" aria-label="Back to the team" title="Back to the team (Escape)">
            ←
          </a>
          <h2>
            <Line text={row ? nameOf(row) : instanceId} />
          </h2>
          {row && <StatusOf row={row} />}
          {row && <Age since={row.since} />}
          <span class="space" />
          {tab !== "terminal" && (
            <button
              type="button"
              class="quiet widen"
              aria-pressed={widened.value}
              onClick={() => (widened.value = !widened.value)}
            >
              {widened.value ? "Narrow" : "Widen"}
            </button>
          )}
        </div>
        {row && tab !== "terminal" && <Facts row={row} />}
        {row && <Actions row={row} />}
        <nav class="tabs" aria-label="Of this instance">
          {TABS.map(([each, words]) => (
            <a key={each} href={hrefOf(instanceId, each)} aria-current={each === tab ? "page" : undefined}>
              {words}
              {each === "conversation" && row && row.unread > 0 && <span class="tally">{row.unread}</span>}
            </a>
          ))}
        </nav>
      </header>
      {!row && connection.value.state === "live" && (
        <p class="warning">There is no instance {instanceId} any more: it was terminated.</p>
      )}
      {row && need && tab !== "terminal" && <NeedCard key={needKey(row, need)} row={row} need={need} brief />}
      <div class={`panel-body of-${tab}`}>
        {tab === "conversation" && <Conversation row={row} instanceId={instanceId} />}
        {tab === "terminal" && <Terminal row={row} instanceId={instanceId} />}
        {tab === "changes" && row && <Changes row={row} />}
        {tab === "events" && <Happenings instanceId={instanceId} />}
      </div>
    </section>
  );
}

function Facts({ row }: { row: InstanceInfo }) {
  const lead = row.parentId ? team.value.rows.get(row.parentId) : undefined;
  return (
    <dl class="facts">
      {row.task && <Fact name="Task" text={row.task} />}
      {row.activity && <Fact name="Now" text={row.activity} />}
      <div>
        <dt>Is</dt>
        <dd>
          <Line text={row.instanceId} class="id" />, {row.role}
          {row.parentId && (
            <>
              {" under "}
              <a href={hrefOf(row.parentId)}>
                <Line text={lead ? nameOf(lead) : row.parentId} />
              </a>
            </>
          )}
        </dd>
      </div>
      <Fact name="In" text={row.workingDirectory} class="path" />
      <div>
        <dt>Model</dt>
        <dd>
          {row.model ? <Line text={shortModel(row.model)} /> : row.agent}
          {row.contextTokens != null && (
            <>
              {", context "}
              <Context tokens={row.contextTokens} window={row.contextWindow} />
            </>
          )}
          {`, ${shortNumber(row.tokens.output)} tokens out`}
          {row.tokens.limit ? `, ${shortNumber(row.tokens.counted ?? 0)} of ${shortNumber(row.tokens.limit)} used` : ""}
        </dd>
      </div>
    </dl>
  );
}

function Fact({ name, text, class: kind = "" }: { name: string; text: string; class?: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <Line text={text} class={kind} />
      </dd>
    </div>
  );
}
