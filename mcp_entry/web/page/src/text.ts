/** How text, times and numbers are shown; pure. All text of agents passes `visible`. */

import type { Json, StockFigures } from "./wire.ts";

/** C0, DEL and C1 controls without newline and tab; characters that turn the direction of text; invisible ones. */
const HIDDEN =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]|\u{e0001}|[\u{e0020}-\u{e007f}]/gu;

/** The text with a symbol or number in place of each character that would hide, move or turn what is around it. */
export function visible(text: string): string {
  return text.replace(/\r\n/g, "\n").replace(HIDDEN, symbol);
}

function symbol(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
}

/** A value of JSON as text: a text as it is. */
export function asText(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/** In one line. */
export function oneLine(text: string): string {
  return visible(text).replace(/\s+/g, " ").trim();
}

const SPANS: readonly [string, number][] = [
  ["d", 86_400],
  ["h", 3_600],
  ["m", 60],
];

/** How long ago `iso` was, in its largest unit. Empty when there is no time. */
export function age(iso: string | null | undefined, nowMs: number): string {
  const at = iso ? Date.parse(iso) : Number.NaN;
  if (Number.isNaN(at)) return "";
  const seconds = Math.max(0, Math.round((nowMs - at) / 1000));
  const [unit, length] = SPANS.find(([, each]) => seconds >= each) ?? ["s", 1];
  return `${Math.floor(seconds / length)}${unit}`;
}

/** 950, 12.3k, 4.5M. */
export function shortNumber(value: number): string {
  if (value < 1_000) return String(Math.round(value));
  const [unit, length] = value < 999_500 ? (["k", 1_000] as const) : (["M", 1_000_000] as const);
  const scaled = value / length;
  return `${scaled < 99.95 ? scaled.toFixed(1).replace(/\.0$/, "") : Math.round(scaled)}${unit}`;
}

/** 85 ms, 1.24 s, 3.5 min. */
export function milliseconds(value: number): string {
  if (value < 1_000) return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
  if (value < 120_000) return `${(value / 1_000).toFixed(value < 10_000 ? 2 : 1)} s`;
  return `${(value / 60_000).toFixed(1)} min`;
}

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

/** A model's id without what all have in common: `claude-opus-4-5-20251101` is `opus-4-5`. */
export function shortModel(model: string): string {
  return model.replace(/^(?:[a-z]+\.)*claude-/, "").replace(/-\d{8}(?=$|[^\d])/, "");
}

// With the hours of the terminal's commands, whatever the language of the browser.
const HOURS = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
const TO_THE_SECOND = new Intl.DateTimeFormat(undefined, { ...HOURS, second: "2-digit" });
const TO_THE_MINUTE = new Intl.DateTimeFormat(undefined, HOURS);
const WITH_DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

export function dateAndTime(iso: string): string {
  const at = Date.parse(iso);
  return Number.isNaN(at) ? iso : WITH_DATE.format(at);
}

export function clock(iso: string): string {
  const at = Date.parse(iso);
  return Number.isNaN(at) ? iso : TO_THE_SECOND.format(at);
}

export function hour(atMs: number): string {
  return TO_THE_MINUTE.format(atMs);
}

/** How many spares there are. More than are wanted are there for a while after fewer are wanted. */
export function spares({ ready, wanted, waitsFor }: StockFigures): string {
  if (ready > wanted) return `${ready} ready, ${wanted} wanted`;
  return `${ready} of ${wanted} ready${ready < wanted && waitsFor ? `, waits for ${waitsFor}` : ""}`;
}
