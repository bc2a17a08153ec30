import { type Contender, ID_COUNT, ID_FIRST } from '../contender.js';
import { PAYLOADS } from '../rootfs.js';
import { commandVersion } from '../system.js';
import { CommandSession } from './command.js';

export const unshare: Contender = {
  id: 'unshare',
  title: 'unshare',
  keepAtMost: 0,
  notes: [
    "namespaces, chroot and proc only: no cgroup of its own, no /dev, no sysfs, no console, lo stays down, the host's mounts stay reachable",
    'user namespace: the ids are mapped by newuidmap, a process of its own; the rootfs is a copy owned by them',
    'kept containers: none',
  ],
  version: () => commandVersion('unshare', ['--version']),
  async open(mode, context) {
    const userns = mode === 'userns';
    const map = `${ID_FIRST},0,${ID_COUNT}`;
    const options = [
      '--mount',
      '--pid',
      '--net',
      '--uts',
      '--ipc',
      '--cgroup',
      '--fork',
      ...(userns ? ['--user', `--map-users=${map}`, `--map-groups=${map}`, '--setuid=0', '--setgid=0'] : []),
      `--root=${userns ? context.shifted : context.rootfs}`,
      '--mount-proc',
    ];
    return new CommandSession({ command: payload => ['unshare', ...options, PAYLOADS[payload]] }, context);
  },
};
