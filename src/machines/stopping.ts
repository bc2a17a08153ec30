/** How a life ends: asking PID 1, waiting for it, killing, cleaning up. */
import { and, not } from 'xstate';
import { asCaissonError, CaissonError } from '../spec/errors.js';
import { cleaning } from './cleaning.js';
import type { ContainerContext } from './intent.js';
import { killing } from './killing.js';
import type { SignalOutcome } from './port.js';
import { base, becauseReboot, entered, remember } from './setup.js';

interface WithContext {
  context: ContainerContext;
}

/** A request that asks for more than the one under way. */
const escalate = [
  { guard: and(['outranks', 'asksKill']), target: '#stopping.killing', actions: 'request' },
  { guard: 'outranks', target: '#stopping.asking', actions: 'request' },
] as const;

function purposeOf({ context }: WithContext) {
  return { port: context.port, purpose: context.intent === 'reboot' ? ('reboot' as const) : ('halt' as const) };
}

function causeOf(event: unknown): CaissonError {
  return asCaissonError((event as { error: unknown }).error);
}

/** Nothing is left to try but force, which a reboot may have to do without. */
function giveUp(message: (event: unknown) => string) {
  return [
    {
      guard: 'mayNotForce',
      target: '#stopping.expired',
      actions: [
        'leaveToGuest',
        {
          type: 'recordError',
          params: ({ event }: { event: unknown }) => ({
            error: new CaissonError('TIMEOUT', message(event), {
              hint: 'set signals.reboot to one it handles, or reboot with force',
              ...((event as { error?: unknown }).error === undefined ? {} : { cause: causeOf(event) }),
            }),
          }),
        },
      ],
    },
    { target: '#stopping.killing' },
  ] as const;
}

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
      entry: 'beginAsking',
      initial: 'signalling',
      states: {
        signalling: {
          invoke: {
            src: 'signal',
            id: 'signal',
            input: purposeOf,
            onDone: [
              { guard: ({ event }) => event.output.sent, target: 'waiting', actions: 'markHeard' },
              { guard: ({ event }) => event.output.command === true, target: 'commanding' },
              ...giveUp(event => `PID 1 does not react to ${(event as { output: SignalOutcome }).output.signal}`),
            ],
            onError: giveUp(event => `PID 1 could not be signalled: ${causeOf(event).message}`),
          },
        },
        waiting: { after: { signalPatience: 'commanding' } },

        /** No signal does it, or not in time: the image's own command does, if there is one (LIF-48). */
        commanding: {
          entry: 'markCommand',
          invoke: {
            src: 'command',
            id: 'command',
            input: purposeOf,
            onDone: [
              { guard: ({ event }) => event.output.ran, target: 'patient' },
              { guard: ({ event }) => event.output.sent === true, target: 'patient', actions: 'markHeard' },
              { guard: 'heard', target: 'patient', actions: 'markSignal' },
              ...giveUp(() => 'PID 1 reacts to no signal for this, and there is no command for it inside'),
            ],
            onError: [
              { guard: 'heard', target: 'patient', actions: 'markSignal' },
              ...giveUp(event => `the command for this could not be run inside: ${causeOf(event).message}`),
            ],
          },
        },
        /** All has been tried that is not force. */
        patient: {},
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
