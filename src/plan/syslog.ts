/** /dev/log as the init of the image needs it (ENV-27): the way to journald's socket, or a socket that we read. */
import type { ContainerSpec } from '../spec/container.js';
import { DEVICE_LOG } from '../spec/devices.js';
import { INIT_SIGNS } from './detect.js';
import { host } from './device-step.js';
import { TARGET } from './live-mount.js';
import type { HostStep, Plan, Register } from './step.js';

/** Our end of the socket. */
export const SYSLOG: Register = 'fd:syslog';

export function syslogSteps(spec: ContainerSpec): HostStep[] {
  const owner = spec.idmap?.first ?? 0;
  const { path, journal, mode } = DEVICE_LOG;
  return [
    {
      ...host('log.journal', `/dev/${path} -> ${journal}`, {
        op: 'tree.symlink',
        dir: 'fd:dev',
        path,
        target: journal,
        uid: owner,
        gid: owner,
      }),
      needs: INIT_SIGNS.hasJournal,
    },
    {
      ...host('log', `socket /dev/${path}, which we read until a syslogd replaces it`, {
        op: 'datagram.bind',
        dir: 'fd:dev',
        name: path,
        mode,
        uid: owner,
        gid: owner,
        descriptors: 'refused',
        save: SYSLOG,
      }),
      needs: INIT_SIGNS.lacksJournal,
    },
  ];
}

/**
 * The socket of a container that an earlier supervisor has started: with that, the one who listened at it is gone. What is
 * a syslogd's or journald's by now is left alone.
 */
export function compileSyslogAgain(spec: ContainerSpec): Plan {
  const owner = spec.idmap?.first ?? 0;
  const { path, mode } = DEVICE_LOG;
  const steps: HostStep[] = [
    {
      id: 'live.syslog',
      phase: 'live',
      executor: 'host',
      label: `socket /dev/${path} again`,
      action: {
        op: 'live.datagram',
        pidfd: TARGET,
        name: path,
        mode,
        uid: owner,
        gid: owner,
        descriptors: 'refused',
        save: SYSLOG,
      },
      tolerate: [
        { errno: 'EADDRINUSE', why: 'somebody inside listens there, or has put something else in its place' },
        { errno: 'EPROTOTYPE', why: 'somebody inside listens there, by other means' },
        { errno: 'ENOENT', why: 'somebody inside has removed it' },
        { errno: 'ENOTDIR', why: 'the container has no /dev any more' },
        { errno: 'ELOOP', why: 'the /dev of the container is a symlink by now' },
        { errno: 'ESRCH', why: 'the container has just ended' },
      ],
    },
    {
      id: 'live.close',
      phase: 'live',
      executor: 'host',
      label: "close the copy of PID 1's descriptor",
      action: { op: 'close', registers: [TARGET] },
    },
  ];
  return { container: spec.name, steps, notices: [], exports: [SYSLOG] };
}
