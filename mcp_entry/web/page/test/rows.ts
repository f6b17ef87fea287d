/** Rows for tests. */

import type { InstanceInfo } from "../src/wire.ts";

export function row(instanceId: string, changes: Partial<InstanceInfo> = {}): InstanceInfo {
  return {
    instanceId,
    role: "specialist",
    agent: "demo",
    status: "ready",
    since: "2026-11-01T10:00:00.000+00:00",
    needsAttention: false,
    queuedMessages: 0,
    heldMessages: 0,
    unread: 0,
    sessionName: instanceId,
    workspaceMode: "isolated",
    workingDirectory: `/worktrees/${instanceId}`,
    host: "local",
    tokens: { input: 0, output: 0, cacheRead: 0, cacheCreation: 0 },
    ...changes,
  };
}

export function byId(...rows: InstanceInfo[]): ReadonlyMap<string, InstanceInfo> {
  return new Map(rows.map((each) => [each.instanceId, each]));
}
