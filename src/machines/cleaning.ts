/** PID 1 is gone: the teardown, on the way to `stopped` or `failed`, or by reboot to the next life. */
import { asCaissonError, CaissonError } from '../spec/errors.js';
import { describe } from './exit.js';
import type { ContainerContext } from './intent.js';
import { type Because, base, entered, remember } from './setup.js';

function cleanupFailed(thrown: unknown): Because {
  const error = asCaissonError(thrown);
  if (error.code === 'CLEANUP_FAILED') return { reason: 'cleanup-failed', error };
  const cleanupErrors = error.cleanupErrors ?? [error.toJSON()];
  return {
    reason: 'cleanup-failed',
    error: new CaissonError('CLEANUP_FAILED', `cleaning up failed: ${error.message}`, { cause: error, cleanupErrors }),
  };
}

function oneTooMany({ exit }: ContainerContext): Because {
  return {
    reason: 'restart-limit',
    error: new CaissonError('RESTART_LIMIT', `PID 1 ${describe(exit!)}; it has come back as often as it may`, {
      hint: 'see its console and its events for why it ends; restart.limit in the spec says how often it may come back',
    }),
  };
}

function teardownInput({ context }: { context: ContainerContext }) {
  // Both states that tear down are entered only with an exit on record, and aim first.
  return { port: context.port, exit: context.exit!, target: context.target! };
}

/** Once more, now for good: it is harmless to repeat. */
function again(target: '#rebooting' | '#stopping.cleaning') {
  return { guard: 'calledOff', target, reenter: true } as const;
}

const cleanup = {
  src: 'teardown',
  id: 'teardown',
  input: teardownInput,
} as const;

/** The part of `stopping` in which nothing more can be done to PID 1. */
export const cleaning = base.createStateConfig({
  entry: 'aimTeardown',
  on: { STOP: remember, KILL: remember },
  invoke: {
    ...cleanup,
    onDone: [
      again('#stopping.cleaning'),
      {
        guard: 'limited',
        target: '#failed',
        actions: { type: 'because', params: ({ context }: { context: ContainerContext }) => oneTooMany(context) },
      },
      { guard: 'endedBadly', target: '#failed', actions: { type: 'because', params: { reason: 'exit' } } },
      { target: '#stopped', actions: ['becauseWanted', 'wantRestart'] },
    ],
    onError: {
      target: '#failed',
      actions: { type: 'because', params: ({ event }) => cleanupFailed(event.error) },
    },
  },
});

export const rebooting = base.createStateConfig({
  id: 'rebooting',
  entry: ['aimTeardown', entered('rebooting')],
  on: { STOP: remember, KILL: remember },
  invoke: {
    ...cleanup,
    onDone: [
      again('#rebooting'),
      { guard: 'stopWanted', target: '#stopped', actions: 'becauseWanted' },
      { target: '#creating', actions: 'beginAgain' },
    ],
    // The table knows no way from here to `failed`: the error is on record, and nothing is started on the remains.
    onError: {
      target: '#stopped',
      actions: { type: 'because', params: ({ event }) => cleanupFailed(event.error) },
    },
  },
});
