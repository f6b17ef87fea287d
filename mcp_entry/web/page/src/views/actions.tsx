/** What one can do to an instance, and the dialog that asks before it is terminated. */

import { signal } from "@preact/signals";
import { useState } from "preact/hooks";

import { call } from "../server.ts";
import { attempt, nameOf, team, tell, work } from "../store.ts";
import { count, oneLine } from "../text.ts";
import type { InstanceInfo, Status, TerminateResult } from "../wire.ts";
import { Line, Modal } from "./parts.tsx";

/** The instance that a person is asked about; null: nobody is asked. */
const terminating = signal<InstanceInfo | null>(null);

export function confirmTermination(row: InstanceInfo): void {
  terminating.value = row;
}

function belowOf(row: InstanceInfo): InstanceInfo[] {
  const direct = [...team.value.rows.values()].filter((each) => each.parentId === row.instanceId);
  return direct.flatMap((each) => [each, ...belowOf(each)]);
}

export function TerminationDialog() {
  const row = terminating.value;
  return row && <Termination key={row.instanceId} row={row} />;
}

function Termination({ row }: { row: InstanceInfo }) {
  const [cascade, setCascade] = useState(false);
  const [busy, setBusy] = useState(false);
  const below = belowOf(row);
  const close = () => {
    terminating.value = null;
  };
  const terminate = async () => {
    setBusy(true);
    const name = nameOf(row);
    await attempt({ failed: `${name} was not terminated`, whether: `${name} was terminated` }, async () => {
      const result = await call<TerminateResult>("terminate", { instanceId: row.instanceId, cascade });
      for (const each of result.terminated) {
        if (each.error) tell(`${each.instanceId}: ${each.error.message}`, "failed");
        else if (each.savedRef) tell(`${each.instanceId}: its uncommitted work is saved as ${each.savedRef}.`, "note");
        else if (each.kept) tell(`${each.instanceId}: ${each.kept}`, "note");
      }
      return result.success ? `${name} was terminated.` : undefined;
    });
    close();
  };
  return (
    <Modal title={`Terminate ${oneLine(nameOf(row))}?`} close={close}>
      <p>Its agent ends for good. {workInWords(row)}</p>
      {below.length > 0 && (
        <label class="check">
          <input type="checkbox" checked={cascade} onChange={(event) => setCascade(event.currentTarget.checked)} /> Also
          the {below.length} below it (otherwise they go on without it)
        </label>
      )}
      <div class="answers">
        <button type="button" class="danger" disabled={busy} onClick={() => void terminate()}>
          Terminate
        </button>
        <button type="button" class="first-focus" onClick={close}>
          Keep it
        </button>
      </div>
    </Modal>
  );
}

function workInWords(row: InstanceInfo): string {
  if (row.workspaceMode === "shared") return "It works in a shared directory, in which nothing changes.";
  const known = work.value.instances[row.instanceId];
  const branch = row.branch ? `the branch ${row.branch}` : "its branch";
  const ahead = known?.ahead ? `, ${count(known.ahead, "commit")} ahead of ${known.base ?? "its base"}` : "";
  const uncommitted = known?.uncommittedFiles
    ? `${count(known.uncommittedFiles, "file")} with uncommitted changes`
    : "Whatever is not committed";
  return `Its commits stay on ${branch}${ahead}. ${uncommitted} will be saved as a commit under refs/phalanx/saved.`;
}

const UNDER_WAY: ReadonlySet<Status> = new Set(["busy", "waiting_permission", "waiting_input"]);

const DONE = { interrupt: "interrupted", restart: "restarted", recycle: "recycled" } as const;
type Verb = keyof typeof DONE;

/** The buttons for one instance. */
export function Actions({ row }: { row: InstanceInfo }) {
  const [busy, setBusy] = useState("");
  const name = nameOf(row);
  const act = async (verb: Verb, done: (result: Record<string, unknown>) => string) => {
    setBusy(verb);
    const deed = { failed: `${name} was not ${DONE[verb]}`, whether: `${name} was ${DONE[verb]}` };
    await attempt(deed, async () => done(await call<Record<string, unknown>>(verb, { instanceId: row.instanceId })));
    setBusy("");
  };
  return (
    <div class="actions" role="group" aria-label="Actions">
      <button
        type="button"
        disabled={busy !== "" || !UNDER_WAY.has(row.status)}
        onClick={() =>
          void act("interrupt", (result) =>
            result.interrupted ? `The turn of ${name} was interrupted.` : `${name} had no turn under way.`,
          )
        }
      >
        Interrupt
      </button>
      <button
        type="button"
        disabled={busy !== ""}
        title="Start its agent anew, with the same conversation"
        onClick={() => void act("restart", () => `${name} was restarted.`)}
      >
        Restart
      </button>
      <button
        type="button"
        disabled={busy !== ""}
        title="Let a fresh conversation go on, with a summary of this one"
        onClick={() => void act("recycle", () => `${name} goes on in a fresh conversation.`)}
      >
        Recycle
      </button>
      <button type="button" class="danger-text" disabled={busy !== ""} onClick={() => confirmTermination(row)}>
        Terminate…
      </button>
      {busy && <span class="hint">{busy}…</span>}
      <span class="visually-hidden">
        <Line text={name} />
      </span>
    </div>
  );
}
