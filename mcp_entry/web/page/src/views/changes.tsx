/** What an instance changed: the diff of its branch against its base, and what it has not committed yet. */

import { useEffect, useState } from "preact/hooks";

import { type DiffLine, type FileDiff, parsePatch } from "../diff.ts";
import { call, inWords } from "../server.ts";
import { conflictsOf, work } from "../store.ts";
import { count, oneLine, visible } from "../text.ts";
import type { DiffResult, GitOutcome, InstanceInfo } from "../wire.ts";
import { Line } from "./parts.tsx";
import { useRetry } from "./retry.ts";

/** Files that are unfolded at first, as long as they are short. */
const OPEN_FILES = 12;
const OPEN_LINES = 300;
const MOST_LINES = 3_000;

interface Part {
  title: string;
  diff: DiffResult | null;
  error: string;
}

interface Found {
  parts: Part[];
  untracked: string[];
}

async function readChanges(row: InstanceInfo, base: string | null): Promise<Found> {
  const workspaceDir = row.workingDirectory;
  const operations = [
    ...(base ? [{ type: "diff", workspaceDir, params: { base: `${base}...HEAD` } }] : []),
    { type: "diff", workspaceDir, params: { base: "HEAD" } },
    { type: "status", workspaceDir, params: {} },
  ];
  const { results } = await call<{ results: GitOutcome[] }>("git_batch", { operations });
  const status = results.at(-1);
  const titles = [...(base ? [`Committed since ${base}`] : []), "Not committed yet"];
  const parts = titles.map((title, index) => {
    const outcome = results[index];
    return outcome?.success
      ? { title, diff: outcome.result as unknown as DiffResult, error: "" }
      : { title, diff: null, error: outcome?.error?.message ?? "No answer." };
  });
  const untracked = status?.success ? status.result?.untracked : [];
  return { parts, untracked: Array.isArray(untracked) ? untracked.map(String) : [] };
}

export function Changes({ row }: { row: InstanceInfo }) {
  const [found, setFound] = useState<Found | null>(null);
  const [error, setError] = useState("");
  const [asked, setAsked] = useState(0);
  const retry = useRetry();
  const branch = work.value.instances[row.instanceId];
  const base = branch?.base ?? null;
  const conflict = conflictsOf.value.get(row.instanceId);

  useEffect(() => {
    let isWanted = true;
    readChanges(row, base).then(
      (changes) => {
        if (!isWanted) return;
        setFound(changes);
        setError("");
        retry.succeeded();
      },
      (failed: unknown) => {
        if (!isWanted) return;
        setError(inWords(failed));
        retry.failed();
      },
    );
    return () => {
      isWanted = false;
    };
  }, [asked, retry.round, JSON.stringify(branch), row.status]);

  return (
    <div class="changes">
      <div class="changes-head">
        <Line text={row.branch ?? row.workingDirectory} class="path" />
        {branch?.ahead ? <span class="chip">{count(branch.ahead, "commit")} ahead</span> : null}
        {branch?.behind ? <span class="chip">{branch.behind} behind</span> : null}
        <span class="space" />
        <button type="button" class="quiet" onClick={() => setAsked(asked + 1)}>
          Look again
        </button>
      </div>
      {conflict && (
        <p class="warning">
          It would conflict <Line text={conflict} class="whole" />
        </p>
      )}
      {error && <p class="warning">The changes cannot be read just now; it is tried again. {error}</p>}
      {!found && !error && <p class="calm">Comparing…</p>}
      {found && !base && row.workspaceMode === "isolated" && (
        <p class="hint">The branch that it began from is not known, so its commits are not compared.</p>
      )}
      {found?.parts.map((part) => <PartOf key={part.title} part={part} />)}
      {found && found.untracked.length > 0 && (
        <section>
          <h3>New files that git does not know yet</h3>
          <ul class="plain">
            {found.untracked.map((path) => (
              <li key={path}>
                <Line text={path} class="path" />
              </li>
            ))}
          </ul>
        </section>
      )}
    </div>
  );
}

function PartOf({ part }: { part: Part }) {
  const { diff } = part;
  const files = diff ? parsePatch(diff.patch) : [];
  const shown = new Set(files.map((file) => file.path));
  const missing = diff?.files.filter((file) => !shown.has(file.path)) ?? [];
  return (
    <section>
      <h3>
        <Line text={part.title} class="whole" />
      </h3>
      {part.error && <p class="warning">{part.error}</p>}
      {diff && diff.files.length === 0 && <p class="hint">Nothing.</p>}
      {diff?.truncated && (
        <p class="warning">
          The changes are too many to be shown here in whole: what follows is cut. `git diff` in its directory shows all.
        </p>
      )}
      {files.map((file, index) => (
        <FileOf key={file.path} file={file} isOpen={index < OPEN_FILES && linesOf(file) <= OPEN_LINES} />
      ))}
      {missing.map(({ path, added, deleted, binary }) => (
        <p key={path} class="file-line">
          <Line text={path} class="path" />{" "}
          <span class="hint">{binary ? "binary" : `+${added ?? 0} −${deleted ?? 0}, not shown`}</span>
        </p>
      ))}
    </section>
  );
}

function linesOf(file: FileDiff): number {
  return file.hunks.reduce((sum, hunk) => sum + hunk.lines.length, 0);
}

const CHANGE_WORDS = { changed: "", new: "new", deleted: "deleted", mode: "mode changed" } as const;

function FileOf({ file, isOpen }: { file: FileDiff; isOpen: boolean }) {
  const [open, setOpen] = useState(isOpen);
  let left = MOST_LINES;
  return (
    <details class="file" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <Line text={file.path} class="path" />
        {CHANGE_WORDS[file.change] && <span class="chip">{CHANGE_WORDS[file.change]}</span>}
        <span class="added">+{file.added}</span>
        <span class="deleted">−{file.deleted}</span>
      </summary>
      {open && file.binary && <p class="hint">A binary file.</p>}
      {open && (
        <div class="hunks" tabIndex={0} role="group" aria-label={`Changes of ${oneLine(file.path)}`}>
          {file.hunks.map((hunk, index) => {
            const lines = hunk.lines.slice(0, left);
            left -= lines.length;
            return (
              <div key={index} class="hunk">
                <div class="hunk-head">
                  <Line text={hunk.heading || "…"} />
                </div>
                {lines.map((line, at) => (
                  <LineOf key={at} line={line} />
                ))}
              </div>
            );
          })}
          {left <= 0 && <p class="warning">Only the first {MOST_LINES.toLocaleString()} lines of this file are shown.</p>}
        </div>
      )}
    </details>
  );
}

const SIGNS = { same: " ", added: "+", deleted: "−", note: "\\" } as const;

function LineOf({ line }: { line: DiffLine }) {
  return (
    <div class={`diff-line ${line.kind}`}>
      <span class="line-number">{line.before ?? ""}</span>
      <span class="line-number">{line.after ?? ""}</span>
      <span class="sign">{SIGNS[line.kind]}</span>
      <span class="code" dir="ltr">
        {visible(line.text)}
      </span>
    </div>
  );
}
