/** The terminal of one instance, live. Looking only, until a person takes it over: then keys go to the agent.
 *
 * It is taken over for as long as the field that takes the keys has the focus. Ctrl+Shift+Escape, Ctrl+], the button and
 * everything that moves the focus away give it back.
 */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import { keyOf, keysOfText, refusalOf } from "../keys.ts";
import { isUnknown } from "../outcome.ts";
import { call, inWords } from "../server.ts";
import { connection, nameOf, tell } from "../store.ts";
import { followScreen } from "../stream.ts";
import { count } from "../text.ts";
import { Typing } from "../typing.ts";
import type { InstanceInfo, Key, ScreenResult } from "../wire.ts";
import { Line } from "./parts.tsx";
import { Screen } from "./screen.tsx";

export function Terminal({ row, instanceId }: { row: InstanceInfo | undefined; instanceId: string }) {
  const [screen, setScreen] = useState<ScreenResult | null>(null);
  const [state, setState] = useState("Looking…");
  const [taken, setTaken] = useState(false);
  const [refused, setRefused] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);

  useEffect(
    () =>
      followScreen(instanceId, {
        drawn(drawn) {
          setScreen(drawn);
          setState("");
        },
        waiting(words) {
          setState(words);
          setTaken(false);
        },
        ended(words) {
          setState(words);
          setTaken(false);
        },
        lost: (words) => setState(`The screen is not followed just now; it is tried again. ${words}`),
      }),
    [instanceId],
  );
  useLayoutEffect(() => {
    if (taken) field.current?.focus();
  }, [taken]);
  // The stream of the screen waits for a team that comes back, and says nothing meanwhile.
  const isAway = connection.value.state === "away" || connection.value.state === "lost";
  const hasEnded = row?.status === "failed" || row?.status === "stopped";
  const isReadOnly = isAway || hasEnded;
  useEffect(() => {
    if (isReadOnly) setTaken(false);
  }, [isReadOnly]);
  const stale = isAway ? "The team is away: the screen is as it was." : hasEnded ? "The agent has ended: the screen is its last one." : "";

  const take = () => {
    setRefused("");
    setTaken(true);
  };

  return (
    <div class={`terminal ${taken ? "taken" : ""}`}>
      <div class="terminal-bar">
        {taken ? (
          <>
            <strong role="status">You type into this terminal.</strong>
            <span class="hint">Ctrl+Shift+Escape or Ctrl+] ends it.</span>
            <span role="status">{refused}</span>
            <button type="button" onClick={() => setTaken(false)}>
              Give it back
            </button>
          </>
        ) : (
          <>
            <span class="hint">Looking only.</span>
            <button type="button" disabled={!screen || !row || isReadOnly} onClick={take}>
              Take over
            </button>
          </>
        )}
        {screen?.title && <Line text={screen.title} class="hint" />}
      </div>
      {(state || (screen && stale)) && <p class="hint">{state || stale}</p>}
      <div
        class="terminal-box"
        tabIndex={0}
        role="group"
        aria-label={`Terminal of ${instanceId}`}
        onClick={() => field.current?.focus()}
      >
        {screen && <Screen screen={screen} />}
        {taken && row && screen && (
          <KeyField row={row} seen={screen.version} field={field} end={() => setTaken(false)} refuse={setRefused} />
        )}
      </div>
      {screen && (
        <p class="visually-hidden">
          {screen.columns} by {screen.rows}
        </p>
      )}
    </div>
  );
}

/** Takes keys, pasted text and what an input method composes; sends them in the order in which they came. */
function KeyField({
  row,
  seen,
  field,
  end,
  refuse,
}: {
  row: InstanceInfo;
  /** The version of the screen that is shown. */
  seen: string;
  field: { current: HTMLTextAreaElement | null };
  end: () => void;
  /** Tells why the last key was not sent; with nothing, that it was. */
  refuse: (words: string) => void;
}) {
  const typing = useRef<Typing | null>(null);
  const latest = useRef({ row, seen, end });
  latest.current = { row, seen, end };

  useLayoutEffect(() => {
    const typed = new Typing(
      (keys) => call("type", { instanceId: latest.current.row.instanceId, ...keys }),
      (why) => {
        tell(`${nameOf(latest.current.row)}: ${lossInWords(why)}`, "failed");
        latest.current.end();
      },
    );
    typing.current = typed;
    return () => typed.end();
  }, []);
  const send = (keys: readonly Key[]) => typing.current?.type(keys, latest.current.seen);

  return (
    <textarea
      ref={field}
      class="key-field"
      aria-label="Keys for the terminal. Ctrl+Shift+Escape gives it back."
      autocomplete="off"
      autocapitalize="off"
      spellcheck={false}
      onBlur={end}
      onKeyDown={(event) => {
        event.stopPropagation();
        const isEnd = event.ctrlKey && ((event.shiftKey && event.key === "Escape") || event.key === "]");
        if (isEnd) {
          event.preventDefault();
          end();
          return;
        }
        if (event.isComposing) return;
        const refusal = refusalOf(event);
        refuse(refusal);
        if (refusal) event.preventDefault();
        const key = keyOf(event);
        if (key) {
          event.preventDefault();
          send([key]);
        }
      }}
      onPaste={(event) => {
        event.preventDefault();
        send(keysOfText(event.clipboardData?.getData("text/plain") ?? ""));
      }}
      onInput={(event) => {
        if (event.isComposing) return;
        send(keysOfText(event.currentTarget.value));
        event.currentTarget.value = "";
      }}
      onCompositionEnd={(event) => {
        send(keysOfText(event.currentTarget.value));
        event.currentTarget.value = "";
      }}
    />
  );
}

function lossInWords(why: { error: unknown } | { dropped: number }): string {
  if ("dropped" in why) {
    return `${count(why.dropped, "key")} not typed, because the terminal took none for a second. Look at it first.`;
  }
  const words = inWords(why.error);
  return isUnknown(why.error) ? `it is not known whether the last keys arrived: ${words}` : `the keys were not typed: ${words}`;
}
