import { constants } from 'node:os';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ERRNO, errnoName } from '#src/spec/errno.js';
import { signalName, signalNumber } from '#src/spec/signals.js';

describe('signals by name and number', () => {
  test("agree with this system's own table", () => {
    for (const [name, number] of Object.entries(constants.signals)) {
      // Aliases that PID 1's own names leave out.
      if (['SIGIOT', 'SIGPOLL', 'SIGCLD', 'SIGUNUSED'].includes(name)) continue;
      expect(signalNumber(name), name).toBe(number);
    }
  });

  test("every number from 1 to 64 comes back from its name, but for the C library's own 32 and 33", () => {
    for (let number = 1; number <= 64; number++) {
      const name = signalName(number);
      if (number === 32 || number === 33) expect([name, signalNumber(name)]).toEqual([`SIG${number}`, undefined]);
      else expect(signalNumber(name), name).toBe(number);
    }
  });

  test('with or without SIG, in any case, or as digits', () => {
    for (const name of ['SIGTERM', 'TERM', 'term', 'SigTerm', '15', 15]) expect(signalNumber(name)).toBe(15);
  });

  test('LIF-23 real-time signals count from 34', () => {
    expect(signalNumber('SIGRTMIN')).toBe(34);
    expect(signalNumber('SIGRTMIN+3')).toBe(37);
    expect(signalNumber('rtmin+4')).toBe(38);
    expect(signalNumber('SIGRTMIN+30')).toBe(64);
    expect(signalNumber('SIGRTMIN+31')).toBeUndefined();
    expect([signalName(34), signalName(37), signalName(64)]).toEqual(['SIGRTMIN', 'SIGRTMIN+3', 'SIGRTMIN+30']);
  });

  test.each([
    '',
    'SIG',
    'SIGFOO',
    'SIGRTMIN+',
    'SIGRTMIN-1',
    'SIGRTMIN+1x',
    ' TERM',
    '-15',
    '0',
    '65',
    'toString',
    '__proto__',
    0,
    -1,
    65,
    1.5,
    Number.NaN,
  ])('%j is no signal', name => {
    expect(signalNumber(name)).toBeUndefined();
  });

  test('no text makes it throw or leave 1 to 64', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^(SIG|sig)?(RTMIN|rtmin)[+-]\d{0,3}$/)), text => {
        const number = signalNumber(text);
        if (number !== undefined) expect(number >= 1 && number <= 64 && Number.isInteger(number)).toBe(true);
      }),
    );
  });

  test('a number beyond the last signal has no name of its own', () => {
    expect([signalName(0), signalName(65), signalName(200)]).toEqual(['SIG0', 'SIG65', 'SIG200']);
  });
});

describe('errno by name and number', () => {
  test("agree with this system's own table", () => {
    let compared = 0;
    for (const [name, number] of Object.entries(constants.errno)) {
      if (!(name in ERRNO)) continue;
      expect(ERRNO[name as keyof typeof ERRNO], name).toBe(number);
      compared++;
    }
    expect(compared).toBeGreaterThan(75);
  });

  test('every number has one name, and unknown ones say their number', () => {
    for (const [name, number] of Object.entries(ERRNO)) expect(errnoName(number)).toBe(name);
    expect(errnoName(9999)).toBe('E9999');
  });
});
