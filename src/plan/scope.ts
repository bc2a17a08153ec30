/**
 * On a host that systemd runs each container has a transient scope of its own (HST-11): the tree of cgroups has one
 * owner there, who gives a part of it away with Delegate=yes. A scope, not the supervisor's service, holds the payload:
 * it lives on when that service ends or is started again.
 */
import type { ContainerSpec } from '../spec/container.js';
import { signalNumber } from '../spec/signals.js';
import type { HostFacts } from './facts.js';
import type { HostStep } from './step.js';

export interface ScopePlace {
  /** `caisson-3ba3ca96-web.scope`; a container's name holds nothing that systemd would escape. */
  readonly unit: string;
  readonly slice: string;
  /** Its cgroup, where systemd will put it; the executor compares that with what systemd says. */
  readonly path: string;
}

/** Where a slice is in the tree: `a-b.slice` lies in `a.slice`. */
function slicePath(slice: string): string {
  if (slice === '-.slice') return '';
  const parts = slice.slice(0, -'.slice'.length).split('-');
  return parts.map((_, index) => `/${parts.slice(0, index + 1).join('-')}.slice`).join('');
}

/** The container's scope; null where it has a directory of the supervisor's instead. */
export function scopeOf(spec: ContainerSpec, facts: HostFacts): ScopePlace | null {
  const { systemd } = facts;
  if (systemd === null || facts.cgroups.v2 === null || spec.cgroups.scope === 'none') return null;
  const { slice } = spec.cgroups;
  const unit = `${facts.cgroups.prefix}-${spec.name}.scope`;
  return { unit, slice, path: `${systemd.root}${slicePath(slice)}/${unit}` };
}

/** ms that systemd may take: a busy one is slow, a stuck one must not hold a worker for ever. */
export const SYSTEMD_TIMEOUT_MS = 25_000;
/** systemd's own way to shut down; an init that does not know it is shielded from it (pid_namespaces(7)). */
const DEFAULT_HALT = 37;

export function scopeStart(spec: ContainerSpec, scope: ScopePlace): HostStep[] {
  const halt = spec.signals.halt === null ? undefined : signalNumber(spec.signals.halt);
  return [
    {
      id: 'creating.scope',
      phase: 'creating',
      executor: 'host',
      label: `have systemd start ${scope.unit} with the child in it`,
      action: {
        op: 'scope.start',
        ...scope,
        pid: 'pid',
        description: `Container ${spec.name}`,
        killSignal: halt ?? DEFAULT_HALT,
        timeoutMs: SYSTEMD_TIMEOUT_MS,
      },
      undo: { op: 'scope.stop', unit: scope.unit, path: scope.path, timeoutMs: SYSTEMD_TIMEOUT_MS },
    },
  ];
}
