import type { Contender } from '../contender.js';
import { PAYLOADS } from '../rootfs.js';
import { commandVersion } from '../system.js';
import { CommandSession } from './command.js';

export const bwrap: Contender = {
  id: 'bwrap',
  title: 'bwrap',
  keepAtMost: 0,
  notes: [
    'a sandbox, not a system container: no cgroup of its own, no device policy, no console pty, no sysfs, no /dev/fuse or tun',
    'user namespace: one id is mapped, not a range, and the rootfs is not',
    'kept containers: none; it has no detached mode',
  ],
  version: () => commandVersion('bwrap', ['--version']),
  async open(mode, context) {
    const options = [
      ...(mode === 'userns' ? ['--unshare-user', '--uid', '0', '--gid', '0'] : []),
      '--unshare-pid',
      '--unshare-net',
      '--unshare-uts',
      '--unshare-ipc',
      '--unshare-cgroup',
      '--as-pid-1',
      '--bind',
      context.rootfs,
      '/',
      '--proc',
      '/proc',
      '--dev',
      '/dev',
      '--mqueue',
      '/dev/mqueue',
      '--hostname',
      'bwrap-{}',
      '--clearenv',
      '--setenv',
      'container',
      'lxc',
      '--chdir',
      '/',
    ];
    return new CommandSession({ command: payload => ['bwrap', ...options, PAYLOADS[payload]] }, context);
  },
};
