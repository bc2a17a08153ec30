/** SIGKILL to everything, and what to do when even that does not end PID 1. */
import { not } from 'xstate';
import { asCaissonError, CaissonError } from '../spec/errors.js';
import type { ContainerContext } from './intent.js';
import { base, becauseReboot, KILL_WAIT_MS, remember } from './setup.js';

/** To be taken once PID 1 is known to be gone. */
const onwards = [
  { guard: 'exitedToReboot', target: '#rebooting', actions: becauseReboot },
  { guard: 'exited', target: '#stopping.cleaning' },
] as const;

function unkillable(context: ContainerContext): CaissonError {
  return new CaissonError('UNKILLABLE', `PID 1 has not ended ${KILL_WAIT_MS / 1000} s after SIGKILL`, {
    cause: context.error,
    hint: 'a process in uninterruptible sleep (state D) ends only when its I/O does: see /proc/<pid>/stack',
  });
}

export const killing = base.createStateConfig({
  entry: 'markForced',
  on: { STOP: remember, REBOOT: remember, KILL: remember },
  initial: 'sending',
  states: {
    // An EXIT waits here for killAll to settle: it and the teardown would both work on the same cgroup.
    sending: {
      on: { EXIT: { guard: not('exited'), actions: 'recordExit' } },
      invoke: {
        src: 'killAll',
        id: 'killAll',
        input: ({ context }) => ({ port: context.port }),
        onDone: 'reaping',
        onError: [
          {
            guard: ({ context, event }) =>
              context.exit === undefined && asCaissonError(event.error).code === 'UNKILLABLE',
            target: '#failed',
            actions: {
              type: 'because',
              params: ({ event }) => ({ reason: 'unkillable' as const, error: asCaissonError(event.error) }),
            },
          },
          { target: 'reaping', actions: { type: 'recordError', params: ({ event }) => ({ error: event.error }) } },
        ],
      },
    },
    reaping: {
      always: onwards,
      after: {
        killWait: {
          target: '#failed',
          actions: {
            type: 'because',
            params: ({ context }: { context: ContainerContext }) => ({
              reason: 'unkillable' as const,
              error: unkillable(context),
            }),
          },
        },
      },
    },
  },
});
