/** Caisson: run and supervise Linux system containers from inside a Node.js process. */

export type { AutostartOutcome } from './machines/autostart.js';
export { describe as describeExit, type ExitStatus } from './machines/exit.js';
export { GROUP_STATES, type GroupState } from './machines/group-memory.js';
export type { Health } from './machines/probing.js';
export { type Initiator, type Reason, STATES, type StateName } from './machines/states.js';
export { explain, explainJSON } from './plan/explain.js';
export type { HostFacts } from './plan/facts.js';
export type { Plan, Step } from './plan/step.js';
export type { ContainerSpec } from './spec/container.js';
export { CaissonError, ERROR_CODES, type ErrorCode } from './spec/errors.js';
export type { NotifyFields, NotifyState } from './spec/notify.js';
export type { GroupInput, GroupSpec, RestartType, Strategy } from './spec/schema/group.js';
export type { ContainerSpecInput } from './spec/schema.js';
export { type StatsRates, statsRates } from './spec/stats/rates.js';
export type {
  ContainerStats,
  CpuStats,
  IoStats,
  LinkCounters,
  MemoryDetail,
  MemoryStats,
  NetworkStats,
  Pressure,
  Stall,
  StatsPart,
} from './spec/stats/types.js';
export type { ContainerEvents } from './supervisor/announcer.js';
export type { ShutdownOutcome } from './supervisor/boot.js';
export type { Console, ConsoleChunk, ConsoleReadOptions } from './supervisor/console.js';
export type { LogsOptions } from './supervisor/console-log/reader.js';
export { Container } from './supervisor/container.js';
export type { CaissonEvent } from './supervisor/events.js';
export type { ExecExit, ExecOutput, ExecProcess } from './supervisor/exec.js';
export type { ExecOptions, ExecUser } from './supervisor/exec-options.js';
export { Group } from './supervisor/group.js';
export { type Inspection, inspect } from './supervisor/inspect.js';
export type { JournalOptions } from './supervisor/journal/journal.js';
export type { Warning } from './supervisor/keeping.js';
export type { LastStart } from './supervisor/life.js';
export type { MountOptions } from './supervisor/mounts.js';
export type { StartOptions } from './supervisor/readiness.js';
export type { ReportEntry, StartReport } from './supervisor/report.js';
export type { EndOfLife, RebootOptions, StopOptions } from './supervisor/requests.js';
export type { PendingRestart } from './supervisor/restarter.js';
export type { StatsOptions, StatsSample, WatchStatsOptions } from './supervisor/stats.js';
export { type CreateInput, type CreateOptions, Supervisor, type SupervisorOptions } from './supervisor/supervisor.js';
export type { SyslogMessage } from './supervisor/syslog.js';
export { TEMPLATES, type TemplateName } from './supervisor/templates.js';
export type { TimelineEntry } from './supervisor/timeline.js';
export type { ContainerUpdate } from './supervisor/update.js';
