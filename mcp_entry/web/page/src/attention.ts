/** What an instance needs of a person, told from its row; pure. */

import type { InstanceInfo, Json, Permission } from "./wire.ts";

export interface Question {
  /** The words by which `respond` takes its answer. */
  question: string;
  header: string;
  options: { label: string; description: string }[];
  several: boolean;
}

export type Need =
  | { kind: "permission"; permission: Permission }
  | { kind: "questions"; permission: Permission; questions: Question[] }
  | { kind: "dialog"; question: string; options: string[] }
  | { kind: "held"; reason: string; messages: number }
  | { kind: "limited"; reason: string }
  | { kind: "failed"; reason: string }
  | { kind: "stuck"; reason: string }
  /** The team says so, and the row does not show why. */
  | { kind: "other"; reason: string };

export function needOf(row: InstanceInfo): Need | null {
  if (!row.needsAttention) return null;
  const reason = row.reason ?? "";
  if (row.permission) {
    const questions = row.permission.tool === "AskUserQuestion" ? questionsOf(row.permission.input.questions) : [];
    return questions.length > 0
      ? { kind: "questions", permission: row.permission, questions }
      : { kind: "permission", permission: row.permission };
  }
  if (row.dialog) return { kind: "dialog", question: row.dialog.question, options: row.dialog.options };
  if (row.status === "failed") return { kind: "failed", reason };
  if (row.status === "rate_limited") return { kind: "limited", reason };
  if (row.heldMessages > 0) return { kind: "held", reason, messages: row.heldMessages };
  const waits = row.status === "waiting_input" || row.status === "waiting_permission";
  return { kind: row.status !== "stopped" && (reason || waits) ? "stuck" : "other", reason };
}

/** A name that stays while the same thing is asked for, and changes with the next one. */
export function needKey(row: InstanceInfo, need: Need): string {
  switch (need.kind) {
    case "permission":
    case "questions":
      return `${row.instanceId} ${need.permission.permissionId}`;
    case "dialog":
      return `${row.instanceId} dialog ${need.question} ${need.options.join("\n")}`;
    default:
      return `${row.instanceId} ${need.kind}`;
  }
}

export function needInWords(need: Need): string {
  switch (need.kind) {
    case "permission":
      return `asks for permission: ${need.permission.tool}`;
    case "questions":
      return need.questions.length === 1 ? "asks a question" : `asks ${need.questions.length} questions`;
    case "dialog":
      return "shows a dialog";
    case "held":
      return need.messages === 1 ? "holds back a message" : `holds back ${need.messages} messages`;
    case "limited":
      return "is at its limit";
    case "failed":
      return "failed";
    case "stuck":
      return "cannot go on";
    case "other":
      return "needs somebody";
  }
}

/** Those that need somebody: first who asks, then who cannot go on; of each the longest wait first, so that a new one
 * does not move those before it. */
export function waiting(rows: ReadonlyMap<string, InstanceInfo>, ids: readonly string[]): InstanceInfo[] {
  const found = ids.map((id) => rows.get(id)).filter((row) => row !== undefined);
  const asks = (row: InstanceInfo) => (row.permission || row.dialog ? 0 : 1);
  return found.sort((one, other) => asks(one) - asks(other) || one.since.localeCompare(other.since));
}

/** Claude Code's AskUserQuestion; whatever has another form is shown as any input. */
function questionsOf(given: Json | undefined): Question[] {
  if (!Array.isArray(given)) return [];
  const questions = given.map(questionOf);
  return questions.includes(null) ? [] : (questions as Question[]);
}

function questionOf(given: Json): Question | null {
  if (given === null || typeof given !== "object" || Array.isArray(given)) return null;
  const { question, header, options, multiSelect } = given;
  if (typeof question !== "string" || !Array.isArray(options)) return null;
  const shown = options.flatMap((option) =>
    option !== null && typeof option === "object" && !Array.isArray(option) && typeof option.label === "string"
      ? [{ label: option.label, description: typeof option.description === "string" ? option.description : "" }]
      : [],
  );
  if (shown.length !== options.length) return null;
  return { question, header: typeof header === "string" ? header : "", options: shown, several: multiSelect === true };
}
