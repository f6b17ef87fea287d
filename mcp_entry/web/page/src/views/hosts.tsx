/** The machines of the team, and taking one out of use. */

import { useEffect, useState } from "preact/hooks";

import { call, inWords } from "../server.ts";
import { attempt, team } from "../store.ts";
import { count, oneLine } from "../text.ts";
import type { HostFigures, HostInfo, PerformanceResult } from "../wire.ts";
import { Machines } from "./machines.tsx";
import { Line, Modal } from "./parts.tsx";

const LOOK_EVERY_MS = 5_000;

interface DrainResult {
  drained: boolean;
  remaining: { instanceId: string; why: string }[];
}

export function Hosts() {
  const [hosts, setHosts] = useState<HostInfo[] | null>(null);
  const [error, setError] = useState("");
  /** The machine of a team that is on one, which has no hosts to drain. */
  const [single, setSingle] = useState<HostFigures[] | null>(null);
  const [asked, setAsked] = useState(0);
  const [draining, setDraining] = useState<HostInfo | null>(null);

  useEffect(() => {
    let isWanted = true;
    const look = async () => {
      if (document.hidden) return;
      try {
        const { metrics } = await call<PerformanceResult>("get_performance", {});
        const isOne = metrics.hosts.every((host) => host.slots == null);
        const found = isOne ? null : (await call<{ hosts: HostInfo[] }>("hosts", {})).hosts;
        if (!isWanted) return;
        setSingle(isOne ? metrics.hosts : null);
        setHosts(found);
        setError("");
      } catch (failed) {
        if (isWanted) setError(inWords(failed));
      }
    };
    void look();
    const timer = setInterval(() => void look(), LOOK_EVERY_MS);
    return () => {
      isWanted = false;
      clearInterval(timer);
    };
  }, [asked]);

  const drain = (host: HostInfo, undo: boolean) => {
    const deed = undo ? "put into use" : "drained";
    const told = { failed: `${host.host} was not ${deed}`, whether: `${host.host} was ${deed}` };
    return attempt(told, async () => {
      const result = await call<DrainResult>("drain", { host: host.host, undo, wait: false });
      setAsked(asked + 1);
      if (undo) return `${host.host} is in use again.`;
      const left = result.remaining.length;
      return `Nothing new is placed on ${host.host}.${left > 0 ? ` ${count(left, "instance")} will go to others.` : ""}`;
    });
  };

  return (
    <section aria-labelledby="hosts-heading">
      <h2 id="hosts-heading">Hosts</h2>
      {error && <p class="warning">The hosts cannot be read: {error}</p>}
      {single && (
        <>
          <p class="calm">
            The team is on one machine. A team that is brought up with <code>PHALANX_RAY_ADDRESS</code> set uses all hosts
            of the Ray cluster at that address.
          </p>
          <Machines hosts={single} />
        </>
      )}
      {!hosts && !error && !single && <p class="calm">Reading…</p>}
      {hosts && (
        <div class="scrolled" tabIndex={0} role="group" aria-label="Hosts">
          <table class="figures hosts">
            <thead>
              <tr>
                <th scope="col">Host</th>
                <th scope="col" class="minor">Address</th>
                <th scope="col">Status</th>
                <th scope="col">Instances</th>
                <th scope="col" class="minor">Labels</th>
                <th scope="col">
                  <span class="visually-hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {hosts.map((host) => (
                <tr key={host.host}>
                  <th scope="row">
                    <Line text={host.host} />
                    {host.supervisor && <span class="chip">supervisor</span>}
                  </th>
                  <td class="minor">
                    <Line text={host.address} class="path" />
                  </td>
                  <td
                    class={`host-${host.status}`}
                    title={host.status === "drained" ? "Nothing new is placed there" : undefined}
                  >
                    {host.status}
                  </td>
                  <td>
                    <span class="context">
                      <span class="bar" aria-hidden="true">
                        <span style={{ width: `${(100 * host.instances) / Math.max(1, host.slots)}%` }} />
                      </span>
                      <span class="number">
                        {host.instances} of {host.slots}
                      </span>
                    </span>
                  </td>
                  <td class="minor">
                    <Line
                      text={Object.entries(host.labels)
                        .map(([name, value]) => `${name}=${value}`)
                        .join(", ")}
                    />
                  </td>
                  <td>
                    {host.status === "drained" ? (
                      <button type="button" onClick={() => void drain(host, true)}>
                        Put into use
                      </button>
                    ) : (
                      hosts.length > 1 && (
                        <button type="button" onClick={() => setDraining(host)}>
                          Drain…
                        </button>
                      )
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {draining && (
        <Modal title={`Drain ${oneLine(draining.host)}?`} close={() => setDraining(null)}>
          <p>
            Nothing new is placed there. {count(instancesOn(draining.host), "instance")} there will go to other hosts, each
            when its turn is done, with its conversation and work.
          </p>
          <div class="answers">
            <button
              type="button"
              class="danger"
              onClick={() => {
                void drain(draining, false);
                setDraining(null);
              }}
            >
              Drain
            </button>
            <button type="button" class="first-focus" onClick={() => setDraining(null)}>
              Keep it in use
            </button>
          </div>
        </Modal>
      )}
    </section>
  );
}

function instancesOn(host: string): number {
  return [...team.value.rows.values()].filter((row) => row.host === host).length;
}
