import type { HostFacts } from 'caisson';

/** The v2 cgroup on the host that carries a container's limits; `payload` is below it. */
export function outerV2({ cgroups, systemd }: HostFacts, name: string): string | null {
  if (cgroups.v2 === null) return null;
  return systemd === null
    ? `${cgroups.v2.base}/${cgroups.prefix}/${name}`
    : `${systemd.root}/machine.slice/${cgroups.prefix}-${name}.scope/container`;
}
