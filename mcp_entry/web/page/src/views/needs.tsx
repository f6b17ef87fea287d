/** What needs a person, first of all: each request, question and dialog with what answers it, and who cannot go on. */

import { Component } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

import { type Need, needInWords, needKey, needOf, type Question } from "../attention.ts";
import { call } from "../server.ts";
import { attempt, hrefOf, nameOf, needing, team } from "../store.ts";
import { asText, oneLine } from "../text.ts";
import type { InstanceInfo, JsonObject, Permission, ScreenResult } from "../wire.ts";
import { confirmTermination } from "./actions.tsx";
import { Age, Block, Foldable, headOf, isLong, Line, restInWords, StatusShape } from "./parts.tsx";
import { useRetry } from "./retry.ts";
import { Screen } from "./screen.tsx";

const FIRST_SHOWN = 12;
const SCREEN_ROWS = 8;

export function Needs() {
  const [all, setAll] = useState(false);
  const rows = needing.value;
  const shown = all ? rows : rows.slice(0, FIRST_SHOWN);
  if (rows.length === 0) {
    return team.value.rows.size > 0 ? <p class="calm">Nobody needs you.</p> : null;
  }
  return (
    <section class="needs" aria-labelledby="needs-heading">
      <h2 id="needs-heading">
        Needs you <span class="tally">{rows.length}</span>
      </h2>
      <div class="need-cards">
        {shown.map((row) => {
          const need = needOf(row);
          return need && <NeedCard key={needKey(row, need)} row={row} need={need} />;
        })}
      </div>
      {shown.length < rows.length && (
        <button type="button" class="quiet" onClick={() => setAll(true)}>
          Show {rows.length - shown.length} more
        </button>
      )}
    </section>
  );
}

function cards(): HTMLElement[] {
  return [...document.querySelectorAll<HTMLElement>(".needs .need-card")];
}

/** The card after the one that has the focus, the first one after the last. */
function nextCard(): HTMLElement | undefined {
  const all = cards();
  return all[(all.findIndex((card) => card.contains(document.activeElement)) + 1) % all.length];
}

/** Focuses the next card that needs a person, from the focused one on. */
export function focusNextNeed(): void {
  focusCard(nextCard());
}

function focusCard(card: HTMLElement | undefined): void {
  card?.focus();
  card?.scrollIntoView({ block: "nearest" });
}

interface CardProps {
  row: InstanceInfo;
  need: Need;
  /** Beside what tells already where it comes from. */
  brief?: boolean;
}

/** Drawn anew only when its row changed. */
export class NeedCard extends Component<CardProps> {
  override shouldComponentUpdate(next: CardProps): boolean {
    return next.row !== this.props.row;
  }

  override render(props: CardProps) {
    return <Card {...props} />;
  }
}

function Card({ row, need, brief = false }: CardProps) {
  const heading = useId();
  const card = useRef<HTMLElement>(null);
  const openByEnter = (event: KeyboardEvent) => {
    // In a field or on a button of the card Enter has a meaning of its own.
    if (event.key === "Enter" && event.target === card.current) location.hash = hrefOf(row.instanceId);
  };
  return (
    <article
      ref={card}
      class={`need-card need-${need.kind}`}
      tabIndex={-1}
      aria-labelledby={heading}
      onKeyDown={openByEnter}
    >
      <header>
        <StatusShape status={row.status} />
        <h3 id={heading}>
          <a href={hrefOf(row.instanceId)}>
            <Line text={nameOf(row)} class="name" />
          </a>{" "}
          <span>{needInWords(need)}</span>
        </h3>
        <Age since={row.since} />
      </header>
      {!brief && <Origin row={row} />}
      <Answer row={row} need={need} card={card} />
    </article>
  );
}

/** Where it comes from: its leads, its directory, what it was asked to do. */
function Origin({ row }: { row: InstanceInfo }) {
  return (
    <dl class="origin">
      <dt>From</dt>
      <dd>
        <Line text={[...leadsOf(row), row.instanceId].join(" › ")} />
        {row.host && row.host !== "local" && (
          <>
            {" on "}
            <Line text={row.host} />
          </>
        )}
      </dd>
      <dt>In</dt>
      <dd>
        <Line text={row.workingDirectory} class="path" />
      </dd>
      {row.task && (
        <>
          <dt>Task</dt>
          <dd>
            <Line text={row.task} />
          </dd>
        </>
      )}
    </dl>
  );
}

function leadsOf(row: InstanceInfo): string[] {
  const names: string[] = [];
  const seen = new Set<string>();
  let lead = row.parentId;
  while (lead && !seen.has(lead)) {
    seen.add(lead);
    const found = team.value.rows.get(lead);
    names.unshift(found ? nameOf(found) : lead);
    lead = found?.parentId;
  }
  return names;
}

function Answer({ row, need, card }: CardProps & { card: { current: HTMLElement | null } }) {
  switch (need.kind) {
    case "permission":
      return <PermissionAnswer row={row} permission={need.permission} card={card} />;
    case "questions":
      return <QuestionsAnswer row={row} permission={need.permission} questions={need.questions} card={card} />;
    case "dialog":
      return <DialogAnswer row={row} question={need.question} options={need.options} card={card} />;
    default:
      return <Trouble row={row} need={need} />;
  }
}

/** Calls `respond`, and tells how it went. While the team works on it nothing can be answered twice. */
function useResponse(row: InstanceInfo, what: string, card: { current: HTMLElement | null }) {
  const [state, setState] = useState<Sending>("open");
  const respond = async (answer: JsonObject) => {
    if (state !== "open") return;
    setState("sent");
    const answered = card.current;
    const next = answered?.contains(document.activeElement) ? nextCard() : undefined;
    const name = nameOf(row);
    const deed = { failed: `${name}: ${what} was not answered`, whether: `${what} of ${name} was answered` };
    const outcome = await attempt(deed, async () => {
      await call("respond", { instanceId: row.instanceId, ...answer });
      return undefined;
    });
    const done = outcome === "done";
    setState(done ? "answered" : "open");
    const isFree = document.activeElement === document.body || answered?.contains(document.activeElement);
    if (done && next && next !== answered && isFree) focusCard(next.isConnected ? next : cards()[0]);
  };
  return { respond, isOpen: state === "open", state };
}

type Sending = "open" | "sent" | "answered";

function Progress({ state }: { state: Sending }) {
  return state === "open" ? null : <span class="hint">{state === "sent" ? "Answering…" : "Answered."}</span>;
}

function PermissionAnswer({
  row,
  permission,
  card,
}: {
  row: InstanceInfo;
  permission: Permission;
  card: { current: HTMLElement | null };
}) {
  const { respond, isOpen, state } = useResponse(row, "the request", card);
  const entries = Object.entries(permission.input).map(([name, value]) => ({ name, text: asText(value) }));
  const isFolded = entries.some(({ text }) => isLong(text));
  const [unfolded, setUnfolded] = useState(false);
  const [reason, setReason] = useState("");
  const isHidden = isFolded && !unfolded;

  const allow = () => {
    if (isHidden) setUnfolded(true);
    else void respond({ decision: "allow", permissionId: permission.permissionId });
  };
  const deny = () => {
    const message = reason.trim();
    void respond({ decision: "deny", permissionId: permission.permissionId, ...(message ? { message } : {}) });
  };
  useDecisionKeys(card, allow, deny);

  return (
    <>
      <dl class="input">
        {entries.map(({ name, text }) => (
          <div key={name} class={name === "old_string" ? "removed" : name === "new_string" ? "inserted" : ""}>
            <dt>{name}</dt>
            <dd>
              <Block text={isHidden && isLong(text) ? headOf(text) : text} label={`${permission.tool}: ${name}`} />
              {isHidden && isLong(text) && <p class="hint">{restInWords(text)} not shown</p>}
            </dd>
          </div>
        ))}
        {entries.length === 0 && <p class="hint">It gives the tool nothing.</p>}
      </dl>
      {permission.leftOut ? <p class="hint">{permission.leftOut} characters of the input are not here.</p> : null}
      <form
        class="answers"
        onSubmit={(event) => {
          event.preventDefault();
          deny();
        }}
      >
        <button type="button" class="primary" disabled={!isOpen} onClick={allow}>
          {isHidden ? "Show all of it" : "Allow"} <kbd>a</kbd>
        </button>
        <button type="submit" disabled={!isOpen}>
          Deny <kbd>d</kbd>
        </button>
        <input
          type="text"
          value={reason}
          maxLength={10_000}
          placeholder="Reason (optional)"
          aria-label="Reason for a denial"
          disabled={!isOpen}
          onInput={(event) => setReason(event.currentTarget.value)}
        />
        <Progress state={state} />
      </form>
    </>
  );
}

/** `a` and `d` while the focus is in the card, outside of its fields. */
function useDecisionKeys(card: { current: HTMLElement | null }, allow: () => void, deny: () => void): void {
  const latest = useRef({ allow, deny });
  latest.current = { allow, deny };
  useEffect(() => {
    const shown = card.current;
    const pressed = (event: KeyboardEvent) => {
      const isTyped = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement;
      if (isTyped || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
      if (event.key === "a") latest.current.allow();
      else if (event.key === "d") latest.current.deny();
      else return;
      event.preventDefault();
      event.stopPropagation();
    };
    shown?.addEventListener("keydown", pressed);
    return () => shown?.removeEventListener("keydown", pressed);
  }, []);
}

function QuestionsAnswer({
  row,
  permission,
  questions,
  card,
}: {
  row: InstanceInfo;
  permission: Permission;
  questions: Question[];
  card: { current: HTMLElement | null };
}) {
  const { respond, isOpen, state } = useResponse(row, "the question", card);
  const [chosen, setChosen] = useState<Readonly<Record<string, readonly string[]>>>({});
  const [words, setWords] = useState<Readonly<Record<string, string>>>({});
  const answers = Object.fromEntries(
    questions.map(({ question }) => [
      question,
      [...(chosen[question] ?? []), ...(words[question]?.trim() ? [words[question].trim()] : [])].join(", "),
    ]),
  );
  const isComplete = questions.every(({ question }) => answers[question]);
  const [first] = questions;
  const isPlain = questions.length === 1 && first !== undefined && !first.several;
  const send = (given: Record<string, string>) =>
    void respond({ decision: "allow", permissionId: permission.permissionId, answers: given });

  const choose = (asked: Question, label: string) => {
    if (isPlain) {
      send({ [asked.question]: label });
      return;
    }
    const before = chosen[asked.question] ?? [];
    const without = before.filter((each) => each !== label);
    const after = asked.several ? (without.length < before.length ? without : [...before, label]) : [label];
    setChosen({ ...chosen, [asked.question]: after });
  };

  const sendAnswer = (
    <button type="submit" class={isPlain ? "" : "primary"} disabled={!isOpen || !isComplete}>
      Answer
    </button>
  );
  const decline = (
    <button
      type="button"
      disabled={!isOpen}
      onClick={() => void respond({ decision: "deny", permissionId: permission.permissionId })}
    >
      Decline
    </button>
  );
  return (
    <form
      class="questions"
      onSubmit={(event) => {
        event.preventDefault();
        if (isComplete) send(answers);
      }}
    >
      {questions.map((asked) => (
        <fieldset key={asked.question} disabled={!isOpen}>
          <legend>
            {asked.header && <Line text={asked.header} class="chip" />} <Line text={asked.question} class="whole" />
            {asked.several && <span class="hint"> (several may be chosen)</span>}
          </legend>
          <div class="options">
            {asked.options.map(({ label, description }) => (
              <button
                type="button"
                key={label}
                aria-pressed={isPlain ? undefined : (chosen[asked.question] ?? []).includes(label)}
                onClick={() => choose(asked, label)}
              >
                <Line text={label} class="whole" />
                {description && <Line text={description} class="hint whole" />}
              </button>
            ))}
          </div>
          <div class="answers">
            <input
              type="text"
              maxLength={2_000}
              placeholder="Another answer"
              aria-label={`Another answer to: ${oneLine(asked.question)}`}
              value={words[asked.question] ?? ""}
              onInput={(event) => setWords({ ...words, [asked.question]: event.currentTarget.value })}
            />
            {isPlain && sendAnswer}
            {isPlain && decline}
          </div>
        </fieldset>
      ))}
      {!isPlain && (
        <div class="answers">
          {sendAnswer}
          {decline}
        </div>
      )}
      <Progress state={state} />
    </form>
  );
}

function DialogAnswer({
  row,
  question,
  options,
  card,
}: {
  row: InstanceInfo;
  question: string;
  options: string[];
  card: { current: HTMLElement | null };
}) {
  const { respond, isOpen, state } = useResponse(row, "the dialog", card);
  const [unfolded, setUnfolded] = useState(false);
  const isHidden = isLong(question) && !unfolded;
  // With the text that was read here: the team refuses when another dialog has come in its place.
  return (
    <>
      <Block text={isHidden ? headOf(question) : question} label="The dialog" />
      {isHidden ? (
        <button type="button" class="quiet" onClick={() => setUnfolded(true)}>
          Show {restInWords(question)} and its options
        </button>
      ) : (
        <div class="options">
          {options.map((option) => (
            <button type="button" key={option} disabled={!isOpen} onClick={() => void respond({ option, question })}>
              <Line text={option} class="whole" />
            </button>
          ))}
        </div>
      )}
      <div class="answers">
        <button type="button" disabled={!isOpen} onClick={() => void respond({ decision: "deny", question })}>
          Close the dialog
        </button>
        <a class="button" href={hrefOf(row.instanceId, "terminal")}>
          Open its terminal
        </a>
        <Progress state={state} />
      </div>
    </>
  );
}

/** Who cannot go on: the reason, what its screen shows, and what one can do. */
function Trouble({ row, need }: { row: InstanceInfo; need: Extract<Need, { reason: string }> }) {
  const [busy, setBusy] = useState(false);
  const restart = async () => {
    setBusy(true);
    const deed = { failed: `${nameOf(row)} was not restarted`, whether: `${nameOf(row)} was restarted` };
    await attempt(deed, async () => {
      await call("restart", { instanceId: row.instanceId });
      return `${nameOf(row)} was restarted.`;
    });
    setBusy(false);
  };
  const hasEnded = row.status === "failed" || row.status === "stopped";
  return (
    <>
      <Foldable text={need.reason || "It does not say why."} class="reason" label="The reason" />
      {need.kind !== "limited" && <LastScreen row={row} />}
      <div class="answers">
        {hasEnded && (
          <button type="button" class="primary" disabled={busy} onClick={() => void restart()}>
            Restart
          </button>
        )}
        {!hasEnded && (
          <a class="button primary" href={hrefOf(row.instanceId, "terminal")}>
            Open its terminal
          </a>
        )}
        {hasEnded && (
          <button type="button" onClick={() => confirmTermination(row)}>
            Terminate…
          </button>
        )}
        <a class="button" href={hrefOf(row.instanceId)}>
          Read
        </a>
      </div>
    </>
  );
}

/** The last rows of its screen, looked at for each change of its row. */
function LastScreen({ row }: { row: InstanceInfo }) {
  const [screen, setScreen] = useState<ScreenResult | null>(null);
  const retry = useRetry();
  useEffect(() => {
    let isWanted = true;
    call<ScreenResult>("screen", { instanceId: row.instanceId }).then(
      (found) => {
        if (!isWanted) return;
        setScreen(found);
        retry.succeeded();
      },
      () => {
        if (!isWanted) return;
        setScreen(null); // an agent that has ended may have left none
        retry.failed();
      },
    );
    return () => {
      isWanted = false;
    };
  }, [row, retry.round]);
  if (screen === null || screen.lines.every((line) => line.trim() === "")) return null;
  return (
    <div class="last-screen" role="img" aria-label="The end of its screen">
      <Screen screen={screen} lastRows={SCREEN_ROWS} />
    </div>
  );
}
