/** The conversation of one instance, live: tool calls folded, what came by Phalanx with its receipt; and sending. */

import { useEffect, useRef, useState } from "preact/hooks";

import { RequestIds } from "../outcome.ts";
import { ConversationReader, FIRST_ASKED, MOST_READ, NOTHING_READ, type Reading } from "../reading.ts";
import { fateInWords } from "../receipts.ts";
import { call } from "../server.ts";
import { attempt, events, nameOf } from "../store.ts";
import { asText, count, oneLine } from "../text.ts";
import { tellingArgument } from "../toolcall.ts";
import type { ConversationEntry, EntryMessage, InstanceInfo, ReadResult, SendResult } from "../wire.ts";
import { Block, Clock, Foldable, Line } from "./parts.tsx";
import { useRetry } from "./retry.ts";

const MORE_SHOWN = 600;

/** Follows the conversation: reads on whenever the row of the instance changed. */
function useConversation(row: InstanceInfo | undefined, instanceId: string): [Reading, (asked: number) => void] {
  const [reading, setReading] = useState(NOTHING_READ);
  const retry = useRetry();
  const reader = useRef<ConversationReader | null>(null);

  useEffect(() => {
    const opened = new ConversationReader(
      instanceId,
      (request) => call<ReadResult>("read", request),
      (found) => {
        setReading(found);
        if (found.error) retry.failed();
        else retry.succeeded();
      },
    );
    reader.current = opened;
    return () => opened.close();
  }, [instanceId]);
  useEffect(() => reader.current?.look(), [row, retry.round]);
  return [reading, (asked) => reader.current?.lookFurtherBack(asked)];
}

export function Conversation({ row, instanceId }: { row: InstanceInfo | undefined; instanceId: string }) {
  const [reading, readFurtherBack] = useConversation(row, instanceId);
  const [most, setMost] = useState(FIRST_ASKED);
  const { entries, origin, asked, error, done } = reading;
  const first = Math.max(0, entries.length - most);
  const mayHaveEarlier = first > 0 || (entries.length >= asked && asked < MOST_READ);

  const showEarlier = () => {
    const wanted = most + MORE_SHOWN;
    setMost(wanted);
    if (entries.length < wanted && asked < MOST_READ) readFurtherBack(wanted);
  };

  return (
    <div class="conversation">
      <div class="entries" role="log" aria-label="Conversation" tabIndex={0}>
        <div class="entries-inner">
        {error && <p class="warning">The conversation cannot be read just now; it is tried again. {error}</p>}
        {mayHaveEarlier && (
          <button type="button" class="quiet" onClick={showEarlier}>
            Show earlier entries
          </button>
        )}
        {!mayHaveEarlier && asked >= MOST_READ && entries.length >= MOST_READ && (
          <p class="hint">These are the latest {entries.length}. `phalanx read {instanceId}` reads from a cursor on.</p>
        )}
        {entries.length === 0 && !error && <p class="calm">{done ? "Nothing was said yet." : "Reading…"}</p>}
        {grouped(entries, first).map(({ index, entry, result }) => (
          <Entry key={index - origin} entry={entry} result={result} instanceId={instanceId} />
        ))}
        </div>
      </div>
      {row && <Composer row={row} entries={entries} />}
    </div>
  );
}

interface Grouped {
  index: number;
  entry: ConversationEntry;
  /** Of a tool call, when it follows at once. */
  result: ConversationEntry | undefined;
}

function grouped(entries: readonly ConversationEntry[], first: number): Grouped[] {
  const found: Grouped[] = [];
  for (let index = first; index < entries.length; index += 1) {
    const entry = entries[index] as ConversationEntry;
    const next = entries[index + 1];
    const result = entry.kind === "tool_call" && next?.kind === "tool_result" ? next : undefined;
    found.push({ index, entry, result });
    if (result) index += 1;
  }
  return found;
}

const WHO: Readonly<Record<ConversationEntry["kind"], string>> = {
  question: "Asked",
  answer: "Agent",
  tool_call: "Tool",
  tool_result: "Result",
  notice: "Notice",
};

function Entry({
  entry,
  result,
  instanceId,
}: {
  entry: ConversationEntry;
  result: ConversationEntry | undefined;
  instanceId: string;
}) {
  if (entry.kind === "tool_call" || entry.kind === "tool_result") {
    return <ToolEntry entry={entry} result={result} instanceId={instanceId} />;
  }
  return (
    <article class={`entry entry-${entry.kind}`}>
      <header>
        <span class="who">{WHO[entry.kind]}</span>
        <span class="receipts">
          {entry.messages?.map((message) => <Receipt key={message.messageId} message={message} />)}
        </span>
        <Clock at={entry.at} />
      </header>
      <Whole entry={entry} instanceId={instanceId} />
    </article>
  );
}

/** What became of a message of Phalanx. */
function Receipt({ message }: { message: EntryMessage }) {
  const exact =
    message.exact === true ? "exact" : message.exact === false ? "altered by the agent's program" : "not yet compared";
  const changes = message.changes?.length ? `: ${message.changes.join(", ")}` : "";
  const isWell = message.status == null || (message.status === "submitted" && message.exact !== false);
  const receipt = message.status == null ? "its receipt is not kept any more" : `${message.status}, ${exact}${changes}`;
  return (
    <Line
      text={`from ${message.sender ?? "?"}: ${receipt}`}
      class={`whole receipt ${isWell ? "" : "odd"}`}
    />
  );
}

/** The text of an entry; what was left out of it is read when it is asked for. */
function Whole({ entry, instanceId, label }: { entry: ConversationEntry; instanceId: string; label?: string }) {
  const [whole, setWhole] = useState<ConversationEntry | null>(null);
  const { full, leftOut } = entry;
  const shown = whole ?? entry;
  const readWhole = () =>
    attempt({ failed: "The entry cannot be read in whole" }, async () => {
      const page = await call<ReadResult>("read", { instanceId, full, leavesUnread: true });
      setWhole(page.entries[0] ?? null);
      return undefined;
    });
  const isSpoken = entry.kind === "question" || entry.kind === "answer" || entry.kind === "notice";
  const input = shown.input && Object.keys(shown.input).length > 0 ? Object.entries(shown.input) : [];
  return (
    <>
      {input.map(([name, value]) => (
        <div key={name} class="argument">
          <span class="hint">{oneLine(name)}</span>
          <Foldable text={asText(value)} label={`${shown.tool ?? "tool"}: ${name}`} />
        </div>
      ))}
      {shown.text &&
        (isSpoken ? (
          <Block text={shown.text} class="spoken" label={label ?? WHO[entry.kind]} />
        ) : (
          <Foldable text={shown.text} label={label ?? "The result"} />
        ))}
      {leftOut && full && !whole ? (
        <button type="button" class="quiet" onClick={() => void readWhole()}>
          Show all of it ({leftOut.toLocaleString()} more characters)
        </button>
      ) : null}
    </>
  );
}

/** A call and its result in one line, until it is unfolded. */
function ToolEntry({
  entry,
  result,
  instanceId,
}: {
  entry: ConversationEntry;
  result: ConversationEntry | undefined;
  instanceId: string;
}) {
  const [open, setOpen] = useState(false);
  const isResult = entry.kind === "tool_result";
  const answer = isResult ? entry : result;
  const lines = answer ? answer.text.split("\n").length : 0;
  return (
    <details class="entry tool" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <span class="who">{isResult ? "Result" : oneLine(entry.tool ?? "tool")}</span>
        <Line text={isResult ? entry.text.slice(0, 300) : tellingArgument(entry.input ?? {})} class="call" />
        {answer && <span class="hint">{count(lines, "line")}</span>}
        <Clock at={entry.at} />
      </summary>
      {open && (
        <div class="tool-body">
          <Whole entry={entry} instanceId={instanceId} />
          {result && <Whole entry={result} instanceId={instanceId} />}
        </div>
      )}
    </details>
  );
}

interface Sent {
  messageId: string;
  text: string;
}

const requestIds = new RequestIds();

function Composer({ row, entries }: { row: InstanceInfo; entries: readonly ConversationEntry[] }) {
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [sent, setSent] = useState<readonly Sent[]>([]);
  const send = async () => {
    if (!text.trim() || busy) return;
    setBusy(true);
    const { instanceId } = row;
    const deed = {
      failed: `Nothing was sent to ${nameOf(row)}`,
      whether: `the message was sent to ${nameOf(row)}`,
      then: "Send does it again; as long as the text stays as it is, it is given once.",
    };
    const outcome = await attempt(deed, async () => {
      const requestId = requestIds.of(instanceId, text);
      const result = await call<SendResult>("send", { instanceId, message: text, requestId });
      if (result.messageId) setSent([...sent.slice(-2), { messageId: result.messageId, text }]);
      return undefined;
    });
    if (outcome !== "unknown") requestIds.settle(instanceId, text);
    if (outcome === "done") setText("");
    setBusy(false);
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      {sent.map((message) => (
        <SentMessage key={message.messageId} message={message} entries={entries} />
      ))}
      <textarea
        rows={2}
        aria-label={`Message to ${oneLine(nameOf(row))}`}
        placeholder={row.status === "busy" ? "Message; it goes in when the turn is done" : "Message"}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
            event.preventDefault();
            void send();
          }
        }}
      />
      <button type="submit" class="primary" disabled={busy || !text.trim()} title="Ctrl+Enter">
        Send
      </button>
    </form>
  );
}

/** What was sent from here, until its final receipt has come. */
function SentMessage({ message, entries }: { message: Sent; entries: readonly ConversationEntry[] }) {
  const fate = fateInWords(message.messageId, events.value, entries);
  return (
    <p class="sent hint" role="status">
      <Line text={message.text} />
      <span>{fate || "accepted, on its way"}</span>
    </p>
  );
}
