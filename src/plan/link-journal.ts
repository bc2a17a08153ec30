/** The container's journal on the host, below its machine id (HST-21). */
import type { ContainerSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import type { Assigned } from './compile.js';
import type { HostFacts } from './facts.js';
import type { HostStep, InitStep, Plan, PlanNotice, Step } from './step.js';

const MOUNT = 'fd:journal';
const TARGET = 'text:journal';
const MADE = 'is:journal.made';
/** What the payload makes there is for the host to read only. */
const ATTRIBUTES = ['MOUNT_ATTR_NOSUID', 'MOUNT_ATTR_NODEV', 'MOUNT_ATTR_NOEXEC'];

function recordOf(dir: string): string {
  return `${dir}/journal-link.json`;
}

interface Links {
  readonly steps: readonly HostStep[];
  readonly notices: readonly PlanNotice[];
}

/** Why a container of this spec can have none, whatever is in its tree. */
function hindrance(spec: ContainerSpec, mode: string): string | undefined {
  const { overlay, kind } = spec.rootfs;
  if (overlay === 'ephemeral') return 'what an ephemeral container has written is thrown away';
  if (mode !== 'guest' || (overlay === 'none' && kind === 'directory')) return undefined;
  return 'its tree is no directory of the host, to which a link could lead';
}

/**
 * The host's part, in the tree as the layers make it.
 * @throws CaissonError SPEC_INVALID where the spec rules out what it asks for.
 */
export function linkJournal(spec: ContainerSpec, facts: HostFacts, assigned: Assigned): Links {
  if (spec.linkJournal === 'no') return { steps: [], notices: [] };
  const mode = spec.linkJournal.replace('try-', '') as 'guest' | 'host' | 'auto';
  const optional = spec.linkJournal !== mode || mode === 'auto';
  const hinders = hindrance(spec, mode);
  if (hinders !== undefined) {
    if (optional) return { steps: [], notices: [{ code: 'journal', outcome: 'skipped', message: hinders }] };
    throw new CaissonError('SPEC_INVALID', `linkJournal: ${hinders}`, { field: 'linkJournal' });
  }
  const record = recordOf(assigned.dir);
  const step: HostStep = {
    id: 'mounting.journal',
    phase: 'mounting',
    executor: 'host',
    label: `its journal below ${facts.journals}: ${mode}`,
    action: {
      op: 'journal.link',
      root: 'fd:rootfs',
      mode,
      optional,
      directory: facts.journals,
      rootfs: spec.rootfs.overlay === 'none' && spec.rootfs.kind === 'directory' ? spec.rootfs.path : null,
      fallback: spec.machineId === 'env' ? assigned.uuid : null,
      hostUuid: facts.machineId,
      owner: spec.idmap?.first ?? 0,
      attributes: ATTRIBUTES,
      record,
      save: { mount: MOUNT, target: TARGET, made: MADE },
    },
    undo: { op: 'journal.unlink', record, made: MADE },
  };
  return { steps: [step], notices: [] };
}

/** Once the child has pivoted. */
export function attachJournal(links: Links): Step[] {
  if (links.steps.length === 0) return [];
  const attach: InitStep = {
    id: 'mounting.journal.attach',
    phase: 'mounting',
    executor: 'init',
    label: "attach the host's directory for its journal",
    action: { op: 'move_mount', mount: MOUNT, target: { from: TARGET } },
    needs: MOUNT,
  };
  const close: HostStep = {
    id: 'mounting.journal.close',
    phase: 'mounting',
    executor: 'host',
    label: 'close it',
    action: { op: 'close', registers: [MOUNT] },
  };
  return [attach, close];
}

/** When the container is removed: what it has made on the host goes, but for a directory with journals in it. */
export function compileUnlinkJournal(spec: ContainerSpec, dir: string): Plan {
  const step: HostStep = {
    id: 'journal.unlink',
    phase: 'teardown',
    executor: 'host',
    label: 'take its journal from the host',
    action: { op: 'journal.unlink', record: recordOf(dir), made: null },
  };
  return { container: spec.name, steps: [step], notices: [], exports: [] };
}
