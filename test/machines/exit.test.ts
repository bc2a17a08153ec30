import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeExit, describe as describeExit, type ExitFacts, isFailure } from '#src/machines/exit.js';
import { signalName } from '#src/spec/signals.js';

function facts(code: ExitFacts['code'], status: number, more: Partial<ExitFacts> = {}): ExitFacts {
  return { code, status, oomKilled: false, killRequested: false, confidence: 'exact', ...more };
}
const OOM = { oomKilled: true };
const OURS = { killRequested: true };
const INFERRED = { confidence: 'inferred' } as const;

describe('LIF-15: the decode table', () => {
  // facts, what it means, what people read, failed without a stop request, failed with one
  test.each([
    [facts('killed', 1), { kind: 'reboot' }, 'rebooted', false, false],
    [facts('killed', 2), { kind: 'halt' }, 'halted or powered off', false, false],
    [facts('exited', 0), { kind: 'exit', status: 0 }, 'exited with status 0', false, false],
    [facts('exited', 3), { kind: 'exit', status: 3 }, 'exited with status 3', true, false],
    [facts('killed', 9, OURS), { kind: 'killed', requested: true }, 'killed on request', false, false],
    [facts('killed', 9, OOM), { kind: 'oom' }, 'killed by the kernel: out of memory', true, true],
    [facts('killed', 31), { kind: 'seccomp', core: false }, 'killed by its seccomp filter', true, true],
    [facts('dumped', 31), { kind: 'seccomp', core: true }, 'killed by its seccomp filter, core dumped', true, true],
    [
      facts('killed', 15),
      { kind: 'signal', number: 15, signal: 'SIGTERM', core: false },
      'died of SIGTERM',
      true,
      true,
    ],
    [
      facts('dumped', 11),
      { kind: 'signal', number: 11, signal: 'SIGSEGV', core: true },
      'died of SIGSEGV, core dumped',
      true,
      true,
    ],
    // Somebody else's SIGKILL is a crash like any other.
    [facts('killed', 9), { kind: 'signal', number: 9, signal: 'SIGKILL', core: false }, 'died of SIGKILL', true, true],
    // The oom counter of the container grows for any of its processes: our own kill explains the end.
    [facts('killed', 9, { ...OURS, ...OOM }), { kind: 'killed', requested: true }, 'killed on request', false, false],
    // An oom elsewhere in the container, or a kill asked and not needed, explains no other end.
    [facts('exited', 1, { ...OURS, ...OOM }), { kind: 'exit', status: 1 }, 'exited with status 1', true, false],
    [facts('killed', 1, OURS), { kind: 'reboot' }, 'rebooted', false, false],
    [
      facts('killed', 37),
      { kind: 'signal', number: 37, signal: 'SIGRTMIN+3', core: false },
      'died of SIGRTMIN+3',
      true,
      true,
    ],
    // reboot(2) dumps no core: this was something else.
    [
      facts('dumped', 1),
      { kind: 'signal', number: 1, signal: 'SIGHUP', core: true },
      'died of SIGHUP, core dumped',
      true,
      true,
    ],
  ] as const)('%o', (given, meaning, text, failsAlone, failsWhenAsked) => {
    const exit = decodeExit(given);
    expect(exit).toEqual({ ...meaning, confidence: 'exact' });
    expect(describeExit(exit)).toBe(text);
    expect(isFailure(exit, false)).toBe(failsAlone);
    expect(isFailure(exit, true)).toBe(failsWhenAsked);
  });
});

describe('LIF-17: a status that did not reach us whole', () => {
  test.each([
    [129, { kind: 'reboot' }, 'rebooted (inferred)'],
    [130, { kind: 'halt' }, 'halted or powered off (inferred)'],
    [159, { kind: 'seccomp', core: false }, 'killed by its seccomp filter (inferred)'],
    [143, { kind: 'signal', number: 15, signal: 'SIGTERM', core: false }, 'died of SIGTERM (inferred)'],
    [192, { kind: 'signal', number: 64, signal: 'SIGRTMIN+30', core: false }, 'died of SIGRTMIN+30 (inferred)'],
    // 128 itself and what is beyond the last signal can only be codes.
    [128, { kind: 'exit', status: 128 }, 'exited with status 128 (inferred)'],
    [193, { kind: 'exit', status: 193 }, 'exited with status 193 (inferred)'],
  ] as const)('inferred %i', (status, meaning, text) => {
    const exit = decodeExit(facts('exited', status, INFERRED));
    expect(exit).toEqual({ ...meaning, confidence: 'inferred' });
    expect(describeExit(exit)).toBe(text);
  });

  test('137 is told apart as a raw SIGKILL is', () => {
    expect(decodeExit(facts('exited', 137, { ...INFERRED, ...OURS })).kind).toBe('killed');
    expect(decodeExit(facts('exited', 137, { ...INFERRED, ...OOM })).kind).toBe('oom');
    expect(decodeExit(facts('exited', 137, INFERRED)).kind).toBe('signal');
  });

  test('an init that really returns 129 has not rebooted', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 255 }), fc.boolean(), fc.boolean(), (status, oomKilled, killRequested) => {
        const exit = decodeExit(facts('exited', status, { oomKilled, killRequested }));
        expect(exit).toEqual({ kind: 'exit', status, confidence: 'exact' });
      }),
    );
  });

  test('the shell code of a signal means what the signal itself means, but for the confidence', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 64 }), fc.boolean(), fc.boolean(), (number, oomKilled, killRequested) => {
        const raw = decodeExit(facts('killed', number, { oomKilled, killRequested }));
        const coded = decodeExit(facts('exited', 128 + number, { oomKilled, killRequested, ...INFERRED }));
        expect(coded).toEqual({ ...raw, confidence: 'inferred' });
      }),
    );
  });
});

describe('LIF-18, LIF-32: whoever called reboot(2), the status says the same', () => {
  const anyFacts = fc.record({
    code: fc.constantFrom('exited', 'killed', 'dumped'),
    status: fc.integer({ min: 0, max: 255 }),
    oomKilled: fc.boolean(),
    killRequested: fc.boolean(),
    confidence: fc.constantFrom('exact', 'inferred'),
    shutdown: fc.option(fc.constantFrom('reboot', 'halt', 'poweroff', 'kexec'), { nil: undefined }),
  });

  test('reboot and halt are read from the status alone', () => {
    fc.assert(
      fc.property(anyFacts, given => {
        const exit = decodeExit(given);
        const number =
          given.code === 'killed'
            ? given.status
            : given.code === 'exited' && given.confidence === 'inferred'
              ? given.status - 128
              : 0;
        expect(exit.kind === 'reboot').toBe(number === 1);
        expect(exit.kind === 'halt').toBe(number === 2);
      }),
    );
  });

  test('every status has one meaning, a text, and keeps its confidence and the announced shutdown', () => {
    fc.assert(
      fc.property(anyFacts, given => {
        const exit = decodeExit(given);
        expect(exit.confidence).toBe(given.confidence);
        expect(exit.shutdown).toBe(given.shutdown);
        expect(describeExit(exit)).toMatch(/^[a-z].+$/);
        expect(describeExit(exit).endsWith('(inferred)')).toBe(given.confidence === 'inferred');
        // A stop request excuses, it never accuses.
        if (isFailure(exit, true)) expect(isFailure(exit, false)).toBe(true);
        // A life that ended by its own crash is never taken for our kill.
        if (exit.kind === 'killed') expect(given.killRequested).toBe(true);
      }),
    );
  });
});

describe('LIF-19: X_SYSTEMD_SHUTDOWN', () => {
  test.each([
    ['halt', 2, 'halted'],
    ['poweroff', 2, 'powered off'],
    ['reboot', 1, 'rebooted'],
    ['kexec', 1, 'rebooted (kexec)'],
  ] as const)('%s tells what the status cannot', (shutdown, signal, text) => {
    expect(describeExit(decodeExit(facts('killed', signal, { shutdown })))).toBe(text);
  });
});

test('LIF-23: signal names by glibc numbers', () => {
  expect([1, 2, 9, 16, 30, 31].map(signalName)).toEqual([
    'SIGHUP',
    'SIGINT',
    'SIGKILL',
    'SIGSTKFLT',
    'SIGPWR',
    'SIGSYS',
  ]);
  expect([32, 33, 34, 35, 37, 64, 65].map(signalName)).toEqual([
    'SIG32',
    'SIG33',
    'SIGRTMIN',
    'SIGRTMIN+1',
    'SIGRTMIN+3',
    'SIGRTMIN+30',
    'SIG65',
  ]);
});
