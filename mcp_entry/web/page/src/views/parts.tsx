/** Small parts that several views use: text of agents, status, ages, bars, a dialog that asks. */

import { computed } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import { nowMs } from "../store.ts";
import { age, clock, count, dateAndTime, oneLine, shortNumber, visible } from "../text.ts";
import type { InstanceInfo, Status } from "../wire.ts";

/** Text of an agent or user in a line: isolated, so that its direction turns nothing around it. */
export function Line({ text, class: name = "" }: { text: string; class?: string }) {
  const shown = oneLine(text);
  return (
    <span dir="auto" class={`text ${name}`} title={shown}>
      {shown}
    </span>
  );
}

/** Text of an agent or user as it is, in several lines. */
export function Block({ text, class: name = "", label }: { text: string; class?: string; label?: string }) {
  const isScrolled = { tabIndex: 0, role: "group", "aria-label": label ?? "text" } as const;
  return (
    <pre dir="auto" class={`block ${name}`} {...isScrolled}>
      {visible(text)}
    </pre>
  );
}

const FOLDED_LINES = 10;
const FOLDED_CHARACTERS = 1_200;

export function isLong(text: string): boolean {
  return text.length > FOLDED_CHARACTERS || text.split("\n", FOLDED_LINES + 2).length > FOLDED_LINES + 1;
}

/** The beginning of a long text. */
export function headOf(text: string): string {
  return text.slice(0, FOLDED_CHARACTERS).split("\n").slice(0, FOLDED_LINES).join("\n");
}

export function restInWords(text: string): string {
  const more = text.split("\n").length - headOf(text).split("\n").length;
  return more > 0 ? count(more, "more line") : `${shortNumber(text.length - headOf(text).length)} more characters`;
}

/** A text that is folded when it is long. */
export function Foldable({ text, class: name = "", label }: { text: string; class?: string; label?: string }) {
  const [open, setOpen] = useState(false);
  if (!isLong(text)) return <Block text={text} class={name} label={label} />;
  return (
    <div class="foldable">
      <Block text={open ? text : headOf(text)} class={name} label={label} />
      <button type="button" class="quiet" aria-expanded={open} onClick={() => setOpen(!open)}>
        {open ? "Fold" : `Show ${restInWords(text)}`}
      </button>
    </div>
  );
}

export const STATUS_WORDS: Readonly<Record<Status, string>> = {
  starting: "starting",
  ready: "ready",
  busy: "busy",
  waiting_permission: "asks",
  waiting_input: "waits for input",
  rate_limited: "rate limited",
  stopped: "stopped",
  failed: "failed",
};

const SHAPES: Readonly<Record<Status, string>> = {
  starting: "M6 1.5a4.5 4.5 0 0 1 4.5 4.5",
  ready: "M6 1.75a4.25 4.25 0 1 0 0 8.5a4.25 4.25 0 0 0 0-8.5z",
  busy: "M2.5 1.2l8 4.8l-8 4.8z",
  waiting_permission: "M6 .8l5.4 10.2h-10.800z",
  waiting_input: "M6 .5l5.500 5.500l-5.500 5.500l-5.500-5.500z",
  rate_limited: "M2 1.500h2.800v9h-2.800zM7.200 1.500h2.800v9h-2.800z",
  stopped: "M2 2h8v8h-8z",
  failed: "M2 2l8 8M10 2l-8 8",
};
const OUTLINED: ReadonlySet<Status> = new Set(["ready", "starting", "stopped", "failed"]);

/** A shape for each status, so that none is told by color alone. Words stand beside it. */
export function StatusShape({ status }: { status: Status }) {
  return (
    <svg class={`shape s-${status} ${OUTLINED.has(status) ? "outlined" : ""}`} viewBox="0 0 12 12" aria-hidden="true">
      <path d={SHAPES[status]} />
    </svg>
  );
}

export function StatusOf({ row }: { row: InstanceInfo }) {
  const held = row.heldMessages > 0 ? `, ${row.heldMessages} held` : "";
  return (
    <span class={`status s-${row.status}`} title={row.reason ? oneLine(row.reason) : undefined}>
      <StatusShape status={row.status} />
      <span>
        {STATUS_WORDS[row.status]}
        {held && <span class="held">{held}</span>}
      </span>
    </span>
  );
}

/** How long ago; only this text changes as time goes on. */
export function Age({ since }: { since: string | null | undefined }) {
  const words = useMemo(() => computed(() => age(since, nowMs.value)), [since]);
  return (
    <time class="age" dateTime={since ?? undefined} title={since ? dateAndTime(since) : undefined}>
      {words}
    </time>
  );
}

export function Clock({ at }: { at: string }) {
  return (
    <time class="age" dateTime={at} title={dateAndTime(at)}>
      {clock(at)}
    </time>
  );
}

/** Tokens of the conversation, and how much of the model's window they take when that is known. */
export function Context({ tokens, window }: { tokens: number | null | undefined; window: number | null | undefined }) {
  if (tokens == null) return null;
  if (!window) return <span class="number">{shortNumber(tokens)}</span>;
  const part = Math.min(1, tokens / window);
  const percent = Math.round(100 * part);
  return (
    <span class="context" title={`${tokens.toLocaleString()} of ${window.toLocaleString()} tokens`}>
      <span class={`bar ${part > 0.85 ? "full" : ""}`} aria-hidden="true">
        <span style={{ width: `${percent}%` }} />
      </span>
      <span class="number">{percent}%</span>
    </span>
  );
}

/** A modal dialog, which Escape closes. What is marked `first-focus` in it has the focus at first. */
export function Modal({
  title,
  close,
  children,
}: {
  title: string;
  close: () => void;
  children: ComponentChildren;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useLayoutEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    dialog.current?.querySelector<HTMLElement>(".first-focus")?.focus();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby={heading} onClose={close}>
      <h2 id={heading}>{title}</h2>
      {children}
    </dialog>
  );
}
