/**
 * What a user may say about a container: one strict schema. Unknown keys are errors that name the field, since a
 * misspelt limit that is silently ignored is worse than none. Its larger parts are in schema/.
 */
import * as v from 'valibot';
import { withoutAliases } from './aliases.js';
import { CaissonError } from './errors.js';
import { INIT_NAMES } from './inits.js';
import { isContainerName, NAME_RULE } from './names.js';
import { boot } from './schema/boot.js';
import { consoleLog } from './schema/console-log.js';
import { credentials } from './schema/credentials.js';
import { resolvConf, timezone } from './schema/host-files.js';
import { environment, idMap, rlimits, signal, sysctls } from './schema/init.js';
import { linkJournal } from './schema/link-journal.js';
import { health, ready } from './schema/probe.js';
import { restart } from './schema/restart.js';
import { rootfsOrPath } from './schema/rootfs.js';
import { capabilities, security } from './schema/security.js';
import { absolutePath, argument, flag, object, text, whole } from './schema/values.js';

const SLICE = /^(?:-|[A-Za-z0-9:_.]+(?:-[A-Za-z0-9:_.]+)*)\.slice$/;
const UUID = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/;

export const containerSpecSchema = object({
  name: v.pipe(text, v.check(isContainerName, NAME_RULE)),
  /** A directory holding a root file system, or that directory with options. */
  rootfs: rootfsOrPath,
  /** Program that becomes PID 1, a path inside the container; or `auto` (HST-58). */
  init: v.optional(v.lazy(input => (input === 'auto' ? v.literal('auto') : absolutePath))),
  /** Arguments after the program's own name; none by default (ENV-50). */
  args: v.optional(v.array(argument, 'must be a list of strings')),
  /** Value of the `container` variable (ENV-51). */
  type: v.optional(v.pipe(text, v.regex(/^[a-z0-9-]{1,32}$/, 'must be a short lower-case word'))),
  /** Variables of PID 1 besides `container` (ENV-52). */
  environment: v.optional(environment),
  /** The container's uuid, for an image that has no machine id (HST-14). */
  uuid: v.optional(v.pipe(text, v.regex(UUID, 'must be a uuid: dashed, lower case'))),
  /** `env`: PID 1 also gets it as `container_uuid` (ENV-52). */
  machineId: v.optional(v.picklist(['none', 'env'], 'must be none or env')),
  /** `env`: PID 1 is told which distribution the host is (HST-17). */
  hostInfo: v.optional(v.picklist(['none', 'env'], 'must be none or env')),
  /** How PID 1 says that the container is up (LIF-36). */
  ready: v.optional(ready),
  /** Looks at it while it runs; a failure counts as one of the container. */
  health: v.optional(health),
  /** Secrets in /run/host/credentials (HST-18). */
  credentials: v.optional(credentials),
  hostname: v.optional(v.pipe(text, v.regex(/^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$/, 'must be a host name'))),
  /** Whether /etc/localtime follows the host's (HST-20). */
  timezone: v.optional(timezone),
  /** Where /etc/resolv.conf comes from (HST-56). */
  resolvConf: v.optional(resolvConf),
  /** Whether the host shows its journal (HST-21). */
  linkJournal: v.optional(linkJournal),
  privileged: v.optional(flag),
  idmap: v.optional(idMap),
  devices: v.optional(
    object({
      mknod: v.optional(v.picklist(['any', 'table'], 'must be any or table')),
      /** Size of the /dev tmpfs in bytes (ENV-14). */
      size: v.optional(whole(1)),
    }),
  ),
  sys: v.optional(v.picklist(['ro', 'rw'], 'must be ro or rw')),
  /** `auto`: files of /proc and /sys that tell of the container, where the host runs LXCFS (ENV-44). */
  lxcfs: v.optional(v.picklist(['auto', 'off'], 'must be auto or off')),
  cgroups: v.optional(
    object({
      layout: v.optional(
        v.picklist(['auto', 'unified', 'hybrid', 'legacy'], 'must be auto, unified, hybrid or legacy'),
      ),
      /** `auto`: a transient scope of systemd's on hosts that it runs (HST-11). */
      scope: v.optional(v.picklist(['auto', 'none'], 'must be auto or none')),
      /** `auto`: systemd-machined is told of a container with a scope (HST-26). */
      machined: v.optional(v.picklist(['auto', 'none'], 'must be auto or none')),
      /** The slice that the scope is in. */
      slice: v.optional(v.pipe(text, v.regex(SLICE, 'must be the name of a slice, as machine.slice'))),
    }),
  ),
  limits: v.optional(
    object({
      /** Bytes of memory for the whole container. */
      memory: v.optional(whole(1)),
      /** Processes and threads in the whole container. */
      pids: v.optional(whole(1)),
    }),
  ),
  rlimits: v.optional(rlimits),
  /** Values of sysctls that the container has for itself (HST-60). */
  sysctls: v.optional(sysctls),
  security: v.optional(security),
  capabilities: v.optional(capabilities),
  oomScoreAdj: v.optional(whole(-1000, 1000)),
  signals: v.optional(
    object({
      halt: v.optional(signal),
      reboot: v.optional(signal),
      /** By force. */
      stop: v.optional(signal),
      /** What is tried where no signal does it, before force (LIF-48). */
      fallback: v.optional(v.picklist(['command', 'none'], 'must be command or none')),
      /** Which init PID 1 is; `auto`: by the program it runs (LIF-24). */
      profile: v.optional(v.picklist(['auto', ...INIT_NAMES], `must be auto, ${INIT_NAMES.join(', ')}`)),
    }),
  ),
  /** What happens when it ends and nobody has asked for that. */
  restart: v.optional(restart),
  /** What the host's own start and end mean to it. */
  boot: v.optional(boot),
  /** It is removed once it has ended (LIF-47). */
  ephemeral: v.optional(flag),
  /** Terminals for logins besides the console (ENV-26). */
  ttys: v.optional(whole(0, 16)),
  console: v.optional(
    object({
      /** Bytes of console output kept for later readers (ENV-25). */
      ring: v.optional(whole(0, 64 * 1024 * 1024)),
      /** What is kept of it on disk. */
      log: v.optional(consoleLog),
      /**
       * PID 1 has the console as its controlling terminal (ENV-54). `auto`: unless it is an init that lets a login have
       * it instead; a terminal controls one session only, and ^C would go to PID 1, where it means reboot.
       */
      controlling: v.optional(v.union([v.boolean(), v.literal('auto')], 'must be true, false or auto')),
      rows: v.optional(whole(1, 65535)),
      cols: v.optional(whole(1, 65535)),
    }),
  ),
});

export type ContainerSpecInput = v.InferInput<typeof containerSpecSchema> & {
  /** Incus' names of an entry of `credentials`; the value of a binary one is Base64 (HST-19). */
  readonly [alias: `systemd.credential.${string}` | `systemd.credential-binary.${string}`]: string;
};

/** Checks what a user wrote; throws SPEC_INVALID naming the first wrong field and changes nothing. */
export function parseSpecInput(input: unknown): ContainerSpecInput {
  const result = v.safeParse(containerSpecSchema, withoutAliases(input), { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  const field = v.getDotPath(issue) ?? '';
  throw new CaissonError('SPEC_INVALID', `${field || 'the spec'}: ${issue.message}`, {
    field,
    hint: 'docs/spec.md lists every field of a container spec',
  });
}
