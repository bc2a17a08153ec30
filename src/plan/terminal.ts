/**
 * Terminals: a devpts instance of the container's own, whose first pty is its console (ENV-24, ENV-25), and the
 * controlling terminal of PID 1 (ENV-54).
 */
import type { ContainerSpec } from '../spec/container.js';
import { INIT_SIGNS } from './detect.js';
import { directory, host, init } from './device-step.js';
import type { HostStep, InitStep, Register } from './step.js';

const TTY_GID = 5;

/** Host id of the group that terminals belong to; null where it is not mapped. */
export function ttyGroup(spec: ContainerSpec): number | null {
  if (spec.idmap === null) return TTY_GID;
  return spec.idmap.count > TTY_GID ? spec.idmap.first + TTY_GID : null;
}

/** Both ends of the n-th terminal for logins; its number is n too, since the console's is 0. */
export function ttyRegisters(number: number): { readonly master: Register; readonly slave: Register } {
  return { master: `fd:tty.${number}`, slave: `fd:tty.${number}.slave` };
}

export function ttyNumbers(spec: ContainerSpec): number[] {
  return Array.from({ length: spec.ttys }, (_, index) => index + 1);
}

/** Where an init starts logins, besides the console (HST-16); never by the name of a virtual terminal (HST-48). */
export function ttysVariable(spec: ContainerSpec): string[] {
  return spec.ttys === 0
    ? []
    : [
        `container_ttys=${ttyNumbers(spec)
          .map(number => `pts/${number}`)
          .join(' ')}`,
      ];
}

function loginTerminals(spec: ContainerSpec): HostStep[] {
  const owner = spec.idmap?.first ?? 0;
  return ttyNumbers(spec).map(number =>
    host(`tty.${number}`, `pts/${number} for a login`, {
      op: 'pty.open',
      devpts: 'fd:devpts',
      rows: spec.console.rows,
      cols: spec.console.cols,
      uid: owner,
      gid: ttyGroup(spec) ?? owner,
      save: ttyRegisters(number),
    }),
  );
}

/** Master of the idle terminal. */
export const IDLE: Register = 'fd:idle';
const IDLE_SLAVE: Register = 'fd:idle.slave';

/**
 * The terminal of an init that would take the console (spec/inits.ts). The supervisor keeps both ends: with its last
 * descriptor closed a terminal controls nobody any more, and PID 1 may have none of its own open (ENV-53).
 */
export function idleTerminal(spec: ContainerSpec): { made: HostStep[]; kept: Register[] } {
  if (spec.console.controlling !== 'auto') return { made: [], kept: [] };
  const owner = spec.idmap?.first ?? 0;
  const step = host('idle', 'pty that nobody types on, as the terminal of an init that would take the console', {
    op: 'pty.open',
    devpts: 'fd:devpts',
    rows: spec.console.rows,
    cols: spec.console.cols,
    uid: owner,
    gid: ttyGroup(spec) ?? owner,
    save: { master: IDLE, slave: IDLE_SLAVE },
  });
  return { made: [{ ...step, needs: INIT_SIGNS.needsIdleTerminal }], kept: [IDLE, IDLE_SLAVE] };
}

/** Once PID 1 leads a session: a terminal controls one session only. */
export function controllingTerminal(spec: ContainerSpec): InitStep[] {
  const step = (id: string, what: string, fd: Register): InitStep => ({
    id: `running.${id}`,
    phase: 'running',
    executor: 'init',
    label: `${what} as controlling terminal`,
    action: { op: 'controlling_tty', fd },
  });
  const console = step('tty', 'console', 'fd:console.slave');
  switch (spec.console.controlling) {
    case true:
      return [console];
    case false:
      return [];
    case 'auto':
      return [
        { ...console, needs: INIT_SIGNS.takesConsole },
        { ...step('tty.idle', 'idle pty', IDLE_SLAVE), needs: INIT_SIGNS.needsIdleTerminal },
      ];
  }
}

/** `made` by the host in `fd:dev`, then `attached` by the child once /dev is. */
export function terminalSteps(spec: ContainerSpec): { made: HostStep[]; attached: InitStep[] } {
  const owner = spec.idmap?.first ?? 0;
  const gid = ttyGroup(spec);
  const owned = (path: string): HostStep =>
    host(
      `devpts.owner${path === '' ? '' : `.${path}`}`,
      `give /dev/pts${path === '' ? '' : `/${path}`} to container root`,
      { op: 'tree.chown', dir: 'fd:devpts', path, uid: owner, gid: owner },
    );
  return {
    made: [
      directory('pts', owner),
      host('console.file', 'empty file to bind the console on', {
        op: 'tree.file',
        dir: 'fd:dev',
        path: 'console',
        mode: 0o600,
        uid: owner,
        gid: owner,
      }),
      host('devpts', 'new devpts instance', {
        op: 'fs.mount',
        fstype: 'devpts',
        options: { ptmxmode: '0666', mode: '0620', max: '1024', ...(gid === null ? {} : { gid: String(gid) }) },
        attributes: ['MOUNT_ATTR_NOSUID', 'MOUNT_ATTR_NOEXEC'],
        save: 'fd:devpts',
      }),
      ...(owner === 0 ? [] : [owned(''), owned('ptmx')]),
      host('console', 'console pty in that instance', {
        op: 'pty.open',
        devpts: 'fd:devpts',
        rows: spec.console.rows,
        cols: spec.console.cols,
        uid: owner,
        gid: gid ?? owner,
        save: { master: 'fd:console', slave: 'fd:console.slave' },
      }),
      ...loginTerminals(spec),
      ...idleTerminal(spec).made,
    ],
    attached: [
      init('attach.pts', 'attach /dev/pts', { op: 'move_mount', mount: 'fd:devpts', target: '/dev/pts' }),
      // The first pty of a fresh instance is always number 0.
      init('console.bind', '/dev/console is that pty', {
        op: 'mount',
        source: '/dev/pts/0',
        target: '/dev/console',
        fstype: null,
        flags: ['MS_BIND'],
      }),
    ],
  };
}
