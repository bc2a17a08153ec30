/** Resource limits of PID 1 (ENV-57): set explicitly, since Node raises its own soft NOFILE to the hard limit. */
export const RLIMIT_NAMES = [
  'cpu',
  'fsize',
  'data',
  'stack',
  'core',
  'rss',
  'nproc',
  'nofile',
  'memlock',
  'as',
  'locks',
  'sigpending',
  'msgqueue',
  'nice',
  'rtprio',
  'rttime',
] as const;

/** In the order of the kernel's RLIMIT_ numbers (asm-generic/resource.h), so that the index is the number. */
export type RlimitName = (typeof RLIMIT_NAMES)[number];

/** null: unlimited. */
export interface Rlimit {
  readonly soft: number | null;
  readonly hard: number | null;
}

export type Rlimits = Readonly<Record<RlimitName, Rlimit>>;

const MIB = 1024 * 1024;
const UNLIMITED: Rlimit = { soft: null, hard: null };

/** @param host nrOpen: fs.nr_open; nproc and sigpending: those of the host's PID 1. */
export function defaultRlimits(host: { nrOpen: number; nproc: Rlimit; sigpending: Rlimit }): Rlimits {
  return {
    cpu: UNLIMITED,
    fsize: UNLIMITED,
    data: UNLIMITED,
    stack: { soft: 8 * MIB, hard: null },
    core: { soft: 0, hard: null },
    rss: UNLIMITED,
    nproc: host.nproc,
    nofile: { soft: 1024, hard: Math.min(host.nrOpen, 524288) },
    memlock: { soft: 8 * MIB, hard: 8 * MIB },
    as: UNLIMITED,
    locks: UNLIMITED,
    sigpending: host.sigpending,
    msgqueue: { soft: 819200, hard: 819200 },
    nice: { soft: 0, hard: 0 },
    rtprio: { soft: 0, hard: 0 },
    rttime: UNLIMITED,
  };
}

/** What can be set when hard limits cannot be raised (no CAP_SYS_RESOURCE): each value capped by `ceiling`. */
export function capRlimit(wanted: Rlimit, ceiling: Rlimit): Rlimit {
  const cap = (value: number | null): number | null => {
    if (ceiling.hard === null) return value;
    return value === null ? ceiling.hard : Math.min(value, ceiling.hard);
  };
  return { soft: cap(wanted.soft), hard: cap(wanted.hard) };
}
