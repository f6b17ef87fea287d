/** A tool call in one line; pure. */

import type { Json, JsonObject } from "./wire.ts";

/** Arguments of tools that say most of a call, the best first: as the rows tell it (`actors/instance/activity.py`). */
export const TELLING = [
  "command",
  "file_path",
  "notebook_path",
  "pattern",
  "path",
  "url",
  "query",
  "description",
  "skill",
  "instanceId",
  "message",
  "prompt",
] as const;
const MOST_CHARACTERS = 300;

/** The argument that says most; empty when none is a text. */
export function tellingArgument(input: JsonObject): string {
  const named = TELLING.map((name) => input[name]).find(saysSomething);
  const told = named ?? firstQuestion(input) ?? Object.values(input).find(saysSomething) ?? "";
  return told.slice(0, MOST_CHARACTERS);
}

function saysSomething(value: Json | undefined): value is string {
  return typeof value === "string" && value.trim() !== "";
}

/** Of a call that asks several. */
function firstQuestion({ questions }: JsonObject): string | undefined {
  const first = Array.isArray(questions) ? questions[0] : null;
  const question = first && typeof first === "object" && !Array.isArray(first) ? first.question : undefined;
  return typeof question === "string" ? question : undefined;
}
