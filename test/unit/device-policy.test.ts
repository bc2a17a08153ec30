/** ENV-15, ENV-21, ENV-23: both forms of the device policy say what the rules say. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { deviceLines, deviceProgram } from '#src/plan/device-program.js';
import { type DeviceRule, deviceRules } from '#src/spec/devices.js';
import { type DeviceContext, decode, run } from './ebpf.js';

const BLOCK = 1;
const CHAR = 2;
const ACCESS = { m: 1, r: 2, w: 4 } as const;

/** What the rules mean: one row must cover type, number and all of the access asked for. */
function allowedByRules(rules: readonly DeviceRule[], { access, type, major, minor }: DeviceContext): boolean {
  return rules.some(rule => {
    if ((rule.type === 'c' ? CHAR : BLOCK) !== type) return false;
    if (rule.major !== null && rule.major !== major) return false;
    if (rule.minor !== null && rule.minor !== minor) return false;
    const given = [...rule.access].reduce((bits, letter) => bits | ACCESS[letter as keyof typeof ACCESS], 0);
    return (access & ~given) === 0;
  });
}

/** What the kernel's v1 controller makes of the lines after `devices.deny a` (security/device_cgroup.c). */
function allowedByLines(lines: readonly string[], { access, type, major, minor }: DeviceContext): boolean {
  return lines.some(line => {
    const match = /^([bc]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(line);
    if (match === null) throw new Error(`the kernel refuses the line ${line}`);
    const [, kind, majorText, minorText, letters] = match;
    if ((kind === 'c') !== (type === CHAR)) return false;
    if (majorText !== '*' && Number(majorText) !== major) return false;
    if (minorText !== '*' && Number(minorText) !== minor) return false;
    const given = [...(letters ?? '')].reduce((bits, letter) => bits | ACCESS[letter as keyof typeof ACCESS], 0);
    return (access & ~given) === 0;
  });
}

function expectAgreement(rules: readonly DeviceRule[], contexts: Iterable<DeviceContext>): number {
  const program = deviceProgram(rules);
  const lines = deviceLines(rules);
  let count = 0;
  for (const context of contexts) {
    const wanted = allowedByRules(rules, context);
    const got = { bpf: run(program, context), v1: allowedByLines(lines, context) };
    if (got.bpf !== (wanted ? 1n : 0n) || got.v1 !== wanted) expect({ context, ...got }).toBe(wanted);
    count++;
  }
  return count;
}

/** Every access to every number of the table and to its neighbours. */
function* aroundTheTable(rules: readonly DeviceRule[]): Generator<DeviceContext> {
  const near = (numbers: (number | null)[]): number[] => [
    ...new Set(numbers.flatMap(number => (number === null ? [] : [number - 1, number, number + 1]))),
  ];
  const majors = [...near(rules.map(({ major }) => major)), 4095].filter(number => number >= 0);
  const minors = [...near(rules.map(({ minor }) => minor)), 255, 256, 0xfffff].filter(number => number >= 0);
  for (const type of [BLOCK, CHAR]) {
    for (const major of majors) {
      for (const minor of minors) for (let access = 1; access <= 7; access++) yield { type, major, minor, access };
    }
  }
}

describe('ENV-21 the v1 lines and the BPF program agree with the rules', () => {
  test.each(['any', 'table'] as const)('on every access around the table, devices.mknod: %s', mknod => {
    const rules = deviceRules(mknod);
    expect(expectAgreement(rules, aroundTheTable(rules))).toBeGreaterThan(3000);
  });

  test.each(['any', 'table'] as const)('on any number, devices.mknod: %s', mknod => {
    const rules = deviceRules(mknod);
    const context = fc.record({
      type: fc.constantFrom(BLOCK, CHAR),
      major: fc.nat(0xfff),
      minor: fc.nat(0xfffff),
      access: fc.integer({ min: 1, max: 7 }),
    });
    fc.assert(
      fc.property(context, one => expectAgreement(rules, [one]) === 1),
      { numRuns: 2000 },
    );
  });

  test('for any rules, not only ours', () => {
    const rule = fc.record({
      type: fc.constantFrom('c' as const, 'b' as const),
      major: fc.option(fc.nat(3)),
      minor: fc.option(fc.nat(3)),
      access: fc.constantFrom('rwm' as const, 'm' as const),
      reason: fc.constant('random'),
    });
    const everything: DeviceContext[] = [BLOCK, CHAR].flatMap(type =>
      [0, 1, 2, 3, 4].flatMap(major =>
        [0, 1, 2, 3, 4].flatMap(minor => [1, 2, 3, 4, 5, 6, 7].map(access => ({ type, major, minor, access }))),
      ),
    );
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 8 }), rules => expectAgreement(rules, everything) === 350),
      { numRuns: 100 },
    );
  });

  test('no rules: everything is denied', () => {
    const denied = [...aroundTheTable(deviceRules('any'))].map(context => run(deviceProgram([]), context));
    expect(new Set(denied)).toEqual(new Set([0n]));
  });

  test('the interpreter and the reference can tell a wrong policy: one flipped byte is found', () => {
    const rules = deviceRules('any');
    const program = deviceProgram(rules);
    const minorOfNull = decode(program).findIndex(({ opcode, dst, imm }) => opcode === 0x55 && dst === 5 && imm === 3);
    program[minorOfNull * 8 + 4] = 4;
    const context = { type: CHAR, major: 1, minor: 3, access: 6 };
    expect(run(program, context)).toBe(0n);
    expect(allowedByRules(rules, context)).toBe(true);
  });

  test('the program ends in deny, jumps forwards only and is far below the limit of 4096 instructions', () => {
    for (const mknod of ['any', 'table'] as const) {
      const program = decode(deviceProgram(deviceRules(mknod)));
      expect(program.slice(-2).map(({ opcode, imm }) => [opcode, imm])).toEqual([
        [0xb7, 0],
        [0x95, 0],
      ]);
      for (const [index, { opcode, offset }] of program.entries()) {
        if (opcode !== 0x55) continue;
        expect(offset).toBeGreaterThan(0);
        expect(index + 1 + offset).toBeLessThan(program.length);
      }
      expect(program.length).toBeLessThan(200);
    }
  });
});

describe('ENV-21 what a container may do', () => {
  const may = (mknod: 'any' | 'table', type: number, major: number, minor: number, access: number): boolean =>
    run(deviceProgram(deviceRules(mknod)), { type, major, minor, access }) === 1n;

  test.each([
    ['read and write /dev/null', 1, 3],
    ['read and write /dev/zero', 1, 5],
    ['read and write /dev/full', 1, 7],
    ['read and write /dev/random', 1, 8],
    ['read and write /dev/urandom', 1, 9],
    ['read and write /dev/tty', 5, 0],
    ['read and write /dev/console', 5, 1],
    ['read and write /dev/ptmx', 5, 2],
    ['read and write /dev/fuse', 10, 229],
    ['read and write /dev/net/tun', 10, 200],
    ['read and write /dev/pts/0', 136, 0],
    ['read and write /dev/pts/1023', 136, 1023],
  ])('%s', (_, major, minor) => {
    for (const mknod of ['any', 'table'] as const) expect(may(mknod, CHAR, major, minor, 7)).toBe(true);
  });

  test.each([
    ['/dev/mem', CHAR, 1, 1],
    ['/dev/kmem', CHAR, 1, 2],
    ['/dev/port', CHAR, 1, 4],
    ['/dev/kmsg', CHAR, 1, 11],
    ['/dev/tty0', CHAR, 4, 0],
    ['/dev/tty1', CHAR, 4, 1],
    ['/dev/ttyS0', CHAR, 4, 64],
    ['/dev/vcs', CHAR, 7, 0],
    ['/dev/sda', BLOCK, 8, 0],
    ['a loop device', BLOCK, 7, 0],
    ['/dev/zfs', CHAR, 10, 249],
    ['a block device with the number of /dev/null', BLOCK, 1, 3],
  ])('not %s, neither by reading nor by writing', (_, type, major, minor) => {
    for (const mknod of ['any', 'table'] as const) {
      for (const access of [2, 3, 4, 5, 6, 7]) expect(may(mknod, type, major, minor, access)).toBe(false);
    }
  });

  test('ENV-23 mknod of any number is allowed by default, and refused with devices.mknod: table', () => {
    for (const [type, major, minor] of [
      [BLOCK, 8, 0],
      [CHAR, 4, 64],
      [CHAR, 240, 7],
    ] as const) {
      expect(may('any', type, major, minor, 1)).toBe(true);
      expect(may('table', type, major, minor, 1)).toBe(false);
    }
    expect(may('table', CHAR, 1, 3, 1)).toBe(true);
  });
});

/** The table of container-environment §3, copied by hand: the source must agree with the page, not with itself. */
const PAGE = [
  'c 1:3 rwm',
  'c 1:5 rwm',
  'c 1:7 rwm',
  'c 1:8 rwm',
  'c 1:9 rwm',
  'c 5:0 rwm',
  'c 10:229 rwm',
  'c 10:200 rwm',
  'c 136:* rwm',
  'c 5:2 rwm',
  'c 5:1 rwm',
];

describe('ENV-15 the policy rows', () => {
  test('are the rows of the page, no more and no fewer', () => {
    expect(deviceLines(deviceRules('table')).sort()).toEqual([...PAGE].sort());
    expect(deviceLines(deviceRules('any')).sort()).toEqual([...PAGE, 'c *:* m', 'b *:* m'].sort());
  });

  test('each say what they are for', () => {
    for (const { reason } of deviceRules('any')) expect(reason).toMatch(/^(\/dev\/|mknod)/);
  });
});
