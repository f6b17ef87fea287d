/** Pauses between tries; pure. */

const FIRST_MS = 1_000;
const LONGEST_MS = 30_000;

/** How long a view waits after so many failures in a row before it reads again. */
export function pauseMs(failures: number): number {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.max(0, failures - 1));
}
