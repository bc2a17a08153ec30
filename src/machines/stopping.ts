/** How a life ends: asking PID 1, waiting for it, killing, cleaning up. */
import { and, not } from 'xstate';
import { asCaissonError, CaissonError } from '../spec/errors.js';
import { cleaning } from './cleaning.js';
import type { ContainerContext } from './intent.js';
import { killing } from './killing.js';
import { base, becauseReboot, entered, remember } from './setup.js';

interface WithContext {
  context: ContainerContext;
}

/** A request that asks for more than the one under way. */
const escalate = [
  { guard: and(['outranks', 'asksKill']), target: '#stopping.killing', actions: 'request' },
  { guard: 'outranks', target: '#stopping.asking', actions: 'request' },
] as const;

export const stopping = base.createStateConfig({
  id: 'stopping',
  entry: entered('stopping'),
  on: {
    STOP: escalate,
    REBOOT: escalate,
    KILL: escalate,
    EXIT: [
      { guard: and([not('exited'), 'asksReboot']), target: '#rebooting', actions: ['recordExit', becauseReboot] },
      { guard: not('exited'), target: '#stopping.cleaning', actions: 'recordExit' },
    ],
  },
  initial: 'asking',
  states: {
    /** Between a thaw and the signal: init has to come to its senses first (LIF-30). */
    settling: {
      on: {
        STOP: [escalate[0], remember],
        REBOOT: [escalate[0], remember],
      },
      after: { thawGrace: 'asking' },
    },

    /** One time-out covers sending and waiting: sending may itself have to wait for init to be able to listen. */
    asking: {
      after: {
        stopTimeout: [
          {
            guard: 'mayNotForce',
            target: 'expired',
            actions: {
              type: 'recordError',
              params: ({ context }: WithContext) => ({
                error: new CaissonError('TIMEOUT', `PID 1 has not rebooted within ${context.timeoutMs} ms`, {
                  hint: 'wait, stop it, or reboot with force',
                }),
              }),
            },
          },
          { target: 'killing' },
        ],
      },
      initial: 'signalling',
      states: {
        signalling: {
          invoke: {
            src: 'signal',
            id: 'signal',
            input: ({ context }) => ({
              port: context.port,
              purpose: context.intent === 'reboot' ? ('reboot' as const) : ('halt' as const),
            }),
            onDone: [
              { guard: ({ event }) => event.output.sent, target: 'waiting' },
              {
                guard: 'mayNotForce',
                target: '#stopping.expired',
                actions: [
                  'leaveToGuest',
                  {
                    type: 'recordError',
                    params: ({ event }) => ({
                      error: new CaissonError('TIMEOUT', `PID 1 does not react to ${event.output.signal}`, {
                        hint: 'set signals.reboot to one it handles, or reboot with force',
                      }),
                    }),
                  },
                ],
              },
              { target: '#stopping.killing' },
            ],
            onError: [
              {
                guard: 'mayNotForce',
                target: '#stopping.expired',
                actions: [
                  'leaveToGuest',
                  {
                    type: 'recordError',
                    params: ({ event }) => {
                      const cause = asCaissonError(event.error);
                      return {
                        error: new CaissonError('TIMEOUT', `PID 1 could not be signalled: ${cause.message}`, { cause }),
                      };
                    },
                  },
                ],
              },
              { target: '#stopping.killing' },
            ],
          },
        },
        waiting: {},
      },
    },

    /** A reboot without force that came to nothing. PID 1 lives on; its end, a stop or another reboot leads out. */
    expired: {
      entry: [
        base.enqueueActions(({ context, enqueue }) => {
          if (context.error !== undefined) enqueue.emit({ type: 'timeout', operation: 'reboot', error: context.error });
        }),
        'dropIntent',
      ],
    },

    killing,
    cleaning,
  },
});
