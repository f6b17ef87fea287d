/** A terminal's screen as spans. It only draws; who follows the screen gives it. */

import type { CSSProperties } from "preact";
import { useMemo } from "preact/hooks";

import { legible } from "../contrast.ts";
import { parseScreen, type Run } from "../sgr.ts";
import type { ScreenResult } from "../wire.ts";

/** `--t-page` of the style sheet. */
const TERMINAL_PAGE = "#16181d";

/** `lastRows`: only the last rows that hold something, for a look in a small place. */
export function Screen({ screen, lastRows }: { screen: ScreenResult; lastRows?: number }) {
  const rows = useMemo(() => parseScreen(screen.lines), [screen]);
  const shown = lastRows === undefined ? rows : lastFilled(rows, lastRows);
  const cursor = lastRows === undefined ? screen.cursor : null;
  return (
    <div class="screen" style={{ "--columns": String(screen.columns) }}>
      {shown.map((runs, index) => (
        <div key={index} class="screen-row">
          {runs.length === 0 ? "\u00a0" : runs.map((run, at) => <RunOf key={at} run={run} />)}
        </div>
      ))}
      {cursor && <span class="cursor" style={{ left: `${cursor.column}ch`, top: `${cursor.row * 1.3}em` }} />}
    </div>
  );
}

function lastFilled(rows: readonly Run[][], most: number): readonly Run[][] {
  let end = rows.length;
  while (end > 0 && rows[end - 1]?.every((run) => run.text.trim() === "")) end -= 1;
  return rows.slice(Math.max(0, end - most), end);
}

function RunOf({ run }: { run: Run }) {
  const { style } = run;
  const [foreground, background] = style.reverse
    ? [style.background ?? "page", style.foreground ?? "ink"]
    : [style.foreground, style.background];
  const classes = [
    ...(style.bold ? ["bold"] : []),
    ...(style.dim ? ["dim"] : []),
    ...(style.italic ? ["italic"] : []),
    ...(style.underline ? ["underline"] : []),
    ...(style.struck ? ["struck"] : []),
    ...(run.wide ? ["wide"] : []),
  ];
  const css: CSSProperties = {};
  if (foreground !== undefined) css.color = cssColor(legibleOn(background, foreground));
  if (background !== undefined) css.backgroundColor = cssColor(background);
  if (classes.length === 0 && foreground === undefined && background === undefined) return <>{run.text}</>;
  return (
    <span class={classes.join(" ")} style={css}>
      {run.text}
    </span>
  );
}

/** Of the palette the style sheet itself chose legible colors. */
function legibleOn(background: number | string | undefined, foreground: number | string): number | string {
  const under = background ?? TERMINAL_PAGE;
  const areKnown = [under, foreground].every((color) => typeof color === "string" && color.startsWith("#"));
  return areKnown ? legible(String(foreground), String(under)) : foreground;
}

function cssColor(color: number | string): string {
  if (typeof color === "number") return `var(--t${color})`;
  return color.startsWith("#") ? color : `var(--t-${color})`;
}
