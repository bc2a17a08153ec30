/** What the routes work with. */
import type { Logger } from 'pino';
import type { Supervisor } from '../supervisor/supervisor.js';
import type { Metrics } from './metrics.js';
import type { Tokens } from './tokens.js';

export interface Service {
  readonly supervisor: Supervisor;
  readonly tokens: Tokens;
  readonly metrics: Metrics;
  readonly logger: Logger | null;
  readonly version: string;
  /** When the daemon began, ms since the epoch. */
  readonly since: number;
  /** Aborts when the daemon ends. */
  readonly closing: AbortSignal;
  /** Milliseconds between two signs of life on a quiet stream. */
  readonly heartbeat: number;
  /** Milliseconds that a reader of events may leave unread what was written. */
  readonly patience: number;
}
