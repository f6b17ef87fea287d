/** A patch of git as files, hunks and lines; pure. Takes what `git diff` prints without renames and colors. */

export interface DiffLine {
  kind: "same" | "added" | "deleted" | "note";
  text: string;
  /** Number in the file before; null for a line that was added. */
  before: number | null;
  after: number | null;
}

export interface Hunk {
  /** What git says after the second `@@`: the function around it. */
  heading: string;
  lines: DiffLine[];
}

export interface FileDiff {
  path: string;
  change: "changed" | "new" | "deleted" | "mode";
  binary: boolean;
  hunks: Hunk[];
  added: number;
  deleted: number;
}

const HUNK = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@ ?(.*)$/;

export function parsePatch(patch: string): FileDiff[] {
  const files: FileDiff[] = [];
  let file: FileDiff | undefined;
  let hunk: Hunk | undefined;
  let [before, after, beforeLeft, afterLeft] = [0, 0, 0, 0];
  const lines = patch.split("\n");
  for (const [index, line] of lines.entries()) {
    const isInside = (beforeLeft > 0 || afterLeft > 0) && !line.startsWith("diff --git ");
    if (hunk && file && isInside) {
      if (line === "" && index === lines.length - 1) continue; // the end of a patch that was cut
      const sign = line[0];
      const text = line.slice(1);
      if (sign === "+") {
        hunk.lines.push({ kind: "added", text, before: null, after: after++ });
        file.added += 1;
        afterLeft -= 1;
      } else if (sign === "-") {
        hunk.lines.push({ kind: "deleted", text, before: before++, after: null });
        file.deleted += 1;
        beforeLeft -= 1;
      } else if (sign === "\\") {
        hunk.lines.push({ kind: "note", text: text.trim(), before: null, after: null });
      } else {
        hunk.lines.push({ kind: "same", text, before: before++, after: after++ });
        beforeLeft -= 1;
        afterLeft -= 1;
      }
      continue;
    }
    if (line.startsWith("diff --git ")) {
      file = { path: pathOfHeading(line), change: "changed", binary: false, hunks: [], added: 0, deleted: 0 };
      files.push(file);
      hunk = undefined;
      continue;
    }
    if (!file) continue;
    const found = HUNK.exec(line);
    if (found) {
      before = Number(found[1]);
      beforeLeft = Number(found[2] ?? 1);
      after = Number(found[3]);
      afterLeft = Number(found[4] ?? 1);
      hunk = { heading: found[5] ?? "", lines: [] };
      file.hunks.push(hunk);
    } else if (hunk && line.startsWith("\\")) {
      hunk.lines.push({ kind: "note", text: line.slice(1).trim(), before: null, after: null });
    } else if (!hunk) {
      readHeader(file, line);
    }
  }
  return files;
}

function readHeader(file: FileDiff, line: string): void {
  if (line.startsWith("new file mode")) file.change = "new";
  else if (line.startsWith("deleted file mode")) file.change = "deleted";
  else if (line.startsWith("new mode") && file.change === "changed") file.change = "mode";
  else if (line.startsWith("Binary files ") || line === "GIT binary patch") file.binary = true;
  else if (line.startsWith("--- a/") || line.startsWith("+++ b/")) file.path = line.slice(6).replace(/\t$/, "");
  else if (line.startsWith('--- "a/') || line.startsWith('+++ "b/')) file.path = unquoted(line.slice(4)).slice(2);
}

/** Of `diff --git a/PATH b/PATH`, where both paths are the same because renames are not followed. */
function pathOfHeading(line: string): string {
  const both = line.slice("diff --git ".length);
  if (both.startsWith('"')) return unquoted(both.slice(0, (both.length - 1) / 2)).slice(2);
  return both.slice(2, (both.length - 1) / 2);
}

const ESCAPES: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, a: 7, b: 8, f: 12, v: 11, '"': 34, "\\": 92 };

/** Git quotes odd names as C does, with the bytes of UTF-8 in octal. */
function unquoted(name: string): string {
  const inner = name.replace(/\t$/, "").replace(/^"|"$/g, "");
  const bytes: number[] = [];
  for (const part of inner.matchAll(/\\([0-7]{3})|\\(.)|[^\\]+/gsu)) {
    if (part[1]) bytes.push(Number.parseInt(part[1], 8));
    else if (part[2]) bytes.push(ESCAPES[part[2]] ?? part[2].charCodeAt(0));
    else bytes.push(...new TextEncoder().encode(part[0]));
  }
  return new TextDecoder().decode(new Uint8Array(bytes));
}
