/** When a view reads again what could not be read: after growing pauses, and at once when the connection is back. */

import { useEffect, useRef, useState } from "preact/hooks";

import { pauseMs } from "../pauses.ts";
import { connection } from "../store.ts";

export interface Retry {
  /** Another number whenever it is to be read again. */
  round: number;
  failed(): void;
  succeeded(): void;
}

/** For one thing that a view reads. Nothing is read again once the view is gone. */
export function useRetry(): Retry {
  const [round, setRound] = useState(0);
  const failures = useRef(0);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const isLive = connection.value.state === "live";

  const again = () => {
    clearTimeout(timer.current);
    setRound((before) => before + 1);
  };
  useEffect(() => {
    if (isLive && failures.current > 0) again();
  }, [isLive]);
  useEffect(() => () => clearTimeout(timer.current), []);
  return {
    round,
    failed() {
      failures.current += 1;
      clearTimeout(timer.current);
      timer.current = setTimeout(again, pauseMs(failures.current));
    },
    succeeded() {
      failures.current = 0;
      clearTimeout(timer.current);
    },
  };
}
