/** The frame: navigation, connection, the view of the route, the panel of one instance, notices, and the keyboard. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { announcement, connection, dismiss, needing, notices, route, team } from "../store.ts";
import { TerminationDialog } from "./actions.tsx";
import { Hosts } from "./hosts.tsx";
import { Instance } from "./instance.tsx";
import { focusNextNeed, Needs } from "./needs.tsx";
import { OverTime } from "./overtime.tsx";
import { Line, Modal } from "./parts.tsx";
import { focusRow, focusRowOf, Strip, TeamTable } from "./team.tsx";

const helpIsOpen = signal(false);

const KEYS: readonly [string, string][] = [
  ["n", "next that needs you"],
  ["a", "allow the request that has the focus"],
  ["d", "deny it, with the reason that stands beside it"],
  ["j  k  ↓  ↑", "next and previous instance"],
  ["Enter", "open the instance or request that has the focus"],
  ["/", "search"],
  ["Escape", "back"],
  ["?", "this help"],
];

export function Page() {
  useEffect(() => {
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);
  const { value: at } = route;
  const opened = at.view === "team" ? at.instanceId : null;
  return (
    <div class={`page ${opened ? "with-panel" : ""}`}>
      <Top />
      <ConnectionState />
      <main>
        <div class="view" id="view" tabIndex={-1}>
          {at.view === "team" && (
            <>
              <Strip />
              <Needs />
              <TeamTable />
            </>
          )}
          {at.view === "time" && <OverTime />}
          {at.view === "hosts" && <Hosts />}
        </div>
        {opened && at.view === "team" && <Instance key={opened} instanceId={opened} tab={at.tab} />}
      </main>
      <Notices />
      <TerminationDialog />
      {helpIsOpen.value && <Help />}
      <p class="visually-hidden" role="status">
        {announcement.value}
      </p>
    </div>
  );
}

function Top() {
  const { view } = route.value;
  const needs = needing.value.length;
  return (
    <header class="top">
      <h1>Phalanx</h1>
      <nav aria-label="Views">
        <a href="#/" aria-current={view === "team" ? "page" : undefined}>
          Team {needs > 0 && <span class="badge" title={`${needs} need you`}>{needs}</span>}
        </a>
        <a href="#/time" aria-current={view === "time" ? "page" : undefined}>
          Over time
        </a>
        <a href="#/hosts" aria-current={view === "hosts" ? "page" : undefined}>
          Hosts
        </a>
      </nav>
      <span class="space" />
      <Live />
      <button type="button" class="quiet" aria-keyshortcuts="?" onClick={() => (helpIsOpen.value = true)}>
        Keys <kbd>?</kbd>
      </button>
    </header>
  );
}

const CONNECTION_WORDS = {
  connecting: "connecting",
  live: "live",
  away: "team away",
  lost: "no connection",
  "signed out": "signed out",
} as const;

function Live() {
  const { state } = connection.value;
  return <span class={`live live-${state.replace(" ", "-")}`}>{CONNECTION_WORDS[state]}</span>;
}

function ConnectionState() {
  const now = connection.value;
  switch (now.state) {
    case "away":
      return (
        <p class="warning" role="alert">
          The team does not answer: <Line text={now.words} class="whole" /> What is shown may be old. The page goes on by
          itself when the team is back.
        </p>
      );
    case "lost":
      return (
        <p class="warning" role="alert">
          {now.words ? (
            <>
              The team is not followed: <Line text={now.words} class="whole" /> It is tried again. What is shown may be old.
            </>
          ) : (
            <>
              The page's server does not answer; it is tried again. What is shown may be old. If the team was brought down,
              `phalanx up` brings it back.
            </>
          )}
        </p>
      );
    case "signed out":
      return (
        <p class="warning" role="alert">
          This browser is not signed in any more. Run `phalanx dashboard` for a new link.
        </p>
      );
    case "connecting":
      return team.value.rows.size === 0 ? <p class="calm">Connecting…</p> : null;
    case "live":
      return null;
  }
}

function Notices() {
  return (
    <div class="notices" role="log" aria-label="Notices">
      {notices.value.map((notice) => (
        <div key={notice.id} class={`notice ${notice.tone}`}>
          <Line text={notice.words} class="whole" />
          <button type="button" class="quiet" aria-label="Dismiss" onClick={() => dismiss(notice.id)}>
            ✕
          </button>
        </div>
      ))}
    </div>
  );
}

function Help() {
  const close = () => (helpIsOpen.value = false);
  return (
    <Modal title="Keys" close={close}>
      <dl class="keys">
        {KEYS.map(([key, meaning]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <p class="hint">
        In a terminal that you took over, all keys but Ctrl+Z go to the agent. Ctrl+Shift+Escape, Ctrl+] or the button
        gives it back.
      </p>
      <div class="answers">
        <button type="button" class="first-focus" onClick={close}>
          Close
        </button>
      </div>
    </Modal>
  );
}

function pressed(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  const target = event.target as HTMLElement;
  if (target.matches("input, textarea, select")) {
    if (event.key === "Escape") leave(target);
    return;
  }
  const act = actionOf(event.key, target);
  if (act === undefined) return;
  event.preventDefault();
  act();
}

/** From a field back to the card that it is in, where the keys of the card act. */
function leave(field: HTMLElement): void {
  const card = field.closest<HTMLElement>(".need-card");
  if (card) card.focus();
  else field.blur();
}

function actionOf(key: string, target: HTMLElement): (() => void) | undefined {
  const onRow = target.matches("a.row-link");
  switch (key) {
    case "j":
      return () => focusRow(1);
    case "k":
      return () => focusRow(-1);
    case "ArrowDown":
      return onRow ? () => focusRow(1) : undefined;
    case "ArrowUp":
      return onRow ? () => focusRow(-1) : undefined;
    case "/":
      return () => onTeam(() => document.getElementById("search")?.focus());
    case "n":
      return () => onTeam(focusNextNeed);
    case "?":
      return () => (helpIsOpen.value = true);
    case "Escape":
      return back;
    default:
      return undefined;
  }
}

/** Acts on the view of the team, and goes there first. */
function onTeam(act: () => void): void {
  if (route.value.view === "team") {
    act();
    return;
  }
  location.hash = "#/";
  addEventListener("hashchange", () => requestAnimationFrame(act), { once: true });
}

export function back(): void {
  const at = route.value;
  if (at.view !== "team") location.hash = "#/";
  else if (at.instanceId) {
    const left = at.instanceId;
    location.hash = "#/";
    addEventListener("hashchange", () => requestAnimationFrame(() => focusRowOf(left)), { once: true });
  }
}
