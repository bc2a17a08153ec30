/** What the payload finds at /sys/fs/cgroup. */
import type { CgroupPaths } from './cgroups.js';
import type { InitStep } from './step.js';

/** What the payload sees at /sys/fs/cgroup (container-environment §4.2). */
export function cgroupMounts(paths: CgroupPaths): InitStep[] {
  const flags = ['MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC', 'MS_RELATIME'];
  const mount = (id: string, label: string, action: InitStep['action']): InitStep => ({
    id: `mounting.${id}`,
    phase: 'mounting',
    executor: 'init',
    label,
    action,
  });
  const root = '/sys/fs/cgroup';
  if (paths.layout === 'unified') {
    return [mount('cgroup', 'cgroup2', { op: 'mount', source: 'cgroup2', target: root, fstype: 'cgroup2', flags })];
  }
  const steps = [
    mount('cgroup', 'tmpfs for the cgroup hierarchies', {
      op: 'mount',
      source: 'tmpfs',
      target: root,
      fstype: 'tmpfs',
      flags: ['MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC'],
      data: 'mode=755,size=10485760',
    }),
  ];
  const hierarchies = [
    // Of v1 only the named one is the payload's (HST-10): root of a privileged container owns the others' files, too.
    ...paths.v1.map(({ hierarchy: { name, mountOptions, controllers } }) => ({
      name,
      fstype: 'cgroup',
      data: mountOptions,
      extra: controllers.length === 0 ? [] : ['MS_RDONLY'],
    })),
    ...(paths.layout === 'hybrid' ? [{ name: 'unified', fstype: 'cgroup2', data: undefined, extra: [] }] : []),
  ];
  for (const { name, fstype, data, extra } of hierarchies) {
    const target = `${root}/${name}`;
    steps.push(
      mount(`cgroup.${name}.dir`, `directory ${target}`, { op: 'mkdir', path: target, mode: 0o755 }),
      mount(`cgroup.${name}`, `${name} hierarchy${extra.length === 0 ? '' : ', read-only'}`, {
        op: 'mount',
        source: fstype,
        target,
        fstype,
        flags: [...flags, ...extra],
        ...(data === undefined ? {} : { data }),
      }),
    );
  }
  steps.push(
    mount('cgroup.ro', "the hierarchies' tmpfs read-only", {
      op: 'mount',
      source: null,
      target: root,
      fstype: null,
      flags: ['MS_REMOUNT', 'MS_BIND', 'MS_RDONLY', 'MS_NOSUID', 'MS_NODEV', 'MS_NOEXEC'],
    }),
  );
  return steps;
}
