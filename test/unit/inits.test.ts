import { describe, expect, test } from 'vitest';
import { detectInit, INIT_NAMES, INIT_PROFILES, initOfScript, isDeafTo, signsOf } from '#src/spec/inits.js';
import { signalName } from '#src/spec/signals.js';

describe('LIF-24: inits by what PID 1 runs', () => {
  test.each([
    ['/usr/lib/systemd/systemd', 'systemd', false, 'systemd'],
    ['/usr/lib/systemd/systemd (deleted)', 'systemd', true, 'systemd'],
    ['/usr/sbin/init', 'init', false, 'sysvinit'],
    ['/usr/bin/busybox', 'init', false, 'busybox'],
    ['/bin/busybox.static', 'linuxrc', false, 'busybox'],
    ['/bin/busybox', 'sh', false, 'unknown'],
    ['/usr/bin/runit', 'runit', false, 'runit'],
    ['/usr/lib/runit/runit-init', 'init', false, 'runit'],
    ['/usr/sbin/finit', 'init', false, 'finit'],
    ['/usr/bin/s6-svscan', 's6-svscan', false, 's6'],
    ['/sbin/openrc-init', 'init', false, 'openrc'],
    // Whatever it is called: only systemd blocks its halt signal (LIF-22).
    ['/sbin/my-init', 'my-init', true, 'systemd'],
    ['/usr/bin/sleep', 'init', false, 'unknown'],
    ['/x/constructor', 'toString', false, 'unknown'],
    ['', '', false, 'unknown'],
  ] as const)('%s as %s, blocking 37: %s is %s', (executable, command, blocks, init) => {
    expect(detectInit(executable, command, blocks)).toBe(init);
  });

  test.each([
    ['#!/bin/sh\nexport PATH=/bin\nexec s6-svscan /etc/s6\n', 's6'],
    ['#!/command/execlineb -S0\n\n/command/s6-linux-init -c /etc/s6-linux-init -m 0022 -- "$@"\n', 's6'],
    ['#!/bin/sh\necho own >/etc/hostname\n  exec /lib/systemd/systemd "$@"', 'systemd'],
    ['#!/bin/sh\nexec /bin/busybox init', 'busybox'],
    ['#!/bin/sh\nexec /bin/busybox sh', 'unknown'],
    ['#!/bin/sh\n# exec systemd\nexec "$@"', 'unknown'],
    ['#!/bin/sh\nexec', 'unknown'],
    ['constructor', 'unknown'],
    ['', 'unknown'],
  ])('of the script %j: %s', (text, init) => {
    expect(initOfScript(text)).toBe(init);
  });

  test('ENV-27, ENV-54: terminal and log of each, also as signs of which one of a pair holds', () => {
    expect(Object.fromEntries(INIT_NAMES.map(name => [name, INIT_PROFILES[name].terminal]))).toEqual({
      systemd: 'console',
      sysvinit: 'idle',
      openrc: 'idle',
      busybox: 'none',
      runit: 'none',
      finit: 'none',
      s6: 'none',
      unknown: 'console',
    });
    for (const name of INIT_NAMES) {
      const signs = signsOf(name);
      expect(signs.hasJournal, name).toBe(name === 'systemd');
      expect(signs.lacksJournal, name).toBe(!signs.hasJournal);
      expect(signs.takesConsole && signs.needsIdleTerminal, name).toBe(false);
    }
  });

  test('the table is the measured one', () => {
    const named = INIT_NAMES.map(name => [
      name,
      signalName(INIT_PROFILES[name].halt),
      signalName(INIT_PROFILES[name].reboot),
      (['halt', 'reboot'] as const).filter(purpose => isDeafTo(name, purpose)).join(),
    ]);
    expect(named).toEqual([
      ['systemd', 'SIGRTMIN+3', 'SIGINT', ''],
      ['sysvinit', 'SIGPWR', 'SIGINT', 'halt'],
      ['openrc', 'SIGPWR', 'SIGINT', 'halt'],
      ['busybox', 'SIGUSR1', 'SIGTERM', ''],
      ['runit', 'SIGPWR', 'SIGINT', 'reboot'],
      ['finit', 'SIGUSR2', 'SIGTERM', ''],
      ['s6', 'SIGTERM', 'SIGTERM', ''],
      ['unknown', 'SIGPWR', 'SIGINT', ''],
    ]);
  });
});
