/** What callers ask of a container's life, and which of its moves answers them. */

import { describe, type ExitStatus } from '../machines/exit.js';
import type { MovedEvent, Request } from '../machines/intent.js';
import { hasEnded } from '../machines/states.js';
import { CaissonError } from '../spec/errors.js';
import type { Verdict } from './operation.js';

/** Default wait of stop() and reboot() before force, as in Incus (LIF-28), in milliseconds. */
export const DEFAULT_STOP_TIMEOUT = 600_000;

export interface StopOptions {
  /** Milliseconds PID 1 is given to end by itself; 0 kills at once. Default 600 000. */
  readonly timeout?: number;
  /** Kill at once. */
  readonly force?: boolean;
}

export interface RebootOptions {
  /** Milliseconds to wait for the guest's own reboot. Default 600 000. */
  readonly timeout?: number;
  /** After the timeout: kill and start again. */
  readonly force?: boolean;
}

/** How a life ended. */
export interface EndOfLife {
  readonly state: 'stopped' | 'failed';
  readonly exit: ExitStatus | null;
  /** SIGKILL was needed. */
  readonly forced: boolean;
  /** What ended it (LIF-48): our signal to PID 1, the image's own command, force, or the payload itself. Null: nothing
   * ever ran. */
  readonly by: 'signal' | 'command' | 'force' | 'guest' | null;
}

export function stopRequest({ timeout = DEFAULT_STOP_TIMEOUT, force = false }: StopOptions): Request {
  return { type: 'STOP', timeoutMs: timeout, force };
}

export function rebootRequest({ timeout = DEFAULT_STOP_TIMEOUT, force = false }: RebootOptions): Request {
  return { type: 'REBOOT', timeoutMs: timeout, force };
}

type Judge = (move: MovedEvent) => Verdict;

/** What each request waits for; `name` is the container's. */
export const JUDGES = {
  start: name => move => {
    if (move.to === 'running') return { done: move };
    return hasEnded(move.to) ? { error: endedEarly(name, move) } : undefined;
  },
  stop: () => move => {
    if (move.to === 'stopped') return { done: move };
    if (move.to !== 'failed') return undefined;
    // A crash while stopping is still an end; what is not is a cleanup that left something behind.
    return move.error !== undefined && move.error.code !== 'CANCELLED' ? { error: move.error } : { done: move };
  },
  reboot: name => move => {
    if (move.to === 'running' && move.from === 'network') return { done: move };
    if (move.to === 'failed' || (move.to === 'stopped' && move.restartWanted !== true))
      return { error: endedEarly(name, move) };
    return undefined;
  },
  freeze: name => move => {
    if (move.to === 'frozen') return { done: move };
    return move.from === 'freezing' ? { error: endedEarly(name, move) } : undefined;
  },
  unfreeze: name => move => {
    if (move.to === 'running') return { done: move };
    return move.from === 'thawing' ? { error: endedEarly(name, move) } : undefined;
  },
} as const satisfies Record<string, (name: string) => Judge>;
export type RequestName = keyof typeof JUDGES;

/** Why whoever waits for more of this life waits in vain. */
export function endedEarly(name: string, move: MovedEvent): CaissonError {
  if (move.error !== undefined) return move.error;
  const overtaken = move.reason === 'kill' || move.reason === 'stop';
  if (move.exit !== undefined && !overtaken)
    return new CaissonError('PAYLOAD_FAILED', `${name}: PID 1 ${describe(move.exit)}`);
  return new CaissonError('CANCELLED', `${name} became ${move.to} (${move.reason})`);
}
