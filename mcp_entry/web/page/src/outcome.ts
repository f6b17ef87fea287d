/** What became of something that a person asked for; pure.
 *
 * A call whose answer did not come may have been done all the same: the page says that this is not known, and never that
 * nothing was done. A message that is sent again has its request id again, by which the team knows it.
 */

import { CallError, inWords } from "./server.ts";

export interface Deed {
  /** As it is told when it was certainly not done: "worker was not restarted". */
  failed: string;
  /** What is not known while no answer has come: "worker was restarted". Left out for what changes nothing. */
  whether?: string;
  /** What to do while it is not known. */
  then?: string;
}

const LOOK_FIRST = "Look before you do it again.";

/** Whether it may have been done although it failed. */
export function isUnknown(error: unknown): boolean {
  if (!(error instanceof CallError)) return false;
  const neverArrived = error.code === "team_not_running";
  return !neverArrived && (error.status === 0 || error.status >= 500);
}

export function failureInWords(error: unknown, { failed, whether, then = LOOK_FIRST }: Deed): string {
  const words = inWords(error);
  return whether && isUnknown(error) ? `It is not known whether ${whether}: ${words} ${then}` : `${failed}: ${words}`;
}

/** The request ids of messages. One belongs to one text for one instance until it is known what became of it. */
export class RequestIds {
  private readonly ids = new Map<string, string>();

  constructor(private readonly make: () => string = () => crypto.randomUUID()) {}

  of(instanceId: string, text: string): string {
    const key = keyOf(instanceId, text);
    const id = this.ids.get(key) ?? this.make();
    this.ids.set(key, id);
    return id;
  }

  /** The team has answered: the same text is another message from now on, and what was refused may be tried anew. */
  settle(instanceId: string, text: string): void {
    this.ids.delete(keyOf(instanceId, text));
  }
}

function keyOf(instanceId: string, text: string): string {
  return `${instanceId}\n${text}`;
}
