/** The events of one instance since the page was opened, the newest first. */

import { events, missedEvents, openedAt } from "../store.ts";
import { count, oneLine } from "../text.ts";
import type { TeamEvent } from "../wire.ts";
import { Clock, Line } from "./parts.tsx";

const MOST_SHOWN = 300;

const KIND_WORDS: Readonly<Record<string, string>> = {
  became_idle: "done",
  needs_attention: "needs somebody",
  failed: "failed",
  message_final: "message",
  merged: "merged",
  conflict: "conflict",
  limit_reached: "limit reached",
  alert: "alert",
};

export function Happenings({ instanceId }: { instanceId: string }) {
  const mine = events.value.filter((event) => event.instanceId === instanceId);
  const shown = mine.slice(-MOST_SHOWN).reverse();
  return (
    <div class="happenings">
      <p class="hint">
        Since this page was opened, <Clock at={openedAt} />
      </p>
      {missedEvents.value > 0 && (
        <p class="warning">
          {count(missedEvents.value, "event")} of the team did not come to this page while it had no connection or was slow.
        </p>
      )}
      {shown.length === 0 && <p class="calm">Nothing has happened yet.</p>}
      <ol class="plain">
        {shown.map((event, index) => (
          <li key={event.number || `${event.at} ${mine.length - index}`} class="happening">
            <Clock at={event.at} />
            <span class={`kind kind-${event.kind}`}>{KIND_WORDS[event.kind] ?? oneLine(event.kind)}</span>
            <Line text={detail(event)} class="whole" />
          </li>
        ))}
      </ol>
    </div>
  );
}

function detail(event: TeamEvent): string {
  if (event.kind === "message_final") {
    const sender = event.sender ? ` from ${event.sender}` : "";
    const why = event.text && event.text !== event.status ? `, ${event.text}` : "";
    return `${event.messageId ?? ""}${sender}: ${event.status ?? ""}${why}`;
  }
  return event.alert ? event.alert.message : event.text;
}
