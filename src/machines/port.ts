/** The seam between the machine and the world: what a container's executor must be able to do. */
import type { ExitStatus } from './exit.js';
import type { Phase } from './states.js';

export type SignalPurpose = 'halt' | 'reboot';

export interface SignalOutcome {
  /** False: PID 1 neither catches nor blocks the signal, so there is nothing to wait for (LIF-49). */
  readonly sent: boolean;
  readonly signal: string;
  /** Not sent, since the image's own command is known to do what the signal would not (LIF-48). */
  readonly command?: boolean;
}

export interface CommandOutcome {
  /** False: there is no such command, or it has failed. */
  readonly ran: boolean;
  /** In place of it PID 1 was sent its signal after all. */
  readonly sent?: boolean;
}

/**
 * One per container, given to the actor as input. Promises reject with a CaissonError; any other error is wrapped.
 * Every promise must settle in bounded time: the machine waits for them, it puts no timer around them. The
 * AbortSignal fires when nobody waits for the outcome any more (PID 1 is gone, the wait is over, the actor was
 * stopped); it does not fire for a cancelled start, which must still roll back: that is `cancelStart`.
 */
export interface ContainerPort {
  /** Does the work of one phase; rejects only after everything done so far has been rolled back. */
  runPhase(phase: Phase, signal: AbortSignal): Promise<void>;
  /** Makes the phase under way stop; its `runPhase`, or the next one, then rejects with CANCELLED. Must not throw. */
  cancelStart(): void;
  /** PID 1 lives: from now on send EXIT to the actor when it has been reaped. Must not throw. */
  watchPid1(): void;
  /** Asks PID 1 to end. May stay pending (a queued request): the stop's time-out covers it. */
  signal(purpose: SignalPurpose, signal: AbortSignal): Promise<SignalOutcome>;
  /** Runs the image's own command for the same (LIF-48). May stay pending as well. */
  command(purpose: SignalPurpose, signal: AbortSignal): Promise<CommandOutcome>;
  /** Kills everything inside, frozen or not (LIF-29). Rejects with UNKILLABLE when it has itself waited in vain. */
  killAll(signal: AbortSignal): Promise<void>;
  /** Removes what is left of the life that ended: stragglers, cgroups, links, mounts (LIF-20). */
  teardown(exit: ExitStatus, target: TeardownTarget, signal: AbortSignal): Promise<void>;
  /** True when this end, which nobody asked for, would lead to one restart or reboot more than is allowed. Changes nothing. */
  isSpent?(exit: ExitStatus): boolean;
  freeze(signal: AbortSignal): Promise<void>;
  thaw(signal: AbortSignal): Promise<void>;
}

/** Whether the container comes back at once: what `LXC_TARGET` tells the stop hooks (LIF-10). */
export type TeardownTarget = 'stop' | 'reboot';
