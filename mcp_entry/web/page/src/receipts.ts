/** The receipts of messages in a conversation, as far as they are known and as they become known; pure. */

import { oneLine } from "./text.ts";
import type { ConversationEntry, EntryMessage, MessageStatus, TeamEvent } from "./wire.ts";

/** Receipts of older entries are not asked for again. */
const LATEST = 200;
const FINAL: ReadonlySet<MessageStatus> = new Set(["submitted", "unconfirmed", "failed"]);

/** Whether its receipt may still say something else. Without a status it is of long ago. */
function isOpen({ status, exact }: EntryMessage): boolean {
  if (status == null) return false;
  return !FINAL.has(status) || (status !== "failed" && exact == null);
}

export interface Unsettled {
  /** How many of the latest entries hold all of them; 0 when there are none. */
  depth: number;
  /** Which messages they are. */
  key: string;
}

/** The messages whose receipts are to be asked for again. */
export function unsettled(entries: readonly ConversationEntry[]): Unsettled {
  const latest = entries.slice(-LATEST);
  const ids = latest.map((entry) => (entry.messages ?? []).filter(isOpen).map(({ messageId }) => messageId));
  const first = ids.findIndex((each) => each.length > 0);
  return { depth: first < 0 ? 0 : latest.length - first, key: ids.flat().join(" ") };
}

/** The entries with the receipts that `fresh`, the same entries read later, has. Those that did not change stay. */
export function withReceipts(
  entries: readonly ConversationEntry[],
  fresh: readonly ConversationEntry[],
): readonly ConversationEntry[] {
  const known = new Map(fresh.flatMap(({ messages }) => (messages ?? []).map((each) => [each.messageId, each] as const)));
  return entries.map((entry) => {
    const messages = entry.messages?.map((message) => known.get(message.messageId) ?? message);
    return JSON.stringify(messages) === JSON.stringify(entry.messages) ? entry : { ...entry, messages };
  });
}

/** What became of a message that was sent, in words; empty while that is open. */
export function fateInWords(
  messageId: string,
  events: readonly TeamEvent[],
  entries: readonly ConversationEntry[],
): string {
  const told = events.find((event) => event.kind === "message_final" && event.messageId === messageId);
  if (told) {
    const { status, text } = told;
    return text && text !== status ? `${status ?? "done"}: ${oneLine(text)}` : (status ?? "done");
  }
  const status = entries.flatMap((entry) => entry.messages ?? []).find((each) => each.messageId === messageId)?.status;
  return status && FINAL.has(status) ? status : "";
}
