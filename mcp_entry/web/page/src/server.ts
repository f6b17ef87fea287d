/** The calls to the endpoint that serves this page. Errors are told in the server's own words. */

import type { JsonObject, WorkOfTeam } from "./wire.ts";

export class CallError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** How long a call may take; one that starts or ends agents or asks git takes longer. */
const LIMITS_MS: Readonly<Record<string, number>> = {
  restart: 900_000,
  recycle: 900_000,
  terminate: 300_000,
  git_batch: 900_000,
};
const OTHER_LIMIT_MS = 120_000;
const WORK_LIMIT_MS = 30_000;

export function limitMs(verb: string): number {
  return LIMITS_MS[verb] ?? OTHER_LIMIT_MS;
}

/** The result of one verb. Raises `CallError`; status 0 when no answer came, so that the outcome is not known. */
export async function call<ResultT>(verb: string, request: object): Promise<ResultT> {
  return (await answered(`/api/call/${verb}`, limitMs(verb), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(request),
  })) as ResultT;
}

export async function readWork(): Promise<WorkOfTeam> {
  return (await answered("/api/work", WORK_LIMIT_MS)) as WorkOfTeam;
}

async function answered(path: string, patienceMs: number, init: RequestInit = {}): Promise<unknown> {
  let response: Response;
  let body: string;
  try {
    response = await fetch(path, { ...init, signal: AbortSignal.timeout(patienceMs), redirect: "error" });
    body = await response.text();
  } catch (error) {
    const isLate = error instanceof DOMException && error.name === "TimeoutError";
    const words = isLate ? `No answer within ${Math.round(patienceMs / 1000)} s.` : "The page's server does not answer.";
    throw new CallError(0, "unreachable", words);
  }
  const answer = parsedJson(body);
  if (response.ok) return answer;
  const told = (answer ?? {}) as JsonObject;
  throw new CallError(
    response.status,
    typeof told.code === "string" ? told.code : "error",
    typeof told.message === "string" ? told.message : `The page's server answered ${response.status}.`,
  );
}

/** Null for what is no JSON. */
export function parsedJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}

export function inWords(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
