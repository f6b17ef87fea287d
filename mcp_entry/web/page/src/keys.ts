/** Keys of a browser as `type` takes them; pure. */

import type { Key } from "./wire.ts";

/** The most characters of one key of text. */
const MOST_CHARACTERS = 4_000;

const NAMES: Readonly<Record<string, string>> = {
  Enter: "Enter",
  Escape: "Escape",
  Tab: "Tab",
  Backspace: "BSpace",
  ArrowUp: "Up",
  ArrowDown: "Down",
  ArrowLeft: "Left",
  ArrowRight: "Right",
  Home: "Home",
  End: "End",
  PageUp: "PageUp",
  PageDown: "PageDown",
  Delete: "DC",
};

export interface Pressed {
  key: string;
  ctrlKey: boolean;
  shiftKey: boolean;
  altKey: boolean;
  metaKey: boolean;
}

/** Why a key is not for the agent, in words; empty for all others. */
export function refusalOf({ key, ctrlKey, altKey, metaKey }: Pressed): string {
  const isSuspend = ctrlKey && !altKey && !metaKey && key.toLowerCase() === "z";
  return isSuspend ? "Ctrl+Z is not sent: it would suspend the agent for good." : "";
}

/** The key that is sent by its name. Null for what is refused, for text, which an input event brings, and for keys of the browser. */
export function keyOf(pressed: Pressed): Key | null {
  const { key, ctrlKey, shiftKey, altKey, metaKey } = pressed;
  if (altKey || metaKey || refusalOf(pressed)) return null;
  if (ctrlKey) {
    const isPaste = key === "v" || (shiftKey && (key === "C" || key === "V"));
    return /^[a-z]$/.test(key) && !shiftKey && !isPaste ? { key: `C-${key}` } : null;
  }
  if (key === "Tab" && shiftKey) return { key: "BTab" };
  // Enter with Shift begins a line, as Ctrl+J does; a terminal could not tell it from Enter.
  if (key === "Enter" && shiftKey) return { key: "C-j" };
  const name = NAMES[key];
  return name ? { key: name } : null;
}

/** Text as keys: in pieces, a line break as Ctrl+J, which begins a line and submits nothing; other controls are dropped. */
export function keysOfText(text: string): Key[] {
  const lines = text.replace(/\r\n?/g, "\n").replace(/\t/g, "    ").split("\n");
  return lines.flatMap((line, index): Key[] => {
    // eslint-disable-next-line no-control-regex
    const characters = [...line.replace(/[\u0000-\u001f\u007f-\u009f]/g, "")];
    const pieces: Key[] = index > 0 ? [{ key: "C-j" }] : [];
    for (let from = 0; from < characters.length; from += MOST_CHARACTERS / 2) {
      pieces.push({ text: characters.slice(from, from + MOST_CHARACTERS / 2).join("") });
    }
    return pieces;
  });
}
