/** The settings that can change while the team runs, with profiles and what is recommended. */

import { useState } from "preact/hooks";

import { call } from "../server.ts";
import { attempt } from "../store.ts";
import type { Recommendation, TunedSettings } from "../wire.ts";

type NumberSetting = Exclude<keyof TunedSettings, "auto">;

/** As `optimize_settings` names them, with the range that it takes. */
const FIELDS: readonly { key: NumberSetting; label: string; unit: string; min: number; max: number }[] = [
  { key: "maxConcurrentSpawns", label: "Spawns at once", unit: "", min: 1, max: 100 },
  { key: "maxConcurrentGitOps", label: "Git operations at once", unit: "", min: 1, max: 100 },
  { key: "messageBatchSize", label: "Messages in one turn", unit: "", min: 1, max: 1_000 },
  { key: "messageBatchDelay", label: "Wait for more messages", unit: "ms", min: 0, max: 60_000 },
  { key: "cacheSize", label: "Answers of git kept", unit: "", min: 0, max: 100_000 },
  { key: "cacheTTL", label: "How long they are kept", unit: "ms", min: 0, max: 86_400_000 },
  { key: "worktreePoolSize", label: "Spare worktrees for each repository", unit: "", min: 0, max: 500 },
  { key: "prewarmInstances", label: "Spare agents", unit: "", min: 0, max: 500 },
];

const PROFILES: readonly [string, string][] = [
  ["small", "small: up to 10 instances"],
  ["medium", "medium: up to 50"],
  ["large", "large: up to 100"],
  ["very-large", "very large: more"],
];

export function SettingsForm({
  settings,
  recommended,
  changed,
}: {
  settings: TunedSettings;
  recommended: readonly Recommendation[];
  changed: () => void;
}) {
  /** What a person has entered and not saved; all else follows the team. */
  const [entered, setEntered] = useState<Partial<Record<NumberSetting, string>>>({});
  const [auto, setAuto] = useState<boolean | null>(null);
  const [profile, setProfile] = useState("");
  const [busy, setBusy] = useState(false);

  const tune = async (request: object, words: string) => {
    setBusy(true);
    const deed = { failed: "The settings were not changed", whether: "the settings were changed" };
    const outcome = await attempt(deed, async () => {
      await call("optimize_settings", request);
      return words;
    });
    if (outcome === "done") {
      setEntered({});
      setAuto(null);
      setProfile("");
    }
    setBusy(false);
    changed();
  };

  const given = Object.fromEntries(
    Object.entries(entered)
      .filter(([key, text]) => text.trim() !== "" && Number(text) !== settings[key as NumberSetting])
      .map(([key, text]) => [key, Number(text)]),
  );
  const isAutoChanged = auto !== null && auto !== settings.auto;
  const isChanged = Object.keys(given).length > 0 || isAutoChanged;

  return (
    <section class="settings" aria-labelledby="settings-heading">
      <h3 id="settings-heading">Settings</h3>
      <p class="hint">They hold at once, and for the next team in this home.</p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (isChanged) void tune({ ...given, ...(isAutoChanged ? { auto } : {}) }, "The settings were changed.");
        }}
      >
        <div class="fields">
          {FIELDS.map(({ key, label, unit, min, max }) => {
            const advice = recommended.find((each) => each.setting === key && each.value != null);
            return (
              <label key={key}>
                <span>
                  {label}
                  {unit && ` (${unit})`}
                </span>
                <input
                  type="number"
                  min={min}
                  max={max}
                  step={unit ? "any" : 1}
                  required
                  value={entered[key] ?? String(settings[key])}
                  onInput={(event) => setEntered({ ...entered, [key]: event.currentTarget.value })}
                />
                {advice && <span class="hint">recommended: {advice.value}</span>}
              </label>
            );
          })}
          <label class="check">
            <input
              type="checkbox"
              checked={auto ?? settings.auto}
              onChange={(event) => setAuto(event.currentTarget.checked)}
            />{" "}
            The team finds by itself how many spawns go at once
          </label>
        </div>
        <div class="answers">
          <button type="submit" class="primary" disabled={busy || !isChanged}>
            Change
          </button>
          <button type="button" disabled={busy} onClick={() => void tune({ reset: true }, "All is as at first.")}>
            Take all changes back
          </button>
          <span class="space" />
          <label>
            Profile{" "}
            <select value={profile} onChange={(event) => setProfile(event.currentTarget.value)}>
              <option value="">choose…</option>
              {PROFILES.map(([value, words]) => (
                <option key={value} value={value}>
                  {words}
                </option>
              ))}
            </select>
          </label>
          <button
            type="button"
            disabled={busy || profile === ""}
            onClick={() => void tune({ profile }, `The profile ${profile} holds now.`)}
          >
            Apply
          </button>
        </div>
      </form>
    </section>
  );
}
