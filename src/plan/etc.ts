/** The time zone and the name servers of the host, where a container is to have them (HST-20, HST-56). */
import type { ContainerSpec } from '../spec/container.js';
import type { ResolvConfSource, ResolvConfWay } from '../spec/schema/host-files.js';
import type { HostAction, HostStep, InitStep, Step } from './step.js';

/** Where systemd-resolved(8) keeps the variants of resolv.conf. */
const SOURCES: Readonly<Record<ResolvConfSource, string>> = {
  host: '/etc/resolv.conf',
  static: '/usr/lib/systemd/resolv.conf',
  uplink: '/run/systemd/resolve/resolv.conf',
  stub: '/run/systemd/resolve/stub-resolv.conf',
};
const TARGET = '/etc/resolv.conf';
const BOUND = 'fd:resolv-conf';
const ATTRIBUTES = ['MOUNT_ATTR_RDONLY', 'MOUNT_ATTR_NOSUID', 'MOUNT_ATTR_NODEV', 'MOUNT_ATTR_NOEXEC'];

function host(id: string, label: string, action: HostAction): HostStep {
  return { id: `mounting.${id}`, phase: 'mounting', executor: 'host', label, action };
}

function resolvConfStep(spec: ContainerSpec, owner: number): HostStep[] {
  // The host's name servers are of no use in a network of the container's own, as each has: so does nspawn's `auto`.
  if (spec.resolvConf === 'auto' || spec.resolvConf === 'off') return [];
  if (spec.resolvConf === 'delete')
    return [host('resolv-conf', `remove ${TARGET}`, { op: 'resolv-conf.delete', root: 'fd:rootfs', owner })];
  const [how, from] = spec.resolvConf.split('-') as [ResolvConfWay, ResolvConfSource];
  const source = SOURCES[from];
  const common = { root: 'fd:rootfs', source, owner } as const;
  const action: HostAction =
    how === 'bind'
      ? { op: 'resolv-conf.bind', ...common, attributes: ATTRIBUTES, save: BOUND }
      : { op: 'resolv-conf.write', ...common, how };
  return [host('resolv-conf', `${TARGET}: ${how} the host's ${source}`, action)];
}

/** In the tree as the layers make it, before the child has it as its root. */
export function etcFiles(spec: ContainerSpec): HostStep[] {
  const owner = spec.idmap?.first ?? 0;
  const timezone: HostStep[] =
    spec.timezone === 'off'
      ? []
      : [
          host('timezone', "/etc/localtime follows the host's", {
            op: 'localtime.follow',
            root: 'fd:rootfs',
            source: '/etc/localtime',
            how: spec.timezone,
            owner,
          }),
        ];
  return [...timezone, ...resolvConfStep(spec, owner)];
}

/** Once the child has pivoted: a symlink that came meanwhile leads nowhere outside. */
export function etcBinds(spec: ContainerSpec): Step[] {
  if (!spec.resolvConf.startsWith('bind-')) return [];
  const attach: InitStep = {
    id: 'mounting.resolv-conf.attach',
    phase: 'mounting',
    executor: 'init',
    label: `attach ${TARGET}`,
    action: { op: 'move_mount', mount: BOUND, target: TARGET },
    needs: BOUND,
    tolerate: [
      { errno: 'ENOENT', why: 'the file has gone meanwhile' },
      { errno: 'ENOTDIR', why: 'the file has gone meanwhile' },
      { errno: 'ELOOP', why: 'the file has become a symlink meanwhile' },
    ],
  };
  const close = host('resolv-conf.close', "close the host's resolv.conf", { op: 'close', registers: [BOUND] });
  return [attach, close];
}
