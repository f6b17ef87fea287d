/** What the team sends and takes, as the supervisor's results and requests name it (`supervisor/api`).
 *
 * Times are ISO 8601 in UTC. A field that may be missing is one that an older or briefer answer leaves out.
 */

export type Status =
  | "starting"
  | "ready"
  | "busy"
  | "waiting_permission"
  | "waiting_input"
  | "rate_limited"
  | "stopped"
  | "failed";
export type Role = "executive" | "manager" | "specialist";
export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };
export type JsonObject = { [name: string]: Json };

export interface Permission {
  permissionId: string;
  tool: string;
  input: JsonObject;
  /** Characters of the input that are not here. */
  leftOut?: number | null;
}

export interface DialogInfo {
  question: string;
  options: string[];
}

export interface Tokens {
  input: number;
  output: number;
  cacheRead: number;
  cacheCreation: number;
  counted?: number | null;
  limit?: number | null;
}

/** Of a branch, against the one that it began from. */
export interface WorkInfo {
  base?: string | null;
  ahead?: number | null;
  behind?: number | null;
  changedFiles?: number | null;
  uncommittedFiles?: number | null;
}

export interface InstanceInfo {
  instanceId: string;
  name?: string | null;
  role: Role;
  parentId?: string | null;
  agent: string;
  status: Status;
  since: string;
  reason?: string | null;
  permission?: Permission | null;
  dialog?: DialogInfo | null;
  needsAttention: boolean;
  queuedMessages: number;
  heldMessages: number;
  unread: number;
  sessionName: string;
  workspaceMode: "isolated" | "shared";
  workingDirectory: string;
  branch?: string | null;
  host: string;
  tokens: Tokens;
  /** What it was last asked, in a line. */
  task?: string | null;
  /** What it does now; when idle, the head of its last answer. */
  activity?: string | null;
  activityAt?: string | null;
  model?: string | null;
  contextTokens?: number | null;
  contextWindow?: number | null;
}

export interface ChangesResult {
  cursor: string;
  complete: boolean;
  instances: InstanceInfo[];
  gone: string[];
  needsAttention: string[];
  warnings: string[];
}

export interface BranchConflict {
  between: string[];
  files: string[];
}

export interface WorkOfTeam {
  instances: { [instanceId: string]: WorkInfo };
  conflicts: BranchConflict[];
}

export interface Alert {
  severity: "info" | "warning" | "error";
  code: string;
  category: string;
  message: string;
}

export interface TeamEvent {
  kind: string;
  at: string;
  number: number;
  instanceId?: string | null;
  name?: string | null;
  parentId?: string | null;
  text: string;
  permissionId?: string | null;
  messageId?: string | null;
  sender?: string | null;
  status?: MessageStatus | null;
  alert?: Alert | null;
}

export type MessageStatus = "accepted" | "blocked" | "submitted" | "unconfirmed" | "failed";

/** A message of Phalanx in an entry of a conversation, with its receipt. */
export interface EntryMessage {
  messageId: string;
  sender?: string | null;
  /** Missing when its receipt is not kept any more. */
  status?: MessageStatus | null;
  exact?: boolean | null;
  changes?: string[] | null;
}

export interface ConversationEntry {
  kind: "question" | "answer" | "tool_call" | "tool_result" | "notice";
  at: string;
  text: string;
  tool?: string | null;
  input?: JsonObject | null;
  leftOut?: number | null;
  full?: string | null;
  messages?: EntryMessage[] | null;
}

export interface ReadResult {
  instanceId: string;
  entries: ConversationEntry[];
  screen?: string | null;
  cursor?: string | null;
  more: boolean;
}

export interface ScreenResult {
  instanceId: string;
  version: string;
  columns: number;
  rows: number;
  /** One a row; of escape sequences they hold SGR only. */
  lines: string[];
  cursor?: { column: number; row: number } | null;
  title: string;
}

export type Key = { text: string } | { key: string };

export interface SendResult {
  success: boolean;
  messageId?: string | null;
  status?: MessageStatus | null;
  reason?: string | null;
}

export interface TerminatedInstance {
  instanceId: string;
  status?: Status | null;
  kept?: string | null;
  savedRef?: string | null;
  error?: { code: string; message: string } | null;
}

export interface TerminateResult {
  success: boolean;
  terminated: TerminatedInstance[];
  stillRunning: string[];
}

export interface DiffResult {
  files: { path: string; added?: number; deleted?: number; binary?: boolean }[];
  patch: string;
  truncated: boolean;
}

export interface GitOutcome {
  success: boolean;
  result?: JsonObject | null;
  error?: { code: string; message: string } | null;
}

export interface Latency {
  count: number;
  avg: number;
  p50: number;
  p95: number;
  p99: number;
  max: number;
}

export interface QueueFigures {
  size: number;
  pending: number;
  running: number;
  limit: number;
}

export interface StockFigures {
  ready: number;
  wanted: number;
  waitsFor?: string | null;
}

export interface HostFigures {
  host: string;
  instances: number;
  slots?: number | null;
  cpus: number;
  cpuBusy: number;
  load: number;
  memoryTotalMb: number;
  memoryAvailableMb: number;
  diskAvailableMb: number;
}

export interface HistoryPoint {
  at: string;
  seconds: number;
  spawns: number;
  spawnsFailed: number;
  avgSpawnTime: number;
  messages: number;
  avgMessageTime: number;
  gitOps: number;
  cacheHits: number;
}

export interface Recommendation {
  category: string;
  priority: "high" | "medium" | "low";
  suggestion: string;
  impact: string;
  setting?: string | null;
  value?: number | null;
}

export interface TunedSettings {
  maxConcurrentSpawns: number;
  maxConcurrentGitOps: number;
  messageBatchSize: number;
  messageBatchDelay: number;
  cacheSize: number;
  cacheTTL: number;
  worktreePoolSize: number;
  prewarmInstances: number;
  auto: boolean;
}

export interface PerformanceResult {
  metrics: {
    windowSeconds: number;
    instances: { total: number; alive: number; byStatus: { [status: string]: number } };
    spawns: { total: number; failed: number; fromPool: number; avgTime: number; time: Latency; wait: Latency };
    messages: {
      total: number;
      delivered: number;
      failed: number;
      unconfirmed: number;
      pending: number;
      turns: number;
      avgBatchSize?: number | null;
      time: Latency;
    };
    git: { total: number; failed: number; retries: number; avgTime: number; time: Latency; wait: Latency };
    cache: { size: number; limit: number; hits: number; misses: number; hitRate: number };
    queues: { spawn: QueueFigures; git: QueueFigures };
    pools: { instances: StockFigures; worktrees: StockFigures };
    store: { mode: string; warning?: string | null; write: Latency };
    calls: Latency;
    hosts: HostFigures[];
  };
  performance: { score: number; lost: { points: number; reason: string }[]; alerts: Alert[] };
  recommendations: Recommendation[];
  settings: TunedSettings;
  auto: { at: string; before: number; after: number; reason: string }[];
  history: HistoryPoint[];
}

export interface HostInfo {
  host: string;
  address: string;
  status: "up" | "drained" | "away";
  instances: number;
  slots: number;
  supervisor: boolean;
  labels: { [name: string]: string };
}
