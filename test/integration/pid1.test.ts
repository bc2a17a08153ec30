/** PID 1 as it is born: program, environment, descriptors, session, signals, ids, limits, capabilities (ENV-50 to ENV-60). */
import { execFile } from 'node:child_process';
import { appendFileSync, chmodSync, copyFileSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { CAPABILITIES, type Capability } from '#src/spec/capabilities.js';
import { syscall } from '#src/syscalls/libc.js';
import { BIRTH, compileInto, ELEVATED } from '../lib/programs.ts';
import { parseLimits, parseStatus } from '../lib/report.ts';
import { MODES, type Mode, useRig, waitForText } from '../lib/rig.ts';

const rig = useRig({
  prepare: rootfs => {
    compileInto(rootfs, 'birth', BIRTH);
    chmodSync(join(rootfs, compileInto(rootfs, 'elevated', ELEVATED)), 0o4755);
  },
});

/** What a container loses by default, in words of the spec page. */
function dropped(mode: Mode): Capability[] {
  const audit: Capability[] = ['audit_control', 'audit_read', 'audit_write'];
  if (mode === 'unprivileged') return audit;
  return [...audit, 'sys_time', 'sys_module', 'sys_rawio', 'mac_admin', 'mac_override'];
}

/** The sets in a status file: all there are, or all of the supervisor, but for those. */
function expectCapabilities(text: string, mode: Mode, without: readonly Capability[]): void {
  const status = parseStatus(text);
  const host = parseStatus(readFileSync('/proc/self/status', 'utf8'));
  const last = Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8'));
  const full = (1n << BigInt(last + 1)) - 1n;
  const mask = without.reduce((bits, name) => bits | (1n << BigInt(CAPABILITIES.indexOf(name))), 0n);
  const expected = (mode === 'unprivileged' ? full : BigInt(`0x${host.CapBnd}`)) & ~mask;
  for (const set of ['CapBnd', 'CapPrm', 'CapEff']) {
    expect(BigInt(`0x${status[set]}`).toString(16), set).toBe(expected.toString(16));
  }
  for (const set of ['CapInh', 'CapAmb']) expect(BigInt(`0x${status[set]}`), set).toBe(0n);
  for (const name of ['mknod', 'sys_admin', 'sys_boot'] as const) {
    expect(expected & (1n << BigInt(CAPABILITIES.indexOf(name))), name).not.toBe(0n);
  }
}

describe.each(MODES)('%s', mode => {
  test('ENV-50, ENV-53, ENV-54, ENV-55: descriptors, signals, session', async () => {
    // Bait: descriptors of ours that a careless exec would hand on, one of them beyond the usual range.
    const bait = openSync('/etc/passwd', 'r');
    const leaky = syscall('dup3', bait, 900, 0);
    let text: string;
    try {
      ({ text } = await rig.run({ mode, init: '/bin/birth' }));
    } finally {
      syscall('close', bait);
      syscall('close', leaky);
    }
    const lines = text.split('\n');
    expect(lines.filter(line => line.startsWith('fd '))).toEqual([0, 1, 2].map(fd => `fd ${fd} char 136:0 flags 0`));
    expect(lines.filter(line => line.startsWith('blocked') || line.startsWith('not default'))).toEqual([]);
    expect(lines).toContain('argc 1 argv0 /bin/birth');
    expect(lines).toContain('pid 1 ppid 0 sid 1 tcpgrp 1');
    expect(lines).toContain('tty opens');
    expect(lines).toContain('name /dev/pts/0');
  });

  test('ENV-54: console.controlling: false leaves the terminal to a shell of init', async () => {
    const { lines } = await rig.run({ mode, init: '/bin/birth', console: { controlling: false } });
    expect(lines).toContain('pid 1 ppid 0 sid 1 tcpgrp -1');
    expect(lines).toContain('tty No such device or address');
  });

  test('ENV-54: console.controlling: auto goes by what init the image has', async () => {
    const asked = async (init: string, text: string): Promise<string[]> => {
      const tree = rig.tree();
      rmSync(`${tree}/sbin/init`);
      copyFileSync(`${rig.rootfs}/bin/birth`, `${tree}${init}`);
      // Behind what the program needs of its file.
      appendFileSync(`${tree}${init}`, text);
      return (await rig.run({ mode, rootfs: { path: tree, overlay: 'ephemeral' }, init })).lines;
    };
    // A program of the user's own may be called init, too.
    expect(await asked('/sbin/init', '')).toContain('pid 1 ppid 0 sid 1 tcpgrp 1');
    // An idle terminal, so that the console is anybody's.
    const sysvinit = await asked('/sbin/init', '\0/etc/inittab\0');
    expect(sysvinit).toContain('pid 1 ppid 0 sid 1 tcpgrp -1');
    expect(sysvinit).toContain('tty opens');
    const runit = await asked('/sbin/runit', '');
    expect(runit).toContain('pid 1 ppid 0 sid 1 tcpgrp -1');
    expect(runit).toContain('tty No such device or address');
  });

  test('ENV-50, ENV-51: argv is the path only, the environment one line, /sbin/init by default', async () => {
    const show = { init: '/bin/sh', args: ['-c', 'tr "\\0" "\\n" </proc/1/environ; echo; readlink /proc/1/exe'] };
    const { lines } = await rig.run({ mode, ...show });
    expect(lines).toEqual(['container=lxc', '/bin/busybox']);
    const tree = rig.tree();
    rmSync(`${tree}/sbin/init`);
    copyFileSync(`${rig.rootfs}/bin/birth`, `${tree}/sbin/init`);
    const booted = await rig.run({ mode, rootfs: { path: tree, overlay: 'ephemeral' } });
    expect(booted.lines).toContain('argc 1 argv0 /sbin/init');
    expect(booted.lines).toContain('pid 1 ppid 0 sid 1 tcpgrp 1');
  });

  test('ENV-52: additions by name only; container= by type', async () => {
    const environment = { LANG: 'C.UTF-8', EMPTY: '', SPACED: 'a b=c' };
    const { text } = await rig.run({
      mode,
      environment,
      type: 'caisson',
      script: 'tr "\\0" "\\n" </proc/1/environ; :',
    });
    expect(text).toBe('container=caisson\nLANG=C.UTF-8\nEMPTY=\nSPACED=a b=c\n');
    await expect(rig.create({ mode, environment: { container: 'docker' } })).rejects.toMatchObject({
      code: 'SPEC_INVALID',
    });
  });

  test("ENV-56: cwd, umask, ids and groups, whatever the manager's", async () => {
    const groups = process.getgroups?.() ?? [];
    const umask = process.umask(0o027);
    process.setgroups?.([4, 27, 1000]);
    try {
      const { lines } = await rig.run({ mode, script: 'readlink /proc/1/cwd; cat /proc/1/status; id' });
      expect(lines[0]).toBe('/');
      expect(parseStatus(lines.join('\n'))).toMatchObject({
        Umask: '0022',
        Uid: '0\t0\t0\t0',
        Gid: '0\t0\t0\t0',
        Groups: '',
        NoNewPrivs: '0',
      });
    } finally {
      process.setgroups?.(groups.length === 0 ? [] : groups.filter(gid => gid !== process.getgid?.()));
      process.umask(umask);
    }
  });

  test('ENV-57: limits are set, not inherited from Node', async () => {
    const { text } = await rig.run({ mode, init: '/bin/cat', args: ['/proc/1/limits'] });
    const inside = parseLimits(text);
    const own = parseLimits(readFileSync('/proc/self/limits', 'utf8'));
    const pid1 = parseLimits(readFileSync('/proc/1/limits', 'utf8'));
    const softAndHard = (row: string): [string, string] => {
      const [soft = '', wanted = ''] = pid1[row]?.split(' ') ?? [];
      return [soft, wanted];
    };
    const mayRaise = rig.supervisor.facts.capabilities.includes('sys_resource');
    const nrOpen = Number(readFileSync('/proc/sys/fs/nr_open', 'utf8'));
    const hard = (row: string, wanted: string): string => {
      const ours = own[row]?.split(' ')[1] ?? 'unlimited';
      if (mayRaise || ours === 'unlimited') return wanted;
      return wanted === 'unlimited' || Number(wanted) > Number(ours) ? ours : wanted;
    };
    const files = hard('Max open files', String(Math.min(nrOpen, 524288)));
    expect(own['Max open files']?.split(' ')[0], 'Node has raised its own').not.toBe('1024');
    const pair = (row: string, soft: string, wanted: string): string => {
      const limit = hard(row, wanted);
      return `${limit !== 'unlimited' && (soft === 'unlimited' || Number(soft) > Number(limit)) ? limit : soft} ${limit}`;
    };
    expect(inside).toMatchObject({
      'Max open files': `${Math.min(1024, Number(files))} ${files}`,
      'Max core file size': pair('Max core file size', '0', 'unlimited'),
      'Max stack size': pair('Max stack size', String(8 << 20), 'unlimited'),
      'Max locked memory': pair('Max locked memory', String(8 << 20), String(8 << 20)),
      'Max msgqueue size': pair('Max msgqueue size', '819200', '819200'),
      'Max nice priority': '0 0',
      'Max realtime priority': '0 0',
      'Max processes': pair('Max processes', ...softAndHard('Max processes')),
      'Max pending signals': pair('Max pending signals', ...softAndHard('Max pending signals')),
      'Max cpu time': pair('Max cpu time', 'unlimited', 'unlimited'),
      'Max file size': pair('Max file size', 'unlimited', 'unlimited'),
      'Max address space': pair('Max address space', 'unlimited', 'unlimited'),
    });
  });

  test('ENV-57: limits as asked for', async () => {
    const { text } = await rig.run({
      mode,
      init: '/bin/cat',
      args: ['/proc/1/limits'],
      rlimits: {
        nofile: { soft: 100, hard: 200 },
        core: { soft: 4096, hard: 8192 },
        fsize: { soft: 1 << 20, hard: 'unlimited' },
      },
    });
    expect(parseLimits(text)).toMatchObject({
      'Max open files': '100 200',
      'Max core file size': '4096 8192',
      'Max file size': `${1 << 20} unlimited`,
    });
  });

  test("ENV-58: oom_score_adj is the container's, not the manager's, and the manager keeps its own", async () => {
    const own = (): string => readFileSync('/proc/self/oom_score_adj', 'utf8').trim();
    const before = own();
    const score = async (supervisor = rig.supervisor, oomScoreAdj?: number): Promise<string | undefined> => {
      const spec = oomScoreAdj === undefined ? {} : { oomScoreAdj };
      // It may be set right after exec: the payload waits until its parent side is done, by reading what it is told.
      const { lines } = await rig.run({ supervisor, mode, ...spec, script: 'sleep 0.3; cat /proc/1/oom_score_adj' });
      return lines[0];
    };
    expect(await score()).toBe('0');
    expect(await score(rig.supervisor, 300)).toBe('300');
    expect(own()).toBe(before);
    writeFileSync('/proc/self/oom_score_adj', '500');
    try {
      const supervisor = await rig.open();
      expect(await score(supervisor)).toBe('0');
      expect(own()).toBe('500');
    } finally {
      writeFileSync('/proc/self/oom_score_adj', before);
    }
    // Without CAP_SYS_RESOURCE it cannot be lowered: tolerated.
    const lowered = await score(rig.supervisor, -500);
    expect(lowered).toBe(rig.supervisor.facts.capabilities.includes('sys_resource') ? '-500' : '0');
    expect(own()).toBe(before);
  });

  test('ENV-59, ENV-60, ENV-61, HST-45, HST-46, HST-52: capabilities', async () => {
    const { text } = await rig.run({ mode, init: '/bin/cat', args: ['/proc/1/status'] });
    expectCapabilities(text, mode, dropped(mode));
    const { text: wished } = await rig.run({
      mode,
      init: '/bin/cat',
      args: ['/proc/1/status'],
      capabilities: { keep: ['audit_write', 'sys_time'], drop: ['net_raw', 'sys_ptrace'] },
    });
    const rest = dropped(mode).filter(name => name !== 'audit_write' && name !== 'sys_time');
    expectCapabilities(wished, mode, [...rest, 'net_raw', 'sys_ptrace']);
  });

  test('ENV-60, ENV-63: set-uid programs work, and give nothing back of what was dropped', async () => {
    const capabilities = { drop: ['chown' as const] };
    const script = `
      echo 'root:x:0:0::/:/bin/sh' > /etc/passwd; echo 'user:x:1000:1000::/:/bin/sh' >> /etc/passwd
      touch /x; chown 5 /x; su user -c 'id -u; elevated /x'; stat -c %u /x; grep NoNewPrivs /proc/1/status`;
    const { lines } = await rig.run({ mode, capabilities, script });
    const refused = expect.stringContaining('Operation not permitted');
    expect(lines).toEqual([refused, '1000', 'effective 0', refused, '0', 'NoNewPrivs:\t0']);
    const all = await rig.run({ mode, script });
    expect(all.lines).toEqual(['1000', 'effective 0', 'done', '6', 'NoNewPrivs:\t0']);
  });

  test('HST-54: without CAP_SYS_ADMIN and CAP_MKNOD it runs, with a warning', async () => {
    const codes: string[] = [];
    const off = rig.supervisor.on(event => {
      if (event.type === 'notice') codes.push(event.code);
    });
    const drop = ['sys_admin', 'mknod'] as const;
    const { lines } = await rig.run({
      mode,
      capabilities: { drop: [...drop] },
      script: 'cat /proc/1/status | grep Seccomp: ; mount -t tmpfs none /tmp; mknod /x c 1 3; hostname x; echo on',
    });
    off();
    expect(lines.map(line => line.replace(/^.*: /, ''))).toEqual([
      expect.stringContaining('2'),
      expect.stringMatching(/denied|permitted/),
      'Operation not permitted',
      'Operation not permitted',
      'on',
    ]);
    expect(codes.filter(code => code === 'capability-missing')).toHaveLength(2);
  });

  test("ENV-59: the supervisor's inheritable and ambient capabilities are not the payload's", async () => {
    const program = new URL('./fixtures/status.mjs', import.meta.url).pathname;
    const spec = { ...rig.spec(mode), init: '/bin/cat', args: ['/proc/1/status'] };
    const sets = ['--inh-caps', '+net_admin,+mknod', '--ambient-caps', '+net_admin,+mknod'];
    const { stdout } = await promisify(execFile)(
      'setpriv',
      [...sets, process.execPath, program, JSON.stringify({ stateDir: rig.stateDir(), spec })],
      { timeout: 30_000 },
    );
    const { own, text } = JSON.parse(stdout) as { own: string; text: string };
    expect(BigInt(`0x${parseStatus(own).CapAmb}`), 'the bait').toBe((1n << 12n) | (1n << 27n));
    expectCapabilities(text, mode, dropped(mode));
  });
});

test('HST-53: each container has an id range of its own, used by its user namespace', async () => {
  const [one, two] = await Promise.all([1, 2].map(() => rig.start({ init: '/bin/sleep', args: ['1000'] })));
  const maps = [one, two].map(container => {
    const { idmap } = container?.spec ?? {};
    for (const file of ['uid_map', 'gid_map']) {
      const line = readFileSync(`/proc/${container?.pid}/${file}`, 'utf8').trim().split(/\s+/).map(Number);
      expect(line, file).toEqual([0, idmap?.first, idmap?.count]);
    }
    return idmap;
  });
  expect(Math.abs((maps[0]?.first ?? 0) - (maps[1]?.first ?? 0))).toBeGreaterThanOrEqual(65_536);
  const uid = (pid: number | undefined): number =>
    Number(parseStatus(readFileSync(`/proc/${pid}/status`, 'utf8')).Uid?.split('\t')[0]);
  expect(uid(one?.pid)).toBe(maps[0]?.first);
});

test('HST-53: RLIMIT_NPROC of the same id in two containers does not add up', async () => {
  const spec = { idmap: { first: 400_000_000, count: 65_536 }, rlimits: { nproc: { soft: 6, hard: 6 } } };
  const three = 'for i in 1 2 3; do sleep 1000 & done; sleep 0.1; echo forked; wait';
  const first = await rig.start({ ...spec, init: '/bin/sh', args: ['-c', three] });
  await waitForText(first, 'forked');
  const second = await rig.start({ ...spec, init: '/bin/sh', args: ['-c', three] });
  await waitForText(second, 'forked');
  expect(second.console.history().toString()).not.toContain("can't fork");
  // The limit does bind within one.
  const { text } = await rig.run({ ...spec, script: 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done' });
  expect(text).toContain("can't fork");
});
