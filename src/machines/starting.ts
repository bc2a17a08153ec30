/** The states of a start: one phase each, `network` two, because the exec must have succeeded before `running`. */
import { and, not } from 'xstate';
import { asCaissonError, CaissonError } from '../spec/errors.js';
import type { ContainerContext } from './intent.js';
import { type Because, base, entered } from './setup.js';
import type { Phase } from './states.js';

/** Only the first request cancels: a stop that becomes a kill finds the rollback already under way. */
const cancel = [
  { guard: and([not('wanted'), 'outranks']), actions: ['request', 'cancelStart'] },
  { guard: 'outranks', actions: 'request' },
] as const;
const cancellable = { STOP: cancel, KILL: cancel } as const;

function startFailed(context: ContainerContext, thrown: unknown): Because {
  const error = asCaissonError(thrown);
  if (context.intent === undefined) return { reason: 'phase-failed', error };
  if (error.code === 'CANCELLED') return { reason: 'cancelled', error };
  const { cleanupErrors, step, errno } = error;
  return {
    reason: 'cancelled',
    error: new CaissonError('CANCELLED', `stopped while starting, which had failed: ${error.message}`, {
      cause: error,
      cleanupErrors,
      step,
      errno,
    }),
  };
}

const phaseDone = { type: 'because', params: { reason: 'phase-done' } } as const;

/**
 * A phase that ends well in spite of a cancel goes on to the next, whose work then refuses to begin: no move leads
 * out of a start but onwards or to `failed`, and to `failed` only after the rollback.
 */
function work(phase: Phase) {
  return {
    src: 'runPhase',
    id: phase,
    input: ({ context }: { context: ContainerContext }) => ({ port: context.port, phase }),
    onError: {
      target: '#failed',
      actions: {
        type: 'because',
        params: ({ context, event }: { context: ContainerContext; event: { error: unknown } }) =>
          startFailed(context, event.error),
      },
    },
  } as const;
}

export const creating = base.createStateConfig({
  id: 'creating',
  entry: entered('creating'),
  on: cancellable,
  invoke: { ...work('creating'), onDone: { target: 'mounting', actions: phaseDone } },
});

export const mounting = base.createStateConfig({
  entry: entered('mounting'),
  on: cancellable,
  invoke: { ...work('mounting'), onDone: { target: 'devices', actions: phaseDone } },
});

export const devices = base.createStateConfig({
  entry: entered('devices'),
  on: cancellable,
  invoke: { ...work('devices'), onDone: { target: 'network', actions: phaseDone } },
});

export const network = base.createStateConfig({
  entry: entered('network'),
  on: cancellable,
  initial: 'linking',
  states: {
    linking: { invoke: { ...work('network'), onDone: 'executing' } },
    executing: { invoke: { ...work('running'), onDone: { target: '#running', actions: [phaseDone, 'watchPid1'] } } },
  },
});
