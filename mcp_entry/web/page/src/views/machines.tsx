/** The machines of the team: how busy they are, and what is free. */

import type { HostFigures } from "../wire.ts";
import { Line } from "./parts.tsx";

export function Machines({ hosts }: { hosts: readonly HostFigures[] }) {
  return (
    <section aria-label="Machines">
      <div class="scrolled" tabIndex={0} role="group" aria-label="Machines">
        <table class="figures">
          <caption>Machines</caption>
          <thead>
            <tr>
              <th scope="col">Host</th>
              <th scope="col" class="right">
                Instances
              </th>
              <th scope="col">Cores busy</th>
              <th scope="col" class="right minor">
                Load
              </th>
              <th scope="col">Memory used</th>
              <th scope="col" class="right">
                Disk free
              </th>
            </tr>
          </thead>
          <tbody>
            {hosts.map((host) => (
              <tr key={host.host}>
                <th scope="row">
                  <Line text={host.host} />
                </th>
                <td class="right">
                  {host.instances}
                  {host.slots != null && ` of ${host.slots}`}
                </td>
                <td>
                  <Part part={host.cpuBusy} words={`of ${host.cpus}`} />
                </td>
                <td class="right minor">{host.load.toFixed(1)}</td>
                <td>
                  <Part
                    part={1 - host.memoryAvailableMb / Math.max(1, host.memoryTotalMb)}
                    words={`of ${(host.memoryTotalMb / 1_000).toFixed(1)} GB`}
                  />
                </td>
                <td class="right">{(host.diskAvailableMb / 1_000).toFixed(1)} GB</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Part({ part, words }: { part: number; words: string }) {
  const percent = Math.round(100 * Math.min(1, Math.max(0, part)));
  return (
    <span class="context">
      <span class={`bar ${percent > 90 ? "full" : ""}`} aria-hidden="true">
        <span style={{ width: `${percent}%` }} />
      </span>
      <span class="number">
        {percent}% {words}
      </span>
    </span>
  );
}

