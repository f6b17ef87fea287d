/** The team over time: its score with the reasons, alerts, what is recommended, plots and figures, and the settings. */

import { useEffect, useState } from "preact/hooks";

import { perMinute, series } from "../history.ts";
import { usedTokens } from "../order.ts";
import { call, inWords } from "../server.ts";
import { attempt, hrefOf, nameOf, team } from "../store.ts";
import { milliseconds, shortNumber, spares } from "../text.ts";
import type { HistoryPoint, Latency, PerformanceResult, Recommendation } from "../wire.ts";
import { Clock, Line } from "./parts.tsx";
import { Machines } from "./machines.tsx";
import { Plot } from "./plot.tsx";
import { SettingsForm } from "./settings.tsx";

const WINDOWS: readonly [number, string][] = [
  [300, "5 minutes"],
  [3_600, "an hour"],
  [86_400, "a day"],
];
const LOOK_EVERY_MS = 10_000;

export function OverTime() {
  const [windowSeconds, setWindow] = useState(300);
  const [found, setFound] = useState<{ result: PerformanceResult; atMs: number } | null>(null);
  const [error, setError] = useState("");
  const [asked, setAsked] = useState(0);

  useEffect(() => {
    let isWanted = true;
    const look = async () => {
      if (document.hidden) return;
      try {
        const result = await call<PerformanceResult>("get_performance", { windowSeconds });
        if (!isWanted) return;
        setFound({ result, atMs: Date.now() });
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
  }, [windowSeconds, asked]);

  return (
    <div class="over-time">
      <div class="view-head">
        <h2>Over time</h2>
        <div class="chips" role="group" aria-label="How far back">
          {WINDOWS.map(([seconds, words]) => (
            <button
              type="button"
              key={seconds}
              class="chip"
              aria-pressed={seconds === windowSeconds}
              onClick={() => setWindow(seconds)}
            >
              {words}
            </button>
          ))}
        </div>
      </div>
      {error && <p class="warning">The figures cannot be read: {error}</p>}
      {!found && !error && <p class="calm">Reading…</p>}
      {found && (
        <>
          <Score result={found.result} changed={() => setAsked(asked + 1)} />
          <Plots result={found.result} atMs={found.atMs} />
          <Figures result={found.result} />
          <TokensUsed />
          <Machines hosts={found.result.metrics.hosts} />
          <SettingsForm
            settings={found.result.settings}
            recommended={found.result.recommendations}
            changed={() => setAsked(asked + 1)}
          />
        </>
      )}
    </div>
  );
}

function Score({ result, changed }: { result: PerformanceResult; changed: () => void }) {
  const { score, lost, alerts } = result.performance;
  const hidden = new Set(lost.map((each) => each.reason));
  return (
    <section class="score-section" aria-label="Score">
      <p class={`score ${score >= 80 ? "well" : score >= 50 ? "fair" : "bad"}`}>
        <strong>{score}</strong> of 100
      </p>
      <div class="reasons">
        {lost.length === 0 && alerts.length === 0 && <p class="hint">All is well.</p>}
        <ul class="plain">
          {lost.map(({ points, reason }) => (
            <li key={reason}>
              <span class={`points ${severityOf(result, reason)}`}>−{points}</span>
              <Line text={reason} class="whole" />
            </li>
          ))}
          {alerts
            .filter((alert) => !hidden.has(alert.message))
            .map((alert) => (
              <li key={`${alert.code} ${alert.message}`}>
                <span class={`points ${alert.severity}`}>{alert.severity}</span>
                <Line text={alert.message} class="whole" />
              </li>
            ))}
        </ul>
        {result.recommendations.length > 0 && (
          <>
            <h3>Recommended</h3>
            <ul class="plain">
              {result.recommendations.map((each) => (
                <Recommended key={each.suggestion} recommendation={each} changed={changed} />
              ))}
            </ul>
          </>
        )}
        {result.auto.slice(-3).map((step) => (
          <p key={step.at} class="hint">
            <Clock at={step.at} /> the spawn cap went from {step.before} to {step.after} by itself:{" "}
            <Line text={step.reason} class="whole" />
          </p>
        ))}
      </div>
    </section>
  );
}

function severityOf(result: PerformanceResult, reason: string): string {
  return result.performance.alerts.find((alert) => alert.message === reason)?.severity ?? "info";
}

function Recommended({ recommendation, changed }: { recommendation: Recommendation; changed: () => void }) {
  const [busy, setBusy] = useState(false);
  const { setting, value, suggestion, impact, priority } = recommendation;
  const isApplicable = setting != null && value != null;
  const apply = async () => {
    if (!isApplicable) return;
    setBusy(true);
    await attempt({ failed: "The setting was not changed", whether: "the setting was changed" }, async () => {
      await call("optimize_settings", { [setting]: value });
      return `${setting} is ${value} now.`;
    });
    setBusy(false);
    changed();
  };
  return (
    <li>
      <span class={`points priority-${priority}`}>{priority}</span>
      <span class="advice">
        <Line text={suggestion} class="whole" /> <Line text={impact} class="whole hint" />
      </span>
      {isApplicable && (
        <button type="button" disabled={busy} onClick={() => void apply()}>
          Set {setting} to {value}
        </button>
      )}
    </li>
  );
}

function Plots({ result, atMs }: { result: PerformanceResult; atMs: number }) {
  const { history } = result;
  const fromMs = atMs - 1_000 * result.metrics.windowSeconds;
  const rate = (value: number) => `${value < 10 ? value.toFixed(1).replace(/\.0$/, "") : Math.round(value)} a minute`;
  const counted = (name: string, of: (point: HistoryPoint) => number) =>
    series(history, name, (point) => perMinute(of(point), point.seconds), rate);
  const timed = (name: string, of: (point: HistoryPoint) => number) =>
    series(history, name, (point) => of(point) || null, milliseconds);
  const drawn = [
    counted("Spawns", (point) => point.spawns),
    counted("Spawns that failed", (point) => point.spawnsFailed),
    timed("Time of a spawn", (point) => point.avgSpawnTime),
    counted("Messages", (point) => point.messages),
    timed("Time to the proof of a message", (point) => point.avgMessageTime),
    counted("Git operations", (point) => point.gitOps),
    counted("Answers of git from the cache", (point) => point.cacheHits),
  ];
  return (
    <section class="plots" aria-label="History">
      {drawn.map((each) => (
        <Plot key={each.name} drawn={each} fromMs={fromMs} untilMs={atMs} />
      ))}
    </section>
  );
}

function Figures({ result }: { result: PerformanceResult }) {
  const { spawns, messages, git, cache, queues, pools, store, calls } = result.metrics;
  return (
    <section class="two" aria-label="Figures">
      <div class="scrolled" tabIndex={0} role="group" aria-label="Times">
        <table class="figures">
          <caption>Times</caption>
          <thead>
            <tr>
              <th scope="col">Of</th>
              {["Count", "Average", "Half within", "95 % within", "Longest"].map((each) => (
                <th key={each} scope="col" class="right">
                  {each}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            <Times name="a spawn" times={spawns.time} />
            <Times name="waiting to be spawned" times={spawns.wait} />
            <Times name="a message, to its proof" times={messages.time} />
            <Times name="a git operation" times={git.time} />
            <Times name="a write of the state" times={store.write} />
            <Times name="a call" times={calls} />
          </tbody>
        </table>
      </div>
      <table class="figures">
        <caption>In this time, and now</caption>
        <tbody>
          <Figure
            name="Spawns"
            words={`${spawns.total}, ${spawns.failed} failed, ${spawns.fromPool} from the pool; ${queues.spawn.running} of ${queues.spawn.limit} run, ${queues.spawn.pending} wait`}
          />
          <Figure
            name="Messages"
            words={`${messages.total}, ${messages.delivered} proved in ${messages.turns} turns, ${messages.failed} failed, ${messages.unconfirmed} unconfirmed; ${messages.pending} on their way`}
          />
          <Figure
            name="Git"
            words={`${git.total}, ${git.failed} failed, ${git.retries} tried again; ${queues.git.running} of ${queues.git.limit} run, ${queues.git.pending} wait`}
          />
          <Figure
            name="Cache"
            words={`${Math.round(100 * cache.hitRate)} % hits (${cache.hits} of ${cache.hits + cache.misses}), ${cache.size} of ${cache.limit} kept`}
          />
          <Figure name="Spare agents" words={spares(pools.instances)} />
          <Figure name="Spare worktrees" words={spares(pools.worktrees)} />
          <Figure name="State" words={`${store.mode}${store.warning ? `; ${store.warning}` : ""}`} />
        </tbody>
      </table>
    </section>
  );
}

function Times({ name, times }: { name: string; times: Latency }) {
  const told = (value: number) => (times.count > 0 ? milliseconds(value) : "–");
  return (
    <tr>
      <th scope="row">{name}</th>
      <td class="right">{times.count}</td>
      <td class="right">{told(times.avg)}</td>
      <td class="right">{told(times.p50)}</td>
      <td class="right">{told(times.p95)}</td>
      <td class="right">{told(times.max)}</td>
    </tr>
  );
}

function Figure({ name, words }: { name: string; words: string }) {
  return (
    <tr>
      <th scope="row">{name}</th>
      <td>
        <Line text={words} class="whole" />
      </td>
    </tr>
  );
}

const MOST_USERS = 8;

function TokensUsed() {
  const rows = [...team.value.rows.values()];
  const sum = (key: "input" | "output" | "cacheRead" | "cacheCreation") =>
    rows.reduce((total, row) => total + row.tokens[key], 0);
  const users = rows.filter((row) => usedTokens(row) > 0).sort((one, other) => usedTokens(other) - usedTokens(one));
  const most = users[0] ? usedTokens(users[0]) : 1;
  return (
    <section aria-label="Tokens">
      <h3>Tokens</h3>
      <p>
        {shortNumber(sum("input"))} in, {shortNumber(sum("output"))} out, {shortNumber(sum("cacheCreation"))} written to
        the cache, {shortNumber(sum("cacheRead"))} read from it, by all that run now.
      </p>
      <ol class="plain users">
        {users.slice(0, MOST_USERS).map((row) => (
          <li key={row.instanceId}>
            <a href={hrefOf(row.instanceId)}>
              <Line text={nameOf(row)} />
            </a>
            <span class="bar long" aria-hidden="true">
              <span style={{ width: `${(100 * usedTokens(row)) / most}%` }} />
            </span>
            <span class="number">{shortNumber(usedTokens(row))}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}
