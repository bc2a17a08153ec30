/** A container spec with every default filled in: the form that `compile` reads. */
import type { Capability } from './capabilities.js';
import { CaissonError } from './errors.js';
import { INIT_DEFAULT, type InitName } from './inits.js';
import type { RlimitName } from './rlimits.js';
import { type BootSpec, resolveBoot } from './schema/boot.js';
import { credentialBytes } from './schema/credentials.js';
import type { ResolvConf, Timezone } from './schema/host-files.js';
import type { LinkJournal } from './schema/link-journal.js';
import { type HealthRules, type ProbeRules, resolveHealth, resolveReady } from './schema/probe.js';
import { type RestartRules, resolveRestart } from './schema/restart.js';
import { type Rootfs, resolveRootfs } from './schema/rootfs.js';
import { type ContainerSpecInput, parseSpecInput } from './schema.js';

export interface IdMap {
  /** First host id. */
  readonly first: number;
  readonly count: number;
}

export interface ContainerSpec {
  readonly name: string;
  readonly rootfs: Rootfs;
  /** A path inside, or `auto`. */
  readonly init: string;
  readonly args: readonly string[];
  readonly type: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly uuid: string | null;
  readonly machineId: 'none' | 'env';
  readonly hostInfo: 'none' | 'env';
  readonly ready: 'none' | 'notify' | ProbeRules;
  readonly health: HealthRules | null;
  /** Base64 by name. */
  readonly credentials: Readonly<Record<string, string>>;
  readonly hostname: string;
  readonly timezone: Timezone;
  readonly resolvConf: ResolvConf;
  readonly linkJournal: LinkJournal;
  /** null: privileged, no user namespace. */
  readonly idmap: IdMap | null;
  readonly devices: { readonly mknod: 'any' | 'table'; readonly size: number };
  readonly sys: 'ro' | 'rw';
  readonly lxcfs: 'auto' | 'off';
  readonly cgroups: {
    readonly layout: 'auto' | 'unified' | 'hybrid' | 'legacy';
    readonly scope: 'auto' | 'none';
    readonly machined: 'auto' | 'none';
    readonly slice: string;
  };
  readonly limits: { readonly memory: number | null; readonly pids: number | null };
  readonly rlimits: Readonly<Partial<Record<RlimitName, { soft: number | 'unlimited'; hard: number | 'unlimited' }>>>;
  readonly sysctls: Readonly<Record<string, string>>;
  readonly capabilities: { readonly keep: readonly Capability[]; readonly drop: readonly Capability[] };
  readonly security: {
    readonly seccomp: 'default' | 'none';
    /** auto, none, or the name of a profile. */
    readonly apparmor: string;
    readonly nesting: boolean;
  };
  readonly oomScoreAdj: number;
  readonly signals: {
    readonly halt: string | number | null;
    readonly reboot: string | number | null;
    /** Force. */
    readonly stop: string | number;
    readonly fallback: 'command' | 'none';
    readonly profile: InitName | 'auto';
  };
  readonly restart: RestartRules;
  readonly boot: BootSpec;
  readonly ephemeral: boolean;
  readonly ttys: number;
  readonly console: {
    readonly ring: number;
    readonly log: ConsoleLogSpec | false;
    readonly controlling: boolean | 'auto';
    readonly rows: number;
    readonly cols: number;
  };
}

export interface ConsoleLogSpec {
  /** Bytes of one file. */
  readonly maxBytes: number;
  /** How many there are at most, with the one being written. */
  readonly files: number;
}

/** Past the last id: 2^32 - 1 itself stands for no id. */
const END_OF_IDS = 0xffff_ffff;

/** A range that never reaches host id 0, which is root's. */
export function isIdMap(value: Partial<IdMap> | undefined): value is IdMap {
  const { first = 0, count = 0 } = value ?? {};
  return (
    Number.isSafeInteger(first) &&
    Number.isSafeInteger(count) &&
    first >= 1 &&
    count >= 1 &&
    first + count <= END_OF_IDS
  );
}

export const DEFAULT_DEV_SIZE = 500_000;
export const DEFAULT_CONSOLE_LOG: ConsoleLogSpec = { maxBytes: 1024 * 1024, files: 4 };
export const DEFAULT_CONSOLE_RING = 128 * 1024;

/** boot.autorestart is a policy under the name that Incus gives it: at once, and not undoing what was stopped. */
function restartOf({ boot, restart }: ContainerSpecInput): RestartRules {
  const rules = resolveRestart(restart);
  if (boot?.autorestart !== true) return rules;
  if (restart?.policy !== undefined) {
    throw new CaissonError('SPEC_INVALID', 'boot.autorestart: restart.policy says what is to happen', {
      field: 'boot.autorestart',
      hint: 'leave out either of the two',
    });
  }
  return { ...rules, policy: 'unless-stopped', backoff: { ...rules.backoff, initial: 0 } };
}

/**
 * Checks `input` and fills in the defaults.
 * @param allocate gives a container its own id range when it asks for none; called only for unprivileged ones.
 */
export function resolveSpec(input: unknown, allocate: () => IdMap): ContainerSpec {
  const spec: ContainerSpecInput = parseSpecInput(input);
  const rootfs = resolveRootfs(spec.rootfs);
  if (rootfs.readOnly && rootfs.overlay !== 'none') {
    throw new CaissonError('SPEC_INVALID', `rootfs.readOnly: an ${rootfs.overlay} layer is there to be written`, {
      field: 'rootfs.readOnly',
      hint: 'leave out either of the two',
    });
  }
  if (rootfs.shift === 'chown' && (rootfs.overlay !== 'none' || spec.privileged === true)) {
    const why =
      spec.privileged === true
        ? 'a privileged container has no ids of its own'
        : 'below a layer the directory is only read';
    throw new CaissonError('SPEC_INVALID', `rootfs.shift: ${why}`, { field: 'rootfs.shift' });
  }
  if (spec.privileged === true && spec.idmap !== undefined) {
    throw new CaissonError('SPEC_INVALID', 'idmap: a privileged container has no user namespace to map ids in', {
      field: 'idmap',
      hint: 'leave out either privileged or idmap',
    });
  }
  if (spec.ready === 'notify' && spec.environment?.NOTIFY_SOCKET !== undefined) {
    throw new CaissonError('SPEC_INVALID', 'environment.NOTIFY_SOCKET: ready: notify sets it', {
      field: 'environment.NOTIFY_SOCKET',
      hint: 'leave out either of the two',
    });
  }
  if (spec.idmap !== undefined && !isIdMap(spec.idmap)) {
    throw new CaissonError('SPEC_INVALID', 'idmap.count: the range goes past the last id', { field: 'idmap.count' });
  }
  const { keep = [], drop = [] } = spec.capabilities ?? {};
  const both = drop.findIndex(name => keep.includes(name));
  if (both !== -1) {
    throw new CaissonError('SPEC_INVALID', `capabilities.drop.${both}: ${drop[both]} is to be kept, too`, {
      field: `capabilities.drop.${both}`,
    });
  }
  return {
    name: spec.name,
    rootfs,
    init: spec.init ?? INIT_DEFAULT,
    args: spec.args ?? [],
    type: spec.type ?? 'lxc',
    environment: { ...spec.environment },
    uuid: spec.uuid ?? null,
    machineId: spec.machineId ?? 'none',
    hostInfo: spec.hostInfo ?? 'none',
    ready: resolveReady(spec.ready),
    health: resolveHealth(spec.health),
    credentials: Object.fromEntries(
      Object.entries(spec.credentials ?? {}).map(([name, value]) => [name, credentialBytes(value).toString('base64')]),
    ),
    hostname: spec.hostname ?? spec.name,
    timezone: spec.timezone ?? 'off',
    resolvConf: spec.resolvConf ?? 'auto',
    linkJournal: spec.linkJournal ?? 'no',
    idmap: spec.privileged === true ? null : (spec.idmap ?? allocate()),
    devices: { mknod: spec.devices?.mknod ?? 'any', size: spec.devices?.size ?? DEFAULT_DEV_SIZE },
    sys: spec.sys ?? 'ro',
    lxcfs: spec.lxcfs ?? 'auto',
    cgroups: {
      layout: spec.cgroups?.layout ?? 'auto',
      scope: spec.cgroups?.scope ?? 'auto',
      machined: spec.cgroups?.machined ?? 'auto',
      slice: spec.cgroups?.slice ?? 'machine.slice',
    },
    limits: { memory: spec.limits?.memory ?? null, pids: spec.limits?.pids ?? null },
    rlimits: (spec.rlimits ?? {}) as ContainerSpec['rlimits'],
    sysctls: Object.fromEntries(Object.entries(spec.sysctls ?? {}).map(([name, value]) => [name, String(value)])),
    capabilities: { keep: [...keep], drop: [...drop] },
    security: {
      seccomp: spec.security?.seccomp ?? 'default',
      apparmor: spec.security?.apparmor ?? 'auto',
      nesting: spec.security?.nesting ?? false,
    },
    oomScoreAdj: spec.oomScoreAdj ?? 0,
    signals: {
      halt: spec.signals?.halt ?? null,
      reboot: spec.signals?.reboot ?? null,
      stop: spec.signals?.stop ?? 'SIGKILL',
      fallback: spec.signals?.fallback ?? 'command',
      profile: spec.signals?.profile ?? 'auto',
    },
    restart: restartOf(spec),
    boot: resolveBoot(spec.boot),
    ephemeral: spec.ephemeral ?? false,
    ttys: spec.ttys ?? 0,
    console: {
      ring: spec.console?.ring ?? DEFAULT_CONSOLE_RING,
      log: spec.console?.log === false ? false : { ...DEFAULT_CONSOLE_LOG, ...spec.console?.log },
      controlling: spec.console?.controlling ?? 'auto',
      rows: spec.console?.rows ?? 24,
      cols: spec.console?.cols ?? 80,
    },
  };
}
