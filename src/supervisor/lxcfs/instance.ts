/** One life of LXCFS: what it shows, and a descriptor of each of that, which stays good while it lives. */
import { readFile } from 'node:fs/promises';
import type { LxcfsFacts } from '../../plan/facts.js';
import { shownBy } from '../../plan/lxcfs.js';
import { close } from '../../syscalls/fs.js';
import { type Answered, type Listing, listDirectory, openPaths } from '../../syscalls/served.js';

export type AliveFacts = Extract<LxcfsFacts, { state: 'alive' }>;

/** Descriptors go to a container in one message, with others: more than LXCFS has ever shown. */
const MOST = 40;

const CPU = 'sys/devices/system/cpu';

/** True when `device` is a mount of LXCFS. The kernel itself says so: nobody who may hang is asked. */
async function isLxcfs(device: string): Promise<boolean> {
  const text = await readFile('/proc/self/mountinfo', 'utf8');
  return text.split('\n').some(line => line.split(' ')[2] === device && line.includes(' - fuse.lxcfs '));
}

export class Instance {
  private users = 1;

  private constructor(
    readonly device: string,
    readonly facts: AliveFacts,
    readonly held: Readonly<Record<string, number>>,
  ) {}

  /** Looks at what shows `found` in the `proc` below `path`. Undefined: it is not LXCFS. */
  static async open(path: string, found: Listing, timeoutMs: number): Promise<Answered<Instance> | undefined> {
    if (!(await isLxcfs(found.device))) return undefined;
    const list = async (directory: string): Promise<Answered<readonly string[]>> => {
      const listing = await listDirectory(`${path}/${directory}`, timeoutMs);
      return typeof listing === 'object' && 'names' in listing ? listing.names : listing;
    };
    // Of pressure the kernel has more files than LXCFS: one by one.
    const pressure = found.names.includes('pressure') ? await list('proc/pressure') : [];
    const cpu = await list(CPU);
    if (pressure === 'silent' || cpu === 'silent') return 'silent';
    const inPressure = 'errno' in pressure ? [] : pressure.map(name => `pressure/${name}`);
    const inCpu = 'errno' in cpu ? [] : cpu;
    const facts: AliveFacts = {
      state: 'alive',
      path,
      proc: [...found.names.filter(name => name !== 'pressure'), ...inPressure].sort().slice(0, MOST / 2),
      cpu: inCpu.includes('uevent') ? null : [...inCpu].sort().slice(0, MOST / 2 - 1),
    };
    const names = shownBy(facts).map(({ name }) => name);
    const fds = await openPaths(
      names.map(name => (name === '.' ? path : `${path}/${name}`)),
      timeoutMs,
    );
    if (!Array.isArray(fds)) return fds;
    return new Instance(found.device, facts, Object.fromEntries(names.map((name, index) => [name, fds[index] ?? -1])));
  }

  use(): void {
    this.users++;
  }

  /** One user fewer; the last one closes what is held. */
  release(): void {
    if (--this.users > 0) return;
    for (const fd of Object.values(this.held)) close(fd);
  }
}
