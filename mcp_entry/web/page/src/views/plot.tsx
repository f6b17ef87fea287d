/** A small plot of one series over a time, with its figures in words and as a table. */

import { useState } from "preact/hooks";

import { bars, type Series } from "../history.ts";
import { clock, hour } from "../text.ts";

const WIDTH = 300;
const HEIGHT = 56;
const MOST_ROWS = 200;

export function Plot({ drawn, fromMs, untilMs }: { drawn: Series; fromMs: number; untilMs: number }) {
  const [open, setOpen] = useState(false);
  const { name, inWords, highest, latest, points } = drawn;
  const words =
    latest === null ? `${name}: nothing in this time` : `${name}: latest ${inWords(latest)}, highest ${inWords(highest)}`;
  return (
    <figure class="plot">
      <figcaption>
        <span>{name}</span>
        <span class="number">{latest === null ? "–" : inWords(latest)}</span>
      </figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={words}>
        <line x1="0" y1={HEIGHT - 0.5} x2={WIDTH} y2={HEIGHT - 0.5} />
        {bars(drawn, fromMs, untilMs).map((bar, index) => (
          <rect
            key={index}
            x={bar.x * WIDTH}
            width={Math.max(1, bar.width * WIDTH - 0.5)}
            y={HEIGHT - bar.height * (HEIGHT - 2)}
            height={bar.height * (HEIGHT - 2)}
          />
        ))}
      </svg>
      <div class="axis">
        <span>{hour(fromMs)}</span>
        {highest > 0 && <span>highest {inWords(highest)}</span>}
        <span>{hour(untilMs)}</span>
      </div>
      {points.length > 0 && (
        <details open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
          <summary class="hint">As a table</summary>
          {open && (
            <table>
              <thead>
                <tr>
                  <th scope="col">From</th>
                  <th scope="col">{name}</th>
                </tr>
              </thead>
              <tbody>
                {points.slice(-MOST_ROWS).map((point) => (
                  <tr key={point.fromMs}>
                    <td>{clock(new Date(point.fromMs).toISOString())}</td>
                    <td>{inWords(point.value)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </details>
      )}
    </figure>
  );
}
