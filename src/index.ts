/** Caisson: run and supervise Linux system containers from inside a Node.js process. */
export { describe as describeExit, type ExitStatus } from './machines/exit.js';
export { type Initiator, type Reason, STATES, type StateName } from './machines/states.js';
export { explain, explainJSON } from './plan/explain.js';
export type { HostFacts } from './plan/facts.js';
export type { Plan, Step } from './plan/step.js';
export type { ContainerSpec } from './spec/container.js';
export { CaissonError, ERROR_CODES, type ErrorCode } from './spec/errors.js';
export type { ContainerSpecInput } from './spec/schema.js';
export type { ContainerEvents } from './supervisor/announcer.js';
export type { Console, ConsoleChunk, ConsoleReadOptions } from './supervisor/console.js';
export { Container } from './supervisor/container.js';
export type { CaissonEvent } from './supervisor/events.js';
export type { MountOptions } from './supervisor/mounts.js';
export type { ReportEntry, StartReport } from './supervisor/report.js';
export type { EndOfLife, RebootOptions, StopOptions } from './supervisor/requests.js';
export { type CreateInput, Supervisor, type SupervisorOptions } from './supervisor/supervisor.js';
export { TEMPLATES, type TemplateName } from './supervisor/templates.js';
export type { TimelineEntry } from './supervisor/timeline.js';
