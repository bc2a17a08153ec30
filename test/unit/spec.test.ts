/** What a user may write about a container: each mistake is SPEC_INVALID and names the field. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DEFAULT_CONSOLE_RING, DEFAULT_DEV_SIZE, resolveSpec } from '#src/spec/container.js';
import { CaissonError } from '#src/spec/errors.js';
import { isContainerName, NAME_RULE } from '#src/spec/names.js';
import { RLIMIT_NAMES } from '#src/spec/rlimits.js';
import { containerSpecSchema, parseSpecInput } from '#src/spec/schema.js';
import { specInput } from './arbitraries.js';
import { deepFreeze, errorOf, expectError, RANGE } from './kit.js';

/** Every key that a spec may have at its top. */
const FIELDS = Object.keys(containerSpecSchema.pipe[1].entries);
const MINIMAL = { name: 'web', rootfs: '/srv/web' };
const resolve = (input: unknown) => resolveSpec(input, () => RANGE);

/** `input` is refused; the error names `field`, and its message begins with it and says `reason`. */
function refused(input: unknown, field: string, reason: RegExp): void {
  const error = expectError(() => resolve(input), 'SPEC_INVALID', field);
  expect(error.message).toMatch(new RegExp(`^${(field || 'the spec').replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}: `));
  expect(error.message).toMatch(reason);
  // No words of the validator's own.
  expect(error.message).not.toMatch(/Invalid|Expected|received/);
}

describe('defaults', () => {
  test('of the smallest spec', () => {
    expect(resolve(MINIMAL)).toEqual({
      name: 'web',
      rootfs: {
        path: '/srv/web',
        kind: 'directory',
        readOnly: false,
        createMissing: false,
        overlay: 'none',
        allowSharedSuperblock: false,
        shift: 'auto',
      },
      init: '/sbin/init',
      args: [],
      type: 'lxc',
      environment: {},
      uuid: null,
      machineId: 'none',
      hostInfo: 'none',
      ready: 'none',
      credentials: {},
      hostname: 'web',
      timezone: 'off',
      resolvConf: 'auto',
      linkJournal: 'no',
      idmap: RANGE,
      devices: { mknod: 'any', size: 500_000 },
      sys: 'ro',
      lxcfs: 'auto',
      cgroups: { layout: 'auto', scope: 'auto', machined: 'auto', slice: 'machine.slice' },
      limits: { memory: null, pids: null },
      rlimits: {},
      sysctls: {},
      capabilities: { keep: [], drop: [] },
      security: { seccomp: 'default', apparmor: 'auto', nesting: false },
      oomScoreAdj: 0,
      signals: { halt: null, reboot: null, stop: 'SIGKILL', fallback: 'command', profile: 'auto' },
      restart: {
        policy: 'no',
        backoff: { initial: 100, factor: 2, max: 60_000, jitter: 0.1, resetAfter: 10_000 },
        limit: { count: 10, period: 60_000 },
      },
      boot: {
        autostart: 'last-state',
        priority: null,
        delay: 0,
        autorestart: false,
        stopPriority: 0,
        hostShutdownTimeout: 30_000,
        hostShutdownAction: 'stop',
      },
      ephemeral: false,
      health: null,
      ttys: 0,
      console: { ring: 131_072, log: { maxBytes: 1_048_576, files: 4 }, controlling: 'auto', rows: 24, cols: 80 },
    });
    expect([DEFAULT_DEV_SIZE, DEFAULT_CONSOLE_RING]).toEqual([500_000, 128 * 1024]);
  });

  test('rootfs as a string and as an object with only a path mean the same', () => {
    expect(resolve({ name: 'web', rootfs: { path: '/srv/web' } })).toEqual(resolve(MINIMAL));
  });

  test('a field that is there but undefined is as one left out', () => {
    const fields = FIELDS.filter(field => field !== 'name' && field !== 'rootfs');
    const input = { ...MINIMAL, ...Object.fromEntries(fields.map(field => [field, undefined])) };
    expect(resolve(input)).toEqual(resolve(MINIMAL));
  });

  test('ids are allocated once, and only for an unprivileged container without an idmap of its own', () => {
    const asked: unknown[] = [];
    const allocate = () => {
      asked.push(1);
      return RANGE;
    };
    expect(resolveSpec({ ...MINIMAL, privileged: true }, allocate).idmap).toBeNull();
    expect(resolveSpec({ ...MINIMAL, idmap: { first: 9, count: 3 } }, allocate).idmap).toEqual({ first: 9, count: 3 });
    expect(() => resolveSpec({ ...MINIMAL, init: 'x' }, allocate)).toThrow();
    expect(asked).toEqual([]);
    expect(resolveSpec({ ...MINIMAL, privileged: false }, allocate).idmap).toEqual(RANGE);
    expect(asked).toHaveLength(1);
  });

  test('a resolved spec shares nothing with the input: a later change of the input is no change of the spec', () => {
    const input = {
      ...MINIMAL,
      rootfs: { path: '/srv/web' },
      args: ['a'],
      environment: { A: '1' },
      idmap: { first: 5, count: 5 },
      rlimits: { nofile: { soft: 1, hard: 2 } },
      capabilities: { keep: ['sys_time'], drop: ['chown'] },
    };
    const spec = resolve(input);
    const before = structuredClone(spec);
    input.rootfs.path = '/etc';
    input.args.push('b');
    input.environment.A = '2';
    input.idmap.first = 1;
    input.rlimits.nofile.soft = 2;
    input.capabilities.keep.push('sys_module');
    input.capabilities.drop.push('kill');
    expect(spec).toEqual(before);
  });
});

describe('HST-60 sysctls', () => {
  const of = (name: string, value: unknown = '1') => ({ ...MINIMAL, sysctls: { [name]: value } });

  test.each([
    'kernel.panic',
    'kernel.core_pattern',
    'kernel.hostname.x',
    'kernel',
    'vm.swappiness',
    'fs.file-max',
    'fs.mqueue',
    'fs.mqueue.a.b',
    'net',
    'net.',
    'net..core',
    'net/../kernel/panic',
    'net.ipv4.../kernel/panic',
    'net.ipv4/../../kernel/panic',
    'Net.core.somaxconn',
    'constructor',
    '',
  ])('%j is refused by name', name => {
    refused(of(name), `sysctls.${name}`, /must be net\.\*, fs\.mqueue\.\*/);
  });

  test('what namespaces have for themselves is taken; numbers become text', () => {
    const names = ['hostname', 'domainname', 'msgmax', 'msgmnb', 'msgmni', 'sem', 'shmall', 'shmmax', 'shmmni'];
    for (const name of [...names.map(word => `kernel.${word}`), 'fs.mqueue.msg_max', 'net.ipv4.conf.eth0.rp_filter']) {
      expect(resolve(of(name, 5)).sysctls).toEqual({ [name]: '5' });
    }
  });

  test.each([true, null, {}, [], 1.5, Number.NaN, '', 'a\nb', 'a\0b', 'x'.repeat(4096)])(
    'value %j is refused',
    value => {
      refused(of('net.core.somaxconn', value), 'sysctls.net.core.somaxconn', /must be/);
    },
  );
});

describe('capabilities', () => {
  test('names are those of the kernel in lower case, without cap_', () => {
    for (const name of ['CAP_CHOWN', 'cap_chown', 'Chown', 'chwon', 'constructor', 'all', '']) {
      refused({ ...MINIMAL, capabilities: { drop: ['sys_ptrace', name] } }, 'capabilities.drop.1', /without cap_/);
    }
  });

  test('to keep means what would be dropped; anything else is a misunderstanding', () => {
    refused({ ...MINIMAL, capabilities: { keep: ['chown'] } }, 'capabilities.keep.0', /dropped by default: sys_time, /);
    expect(resolve({ ...MINIMAL, capabilities: { keep: ['sys_time'] } }).capabilities.keep).toEqual(['sys_time']);
  });

  test('to keep and to drop the same is refused', () => {
    const capabilities = { keep: ['audit_write'], drop: ['chown', 'audit_write'] };
    refused({ ...MINIMAL, capabilities }, 'capabilities.drop.1', /audit_write is to be kept/);
  });
});

describe('unknown keys, at every level', () => {
  const levels: [string, (key: string) => unknown][] = [
    ['', key => ({ ...MINIMAL, [key]: 1 })],
    ['rootfs.', key => ({ ...MINIMAL, rootfs: { path: '/srv/web', [key]: 1 } })],
    ['idmap.', key => ({ ...MINIMAL, idmap: { first: 1, count: 1, [key]: 1 } })],
    ['devices.', key => ({ ...MINIMAL, devices: { [key]: 1 } })],
    ['cgroups.', key => ({ ...MINIMAL, cgroups: { [key]: 1 } })],
    ['limits.', key => ({ ...MINIMAL, limits: { [key]: 1 } })],
    ['rlimits.', key => ({ ...MINIMAL, rlimits: { [key]: { soft: 1, hard: 1 } } })],
    ['rlimits.nofile.', key => ({ ...MINIMAL, rlimits: { nofile: { soft: 1, hard: 1, [key]: 1 } } })],
    ['capabilities.', key => ({ ...MINIMAL, capabilities: { [key]: ['chown'] } })],
    ['security.', key => ({ ...MINIMAL, security: { [key]: 1 } })],
    ['signals.', key => ({ ...MINIMAL, signals: { [key]: 1 } })],
    ['console.', key => ({ ...MINIMAL, console: { [key]: 1 } })],
  ];
  describe.each(levels)('%s…', (prefix, make) => {
    test.each(['memry', 'Name', 'constructor', 'toString', 'hasOwnProperty', ''])('%j', key => {
      refused(make(key), `${prefix}${key}`, /is not a known key$/);
    });
  });

  test('__proto__ as a key of JSON', () => {
    refused(JSON.parse('{"name":"web","rootfs":"/r","__proto__":{"privileged":true}}'), '__proto__', /not a known key/);
  });
});

const WRONG_FOR: Readonly<Record<string, readonly unknown[]>> = {
  string: [5, true, null, {}, []],
  path: [5, true, null, [], {}],
  number: ['5', true, null, {}, []],
  boolean: ['true', 1, 0, null, {}, []],
  object: ['x', 5, true, null, [], [1], new Date(0), new Map()],
  array: ['x', 5, null, {}, true],
  word: ['x', 5, null, {}, [], true],
};

describe('wrong types', () => {
  const cases: [string, keyof typeof WRONG_FOR, RegExp, (value: unknown) => unknown][] = [
    ['name', 'string', /must be a string/, name => ({ ...MINIMAL, name })],
    ['init', 'path', /must be a string/, init => ({ ...MINIMAL, init })],
    ['args', 'array', /must be a list of strings/, args => ({ ...MINIMAL, args })],
    ['args.1', 'string', /must be a string/, value => ({ ...MINIMAL, args: ['a', value] })],
    ['type', 'string', /must be a string/, type => ({ ...MINIMAL, type })],
    ['environment', 'object', /must be an object/, environment => ({ ...MINIMAL, environment })],
    ['environment.A', 'string', /must be a string/, A => ({ ...MINIMAL, environment: { A } })],
    ['hostname', 'string', /must be a string/, hostname => ({ ...MINIMAL, hostname })],
    ['privileged', 'boolean', /must be true or false/, privileged => ({ ...MINIMAL, privileged })],
    ['idmap', 'object', /must be an object/, idmap => ({ ...MINIMAL, idmap })],
    ['idmap.first', 'number', /must be a number/, first => ({ ...MINIMAL, idmap: { first, count: 1 } })],
    ['idmap.count', 'number', /must be a number/, count => ({ ...MINIMAL, idmap: { first: 1, count } })],
    ['devices', 'object', /must be an object/, devices => ({ ...MINIMAL, devices })],
    ['devices.mknod', 'word', /must be any or table/, mknod => ({ ...MINIMAL, devices: { mknod } })],
    ['devices.size', 'number', /must be a number/, size => ({ ...MINIMAL, devices: { size } })],
    ['sys', 'word', /must be ro or rw/, sys => ({ ...MINIMAL, sys })],
    ['cgroups', 'object', /must be an object/, cgroups => ({ ...MINIMAL, cgroups })],
    ['cgroups.scope', 'word', /must be auto or none/, scope => ({ ...MINIMAL, cgroups: { scope } })],
    ['cgroups.slice', 'word', /must be (a string|the name of a slice)/, slice => ({ ...MINIMAL, cgroups: { slice } })],
    ['cgroups.layout', 'word', /must be auto, unified/, layout => ({ ...MINIMAL, cgroups: { layout } })],
    ['limits', 'object', /must be an object/, limits => ({ ...MINIMAL, limits })],
    ['limits.memory', 'number', /must be a number/, memory => ({ ...MINIMAL, limits: { memory } })],
    ['limits.pids', 'number', /must be a number/, pids => ({ ...MINIMAL, limits: { pids } })],
    ['rlimits', 'object', /must be an object/, rlimits => ({ ...MINIMAL, rlimits })],
    ['rlimits.core', 'object', /must be an object/, core => ({ ...MINIMAL, rlimits: { core } })],
    [
      'rlimits.core.soft',
      'number',
      /must be a whole number of at least 0, or unlimited/,
      soft => ({ ...MINIMAL, rlimits: { core: { soft, hard: 9 } } }),
    ],
    [
      'rlimits.core.hard',
      'number',
      /must be a whole number of at least 0, or unlimited/,
      hard => ({ ...MINIMAL, rlimits: { core: { soft: 0, hard } } }),
    ],
    ['sysctls', 'object', /must be an object/, sysctls => ({ ...MINIMAL, sysctls })],
    ['capabilities', 'object', /must be an object/, capabilities => ({ ...MINIMAL, capabilities })],
    ['capabilities.keep', 'array', /must be a list/, keep => ({ ...MINIMAL, capabilities: { keep } })],
    ['capabilities.drop', 'array', /must be a list/, drop => ({ ...MINIMAL, capabilities: { drop } })],
    ['capabilities.drop.0', 'word', /must be a capability/, drop => ({ ...MINIMAL, capabilities: { drop: [drop] } })],
    ['capabilities.keep.0', 'word', /dropped by default/, keep => ({ ...MINIMAL, capabilities: { keep: [keep] } })],
    ['security', 'object', /must be an object/, security => ({ ...MINIMAL, security })],
    ['security.seccomp', 'word', /must be default or none/, seccomp => ({ ...MINIMAL, security: { seccomp } })],
    ['security.apparmor', 'string', /must be auto, none/, apparmor => ({ ...MINIMAL, security: { apparmor } })],
    ['security.nesting', 'boolean', /must be true or false/, nesting => ({ ...MINIMAL, security: { nesting } })],
    ['oomScoreAdj', 'number', /must be a number/, oomScoreAdj => ({ ...MINIMAL, oomScoreAdj })],
    ['signals', 'object', /must be an object/, signals => ({ ...MINIMAL, signals })],
    ['ttys', 'number', /must be a number/, ttys => ({ ...MINIMAL, ttys })],
    ['console', 'object', /must be an object/, console => ({ ...MINIMAL, console })],
    ['console.ring', 'number', /must be a number/, ring => ({ ...MINIMAL, console: { ring } })],
    [
      'console.controlling',
      'boolean',
      /must be true, false or auto/,
      controlling => ({ ...MINIMAL, console: { controlling } }),
    ],
    ['console.rows', 'number', /must be a number/, rows => ({ ...MINIMAL, console: { rows } })],
    ['console.cols', 'number', /must be a number/, cols => ({ ...MINIMAL, console: { cols } })],
    [
      'rootfs.createMissing',
      'boolean',
      /must be true or false/,
      createMissing => ({ ...MINIMAL, rootfs: { path: '/r', createMissing } }),
    ],
    [
      'rootfs.overlay',
      'word',
      /must be none, ephemeral or persistent/,
      overlay => ({ ...MINIMAL, rootfs: { path: '/r', overlay } }),
    ],
    ['rootfs.path', 'path', /must be a string/, path => ({ ...MINIMAL, rootfs: { path } })],
  ];
  test.each(cases)('%s', (field, kind, reason, make) => {
    for (const value of WRONG_FOR[kind] ?? []) refused(make(value), field, reason);
  });

  test.each([undefined, null, 'x', 5, true, [], [MINIMAL], new Date(0)])('the whole spec is %j', input => {
    refused(input, '', /^the spec: must be an object$/);
  });

  test("rootfs.shift: chown changes a directory that is written, for ids that are not the host's", () => {
    const rootfs = { path: '/r', shift: 'chown' };
    refused({ ...MINIMAL, rootfs: { ...rootfs, overlay: 'ephemeral' } }, 'rootfs.shift', /only read/);
    refused({ ...MINIMAL, rootfs, privileged: true }, 'rootfs.shift', /no ids of its own/);
    refused({ ...MINIMAL, rootfs: { path: '/r', shift: 'yes' } }, 'rootfs.shift', /auto, idmap, chown or none/);
    refused({ ...MINIMAL, rootfs: { archive: '/r.tar', shift: 'chown' } }, 'rootfs.shift', /known/);
  });

  test('rootfs names an archive, whose tree is shared, together with something else', () => {
    const archive = '/r.tar';
    refused({ ...MINIMAL, rootfs: { archive, path: '/r' } }, 'rootfs.path', /not a known key/);
    refused({ ...MINIMAL, rootfs: { archive, overlay: 'none' } }, 'rootfs.overlay', /must be ephemeral or persistent/);
    refused({ ...MINIMAL, rootfs: { archive, allowSharedSuperblock: true } }, 'rootfs.allowSharedSuperblock', /known/);
    refused({ ...MINIMAL, rootfs: { archive: 'r.tar' } }, 'rootfs.archive', /must be an absolute path/);
    expect(resolve({ ...MINIMAL, rootfs: { archive } }).rootfs).toMatchObject({
      path: archive,
      kind: 'archive',
      overlay: 'persistent',
    });
  });

  test.each([5, null, true, [], ['/a'], new Map()])('rootfs is %j', rootfs => {
    refused({ ...MINIMAL, rootfs }, 'rootfs', /must be an absolute path or an object with a path/);
  });
});

describe('what is missing', () => {
  test.each([
    ['name', { rootfs: '/r' }],
    ['rootfs', { name: 'web' }],
    ['rootfs.path', { name: 'web', rootfs: {} }],
    ['idmap.first', { ...MINIMAL, idmap: { count: 1 } }],
    ['idmap.count', { ...MINIMAL, idmap: { first: 1 } }],
    ['rlimits.nofile.soft', { ...MINIMAL, rlimits: { nofile: { hard: 1 } } }],
    ['rlimits.nofile.hard', { ...MINIMAL, rlimits: { nofile: { soft: 1 } } }],
  ])('%s', (field, input) => {
    refused(input, field, /is missing$/);
  });
});

describe('names', () => {
  test.each([
    ['empty', ''],
    ['a slash', 'a/b'],
    ['a leading slash', '/a'],
    ['..', '..'],
    ['.', '.'],
    ['a dot', 'a.b'],
    ['NUL', 'a\0b'],
    ['300 characters', 'a'.repeat(300)],
    ['64 characters', 'a'.repeat(64)],
    ['a leading hyphen', '-a'],
    ['a trailing hyphen', 'a-'],
    ['a newline at the end', 'a\n'],
    ['a blank', 'a b'],
    ['a letter outside ASCII', 'ä'],
    ['an underscore', 'a_b'],
  ])('%s', (_, name) => {
    refused({ ...MINIMAL, name }, 'name', /1 to 63 letters, digits and hyphens/);
    expect(isContainerName(name)).toBe(false);
  });

  test.each(['a', 'A', '0', 'web-1', 'a--b', 'a'.repeat(63)])('%s is one', name => {
    expect(resolve({ ...MINIMAL, name })).toMatchObject({ name, hostname: name });
  });

  test('the rule says what the pattern does', () => {
    const letters = fc.stringMatching(/^[A-Za-z0-9-]{1,70}$/);
    expect(NAME_RULE).toContain('63');
    fc.assert(
      fc.property(letters, name => {
        const good = name.length <= 63 && !name.startsWith('-') && !name.endsWith('-');
        expect(isContainerName(name)).toBe(good);
      }),
    );
  });
});

describe('paths', () => {
  const places: [string, (path: string) => unknown][] = [
    ['rootfs', rootfs => ({ ...MINIMAL, rootfs })],
    ['rootfs.path', path => ({ ...MINIMAL, rootfs: { path } })],
    ['init', init => ({ ...MINIMAL, init })],
  ];
  describe.each(places)('%s', (field, make) => {
    test.each(['srv/web', './web', '../web', '~', ' /web', 'C:\\web', ''])('relative: %j', path => {
      refused(make(path), field, /must be an absolute path/);
    });

    test('NUL', () => refused(make('/a\0b'), field, /must not contain a NUL byte/));

    test('longer than the kernel takes, in bytes', () => {
      refused(make(`/${'a'.repeat(4095)}`), field, /at most 4095 bytes/);
      refused(make(`/${'é'.repeat(2048)}`), field, /at most 4095 bytes/);
      expect(() => resolve(make(`/${'é'.repeat(2047)}`))).not.toThrow();
    });
  });
});

describe('arguments and environment', () => {
  test('NUL is refused: execve would cut the string there', () => {
    refused({ ...MINIMAL, args: ['a', 'b\0c'] }, 'args.1', /NUL/);
    refused({ ...MINIMAL, environment: { A: 'b\0c' } }, 'environment.A', /NUL/);
    refused({ ...MINIMAL, environment: { 'A\0': 'b' } }, 'environment.A\0', /must be a variable name/);
  });

  test.each(['', 'A B', 'A=B', '1A', 'A-B', 'Ä', 'A\n'])('%j is no variable name', name => {
    refused({ ...MINIMAL, environment: { [name]: 'x' } }, `environment.${name}`, /must be a variable name/);
  });

  test('ENV-52 container= cannot be overridden: type is for that', () => {
    refused({ ...MINIMAL, environment: { A: '1', container: 'docker' } }, 'environment.container', /use type/);
    expect(resolve({ ...MINIMAL, type: 'oci', environment: { CONTAINER: 'x' } }).environment).toEqual({
      CONTAINER: 'x',
    });
  });

  test('variables named like parts of every object are kept, not dropped', () => {
    const environment = JSON.parse('{"constructor":"a","prototype":"b","__proto__":"c","toString":"d"}') as unknown;
    expect(Object.entries(resolve({ ...MINIMAL, environment }).environment)).toEqual([
      ['constructor', 'a'],
      ['prototype', 'b'],
      ['__proto__', 'c'],
      ['toString', 'd'],
    ]);
  });

  test.each(['', 'Docker', 'a b', 'a\0', 'x'.repeat(33), 'a=b'])('type %j', type => {
    refused({ ...MINIMAL, type }, 'type', /must be a short lower-case word/);
  });

  test.each(['', '-a', 'a-', 'a_b', 'a b', 'a\0', 'a'.repeat(65), 'a.', '.a'])('hostname %j', hostname => {
    refused({ ...MINIMAL, hostname }, 'hostname', /must be a host name/);
  });
});

describe('numbers', () => {
  test.each([
    ['limits.memory', 0, (memory: number) => ({ ...MINIMAL, limits: { memory } })],
    ['limits.pids', 0, (pids: number) => ({ ...MINIMAL, limits: { pids } })],
    ['devices.size', 0, (size: number) => ({ ...MINIMAL, devices: { size } })],
    ['idmap.first', 0, (first: number) => ({ ...MINIMAL, idmap: { first, count: 1 } })],
    ['idmap.count', 0, (count: number) => ({ ...MINIMAL, idmap: { first: 1, count } })],
    ['oomScoreAdj', -1001, (oomScoreAdj: number) => ({ ...MINIMAL, oomScoreAdj })],
    ['console.log.maxBytes', 65_535, (maxBytes: number) => ({ ...MINIMAL, console: { log: { maxBytes } } })],
    ['console.log.files', 0, (files: number) => ({ ...MINIMAL, console: { log: { files } } })],
    ['console.ring', -1, (ring: number) => ({ ...MINIMAL, console: { ring } })],
    ['console.rows', 0, (rows: number) => ({ ...MINIMAL, console: { rows } })],
    ['console.cols', 0, (cols: number) => ({ ...MINIMAL, console: { cols } })],
  ] as const)('%s: too small, fractional, not finite, beyond what a number holds exactly', (field, tooSmall, make) => {
    refused(make(tooSmall), field, /must be at least/);
    expect(() => resolve(make(tooSmall + 1))).not.toThrow();
    refused(make(1.5), field, /must be a whole number/);
    refused(make(Number.NaN), field, /must be a/);
    refused(make(Number.POSITIVE_INFINITY), field, /must be a/);
    refused(make(2 ** 53), field, /must be a/);
  });

  test.each([
    ['oomScoreAdj', 1001, (oomScoreAdj: number) => ({ ...MINIMAL, oomScoreAdj })],
    ['console.rows', 65_536, (rows: number) => ({ ...MINIMAL, console: { rows } })],
    ['console.ring', 64 * 1024 * 1024 + 1, (ring: number) => ({ ...MINIMAL, console: { ring } })],
    ['idmap.first', 0xffff_ffff, (first: number) => ({ ...MINIMAL, idmap: { first, count: 1 } })],
  ] as const)('%s: too large', (field, tooLarge, make) => {
    refused(make(tooLarge), field, /must be at most/);
    expect(() => resolve(make(tooLarge - 1))).not.toThrow();
  });
});

describe('id maps', () => {
  test('a privileged container has none', () => {
    const error = expectError(
      () => resolve({ ...MINIMAL, privileged: true, idmap: { first: 1, count: 1 } }),
      'SPEC_INVALID',
      'idmap',
    );
    expect(error.message).toContain('no user namespace');
    expect(error.hint).toContain('privileged');
    expect(resolve({ ...MINIMAL, privileged: false, idmap: { first: 1, count: 1 } }).idmap).toEqual({
      first: 1,
      count: 1,
    });
  });

  test('the range ends before the id that means nobody asked (2^32 - 1)', () => {
    expect(resolve({ ...MINIMAL, idmap: { first: 0xffff_0000, count: 0xffff } }).idmap).toEqual({
      first: 0xffff_0000,
      count: 0xffff,
    });
    expectError(
      () => resolve({ ...MINIMAL, idmap: { first: 0xffff_0000, count: 0x10000 } }),
      'SPEC_INVALID',
      'idmap.count',
    );
  });
});

describe('resource limits', () => {
  test('a soft limit above the hard one is refused: the kernel would say EINVAL in the middle of a start', () => {
    refused(
      { ...MINIMAL, rlimits: { nofile: { soft: 2, hard: 1 } } },
      'rlimits.nofile',
      /soft limit above the hard one/,
    );
    refused(
      { ...MINIMAL, rlimits: { nofile: { soft: 'unlimited', hard: 1 } } },
      'rlimits.nofile',
      /soft limit above the hard one/,
    );
    for (const limit of [
      { soft: 1, hard: 1 },
      { soft: 'unlimited', hard: 'unlimited' },
      { soft: 0, hard: 'unlimited' },
    ]) {
      expect(resolve({ ...MINIMAL, rlimits: { nofile: limit } }).rlimits).toEqual({ nofile: limit });
    }
  });

  test("each of the kernel's names is taken", () => {
    for (const name of RLIMIT_NAMES) {
      expect(resolve({ ...MINIMAL, rlimits: { [name]: { soft: 0, hard: 0 } } }).rlimits).toEqual({
        [name]: { soft: 0, hard: 0 },
      });
    }
  });

  test.each([-1, 1.5, Number.NaN, 'Unlimited', 'infinity', ''])('%j is no limit', value => {
    refused({ ...MINIMAL, rlimits: { cpu: { soft: value, hard: 9 } } }, 'rlimits.cpu.soft', /or unlimited/);
  });
});

describe('signals', () => {
  test.each(['FOO', 'SIGFOO', '', 'SIGRTMIN+31', 'SIGRTMIN-1', '0', '65', 0, 65, -1, 1.5, Number.NaN])(
    '%j is none',
    value => {
      refused({ ...MINIMAL, signals: { halt: value } }, 'signals.halt', /must be a signal/);
      refused({ ...MINIMAL, signals: { reboot: value } }, 'signals.reboot', /must be a signal/);
    },
  );

  test.each([null, {}, [], true])('%j is neither name nor number', value => {
    refused({ ...MINIMAL, signals: { halt: value } }, 'signals.halt', /must be a signal name or number/);
  });

  test.each(['SIGTERM', 'term', 'SIGRTMIN+3', '15', 15, 64])('%j is one, and kept as it was written', value => {
    expect(resolve({ ...MINIMAL, signals: { halt: value } }).signals).toMatchObject({ halt: value, reboot: null });
  });
});

describe('properties', () => {
  test('arbitrary JSON is either a spec or a CaissonError that names a field', () => {
    fc.assert(
      fc.property(fc.jsonValue(), input => {
        const error = errorOf(() => parseSpecInput(input));
        expect(error.code).toBe('SPEC_INVALID');
        expect(typeof error.field).toBe('string');
      }),
      { numRuns: 500 },
    );
  });

  test('a good spec with one field replaced by arbitrary JSON: accepted, or an error at or below that field', () => {
    fc.assert(
      fc.property(specInput, fc.constantFrom(...FIELDS), fc.jsonValue(), (input, field, value) => {
        try {
          parseSpecInput({ ...input, [field]: value });
        } catch (error) {
          if (!CaissonError.is(error)) throw error;
          expect(error.field === field || error.field?.startsWith(`${field}.`), `${error.field} for ${field}`).toBe(
            true,
          );
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('what is valid resolves, changes nothing of the input, and reads the same after JSON', () => {
    fc.assert(
      fc.property(specInput, input => {
        const before = structuredClone(input);
        const spec = resolve(deepFreeze(input));
        expect(input).toEqual(before);
        expect(resolve(JSON.parse(JSON.stringify(input)))).toEqual(spec);
        expect(spec.name).toBe(input.name);
      }),
      { numRuns: 300 },
    );
  });

  test('any unknown key is refused by name', () => {
    const known = new Set(FIELDS);
    fc.assert(
      fc.property(fc.string(), fc.jsonValue(), (key, value) => {
        fc.pre(!known.has(key));
        const input = Object.defineProperty({ ...MINIMAL }, key, { value, enumerable: true });
        expect(errorOf(() => parseSpecInput(input)).field).toBe(key);
      }),
    );
  });
});

test('ENV-52: ready: notify and a NOTIFY_SOCKET of one’s own exclude each other', () => {
  const spec = { name: 'c', rootfs: '/srv/c', environment: { NOTIFY_SOCKET: '/x' } };
  expect(resolveSpec(spec, () => ({ first: 1, count: 1 })).ready).toBe('none');
  expect(() => resolveSpec({ ...spec, ready: 'notify' }, () => ({ first: 1, count: 1 }))).toThrow(
    expect.objectContaining({ code: 'SPEC_INVALID', field: 'environment.NOTIFY_SOCKET' }),
  );
});

describe('HST-19 aliases of credentials', () => {
  const base = { name: 'web', rootfs: '/srv/web' };
  const resolve = (input: object) => resolveSpec({ ...base, ...input }, () => ({ first: 1_000_000, count: 65_536 }));

  test('are entries of credentials, as text or as bytes', () => {
    const aliases = { 'systemd.credential.a': 'text', 'systemd.credential-binary.b.c': 'AAH/' };
    expect(resolve(aliases)).toEqual(resolve({ credentials: { a: 'text', 'b.c': { base64: 'AAH/' } } }));
    expect(resolve({ ...aliases, credentials: { d: 'x' } }).credentials).toEqual({
      d: 'eA==',
      a: 'dGV4dA==',
      'b.c': 'AAH/',
    });
  });

  test.each([
    ['systemd.credential.', 'x'],
    ['systemd.credential.a/b', 'x'],
    ['systemd.credential.a', 1],
    ['systemd.credential-binary.a', 'no Base64'],
    ['systemd.credential.twice', 'x'],
  ])('%s: %j is refused by its own name', (key, value) => {
    expectError(() => resolve({ credentials: { twice: 'x' }, [key]: value }), 'SPEC_INVALID', key);
  });

  test('a key like them that is none is unknown', () => {
    expectError(() => resolve({ 'systemd.credentials.a': 'x' }), 'SPEC_INVALID', 'systemd.credentials.a');
  });
});
