import { describe, expect, test } from 'vitest';
import {
  actionOf,
  INITIATORS,
  isMove,
  LIFECYCLE_ACTIONS,
  PHASES,
  REASONS,
  STATES,
  STATUS_CODES,
  statusOf,
} from '#src/machines/states.js';
import { EXIT_0, EXIT_3, EXIT_HALT, EXIT_KILLED, EXIT_REBOOT } from './rig.js';

describe('LIF-04: public status codes', () => {
  test('are those of Incus', () => {
    expect(STATUS_CODES).toEqual({
      Started: 101,
      Stopped: 102,
      Running: 103,
      Starting: 106,
      Stopping: 107,
      Aborting: 108,
      Freezing: 109,
      Frozen: 110,
      Thawed: 111,
      Error: 112,
      Ready: 113,
    });
  });

  test.each([
    ['stopped', {}, 102],
    ['creating', {}, 106],
    ['mounting', {}, 106],
    ['devices', {}, 106],
    ['network', {}, 106],
    ['network', { cancelled: true }, 108],
    ['running', {}, 103],
    ['running', { ready: true }, 113],
    // A flag of another state says nothing here.
    ['running', { cancelled: true }, 103],
    ['creating', { ready: true }, 106],
    ['stopping', { ready: true, cancelled: true }, 107],
    ['rebooting', {}, 107],
    ['failed', {}, 112],
    ['freezing', {}, 109],
    ['frozen', {}, 110],
    ['thawing', {}, 111],
  ] as const)('%s %o is %i', (state, flags, code) => {
    const status = statusOf(state, flags);
    expect(status.code).toBe(code);
    expect(STATUS_CODES[status.name]).toBe(code);
  });
});

describe('LIF-05: lifecycle action names', () => {
  test('the list is complete', () => {
    const names = 'started stopped shutdown restarted paused resumed ready updated created deleted exec';
    expect(LIFECYCLE_ACTIONS).toEqual(names.split(' ').map(name => `instance-${name}`));
  });

  test('each move that is one is announced as one, and no other', () => {
    const named = STATES.flatMap(from =>
      STATES.filter(to => isMove(from, to)).flatMap(to => {
        const action = actionOf({ from, to });
        return action === undefined ? [] : [`${from} ${to} ${action}`];
      }),
    );
    expect(named.sort()).toEqual([
      'freezing frozen instance-paused',
      'network running instance-started',
      'rebooting creating instance-restarted',
      'rebooting stopped instance-shutdown',
      'stopping failed instance-stopped',
      'stopping stopped instance-shutdown',
      'thawing running instance-resumed',
    ]);
  });

  test.each([
    ['a clean exit', EXIT_0, 'instance-shutdown'],
    ['an excused code', EXIT_3, 'instance-shutdown'],
    ['a halt', EXIT_HALT, 'instance-shutdown'],
    ['a reboot that was stopped', EXIT_REBOOT, 'instance-shutdown'],
    ['a kill', EXIT_KILLED, 'instance-stopped'],
  ] as const)('stopped after %s is %s', (_, exit, action) => {
    expect(actionOf({ from: 'stopping', to: 'stopped', exit })).toBe(action);
  });
});

test('the closed lists hold no name twice', () => {
  for (const list of [STATES, PHASES, REASONS, INITIATORS, LIFECYCLE_ACTIONS]) {
    expect(new Set<string>(list).size).toBe(list.length);
  }
});
