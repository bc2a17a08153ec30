import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Contender, ID_COUNT, ID_FIRST } from '../contender.js';
import { PAYLOADS } from '../rootfs.js';
import { commandVersion, processes } from '../system.js';
import { CommandSession, inOurCgroups } from './command.js';

/** The rows of src/spec/devices.ts. */
const DEVICES = [
  'c 1:3',
  'c 1:5',
  'c 1:7',
  'c 1:8',
  'c 1:9',
  'c 5:0',
  'c 10:229',
  'c 10:200',
  'c 136:*',
  'c 5:2',
  'c 5:1',
];

function config(rootfs: string, userns: boolean): string {
  return `${[
    `lxc.rootfs.path = dir:${rootfs}`,
    'lxc.mount.auto = proc:mixed sys:ro',
    'lxc.mount.entry = tmpfs dev/shm tmpfs nosuid,nodev,mode=1777,create=dir 0 0',
    'lxc.mount.entry = mqueue dev/mqueue mqueue nosuid,nodev,noexec,create=dir 0 0',
    'lxc.autodev = 1',
    'lxc.tty.max = 0',
    'lxc.pty.max = 1024',
    'lxc.console.path = none',
    'lxc.net.0.type = empty',
    'lxc.net.0.flags = up',
    'lxc.cgroup.relative = 1',
    'lxc.environment = container=lxc',
    'lxc.prlimit.nofile = 1024:20000',
    'lxc.cgroup.devices.deny = a',
    ...DEVICES.map(device => `lxc.cgroup.devices.allow = ${device} rwm`),
    'lxc.cgroup.devices.allow = c *:* m',
    'lxc.cgroup.devices.allow = b *:* m',
    ...(userns
      ? [
          `lxc.idmap = u 0 ${ID_FIRST} ${ID_COUNT}`,
          `lxc.idmap = g 0 ${ID_FIRST} ${ID_COUNT}`,
          'lxc.rootfs.options = idmap=container',
        ]
      : ['lxc.cap.drop = sys_time sys_module sys_rawio mac_admin mac_override']),
  ].join('\n')}\n`;
}

export const lxc: Contender = {
  id: 'lxc',
  title: 'lxc-start',
  keepAtMost: 100,
  notes: [
    'foreground (-F), standard output is a pipe instead of the console pty',
    'kept containers: `lxc-start -d`, timed until it reports RUNNING; each keeps a monitor process',
  ],
  version: () => {
    const version = commandVersion('lxc-start', ['--version']);
    return version === null ? null : `lxc-start ${version}`;
  },
  async open(mode, context) {
    const userns = mode === 'userns';
    const path = join(context.work, `lxc-${mode}`);
    mkdirSync(path, { recursive: true });
    const file = join(path, 'config');
    writeFileSync(file, config(context.rootfs, userns));
    const name = `lxc-${context.id}-{}`;
    const start = (detach: boolean, program: string): string[] => [
      'lxc-start',
      '-n',
      name,
      '-P',
      path,
      '-f',
      file,
      detach ? '-d' : '-F',
      '-s',
      `lxc.uts.name=lxc-{}`,
      '-s',
      `lxc.cgroup.dir=lxc-{}`,
      '--',
      program,
    ];
    return new CommandSession(
      {
        runner: inOurCgroups(context),
        command: payload => start(false, PAYLOADS[payload]),
        keep: { command: start(true, PAYLOADS.pause), stamps: false },
        stop: [['lxc-stop', '-n', name, '-P', path]],
        supervisors: () =>
          processes()
            .filter(({ command }) => command.startsWith('[lxc monitor]') && command.includes(context.id))
            .map(({ pid }) => pid),
      },
      context,
    );
  },
};
