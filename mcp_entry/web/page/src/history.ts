/** The kept history of the team as series that can be drawn; pure. */

import type { HistoryPoint } from "./wire.ts";

export interface Series {
  name: string;
  /** How a value is told, with its unit. */
  inWords: (value: number) => string;
  points: Point[];
  highest: number;
  /** Of the points in which something happened. */
  latest: number | null;
}

export interface Point {
  fromMs: number;
  untilMs: number;
  value: number;
}

/** Times in which nothing happened are left out of the history: nothing is drawn there. */
export function series(
  history: readonly HistoryPoint[],
  name: string,
  valueOf: (point: HistoryPoint) => number | null,
  inWords: (value: number) => string,
): Series {
  const points = history.flatMap((point) => {
    const value = valueOf(point);
    const fromMs = Date.parse(point.at);
    return value === null || Number.isNaN(fromMs)
      ? []
      : [{ fromMs, untilMs: fromMs + 1_000 * point.seconds, value }];
  });
  const highest = points.reduce((most, point) => Math.max(most, point.value), 0);
  return { name, inWords, points, highest, latest: points.at(-1)?.value ?? null };
}

export function perMinute(count: number, seconds: number): number {
  return seconds > 0 ? (60 * count) / seconds : 0;
}

export interface Bar {
  /** Parts of the width and height of a plot, 0 to 1. */
  x: number;
  width: number;
  height: number;
}

/** The bars of a plot from `fromMs` to `untilMs`; what lies outside is cut off. */
export function bars(drawn: Series, fromMs: number, untilMs: number): Bar[] {
  const spanMs = untilMs - fromMs;
  if (spanMs <= 0 || drawn.highest <= 0) return [];
  return drawn.points.flatMap((point) => {
    const left = Math.max(fromMs, point.fromMs);
    const right = Math.min(untilMs, point.untilMs);
    if (right <= left || point.value <= 0) return [];
    return [{ x: (left - fromMs) / spanMs, width: (right - left) / spanMs, height: point.value / drawn.highest }];
  });
}
