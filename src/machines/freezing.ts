/** `running` and the three states around a frozen container. */
import { not } from 'xstate';
import { asCaissonError } from '../spec/errors.js';
import { base, becauseReboot, entered, remember } from './setup.js';

const rememberExit = { guard: not('exited'), actions: 'recordExit' } as const;

const stop = [
  { guard: 'asksKill', target: '#stopping.killing', actions: ['request', 'becauseWanted'] },
  { target: '#stopping', actions: ['request', 'becauseWanted'] },
] as const;

/** Nothing can be asked of a frozen PID 1, and its end can be cleaned up only from `running`: thaw first. */
const thawFirst = { target: 'thawing', actions: ['request', 'becauseWanted'] } as const;

export const running = base.createStateConfig({
  id: 'running',
  entry: entered('running'),
  // What had to wait until here: requests and ends met while frozen, or a stop that came too late to cancel the exec.
  always: [
    { guard: 'exitedToReboot', target: 'rebooting', actions: becauseReboot },
    { guard: 'exited', target: '#stopping.cleaning', actions: 'becauseWanted' },
    { guard: 'killsAtOnce', target: '#stopping.killing', actions: 'becauseWanted' },
    { guard: 'wanted', target: '#stopping.settling', actions: 'becauseWanted' },
  ],
  on: {
    STOP: stop,
    REBOOT: stop,
    KILL: stop,
    FREEZE: { target: 'freezing', actions: 'startFreeze' },
    EXIT: [
      {
        guard: 'asksReboot',
        target: 'rebooting',
        actions: ['recordExit', becauseReboot],
      },
      { target: '#stopping.cleaning', actions: ['recordExit', 'becauseWanted'] },
    ],
  },
});

export const freezing = base.createStateConfig({
  entry: entered('freezing'),
  on: { STOP: remember, REBOOT: remember, KILL: remember, EXIT: rememberExit },
  invoke: {
    src: 'freeze',
    id: 'freeze',
    input: ({ context }) => ({ port: context.port }),
    onDone: { target: 'frozen', actions: { type: 'because', params: { reason: 'freeze' } } },
    onError: {
      target: 'running',
      actions: {
        type: 'because',
        params: ({ event }) => ({ reason: 'freeze-failed' as const, error: asCaissonError(event.error) }),
      },
    },
  },
});

export const frozen = base.createStateConfig({
  entry: entered('frozen'),
  always: [
    { guard: 'wanted', target: 'thawing', actions: 'becauseWanted' },
    { guard: 'exited', target: 'thawing', actions: 'becauseWanted' },
  ],
  on: {
    STOP: thawFirst,
    REBOOT: thawFirst,
    KILL: thawFirst,
    UNFREEZE: { target: 'thawing', actions: 'startThaw' },
    EXIT: { target: 'thawing', actions: ['recordExit', 'becauseWanted'] },
  },
});

export const thawing = base.createStateConfig({
  entry: entered('thawing'),
  on: { STOP: remember, REBOOT: remember, KILL: remember, EXIT: rememberExit },
  invoke: {
    src: 'thaw',
    id: 'thaw',
    input: ({ context }) => ({ port: context.port }),
    onDone: { target: 'running', actions: 'becauseWanted' },
    onError: [
      // Going back to `frozen` would try again for ever; the teardown and killAll can deal with what is still frozen.
      {
        guard: 'mustLeaveFrozen',
        target: 'running',
        actions: {
          type: 'because',
          params: ({ event }) => ({ reason: 'thaw-failed' as const, error: asCaissonError(event.error) }),
        },
      },
      {
        target: 'frozen',
        actions: [
          'dropIntent',
          {
            type: 'because',
            params: ({ event }) => ({ reason: 'thaw-failed' as const, error: asCaissonError(event.error) }),
          },
        ],
      },
    ],
  },
});
