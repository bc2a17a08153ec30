/** The kernel's files of counters: cgroups(7), cgroup-v2.rst, cgroup-v1/{cpuacct,memory,blkio-controller}.rst, psi.rst. */
import { type Interfaces, LINK_COUNTERS, type Row, type SlotName, setSlot, setStall } from './slots.js';

/** What is in a file, and which slots it fills. */
export type StatsFormat =
  | { readonly is: 'number'; readonly slot: SlotName }
  /** Lines of a key and a number; `scale` by which it becomes the slot's unit. */
  | {
      readonly is: 'keys';
      readonly keys: Readonly<Record<string, { readonly slot: SlotName; readonly scale: number }>>;
    }
  | { readonly is: 'io.stat' }
  /** blkio's lines of a device, an operation and a number. */
  | { readonly is: 'blkio'; readonly read: SlotName; readonly write: SlotName }
  | { readonly is: 'pressure'; readonly resource: 'cpu' | 'memory' | 'io' };

const NS_PER_US = 1000;

function ioStat(text: string, row: Row): void {
  const total = { rbytes: 0, wbytes: 0, rios: 0, wios: 0 };
  for (const [, key, value] of text.matchAll(/\b([rw](?:bytes|ios))=(\d+)/g)) {
    total[key as keyof typeof total] += Number(value);
  }
  setSlot(row, 'readBytes', total.rbytes);
  setSlot(row, 'writtenBytes', total.wbytes);
  setSlot(row, 'reads', total.rios);
  setSlot(row, 'writes', total.wios);
}

function blkio(text: string, row: Row, read: SlotName, write: SlotName): void {
  const total = { Read: 0, Write: 0 };
  const lines = [...text.matchAll(/^\S+ (Read|Write) (\d+)$/gm)];
  // Since Linux 6.10 a disk is counted on v1 only once somebody has set a limit for it: no line is no count, not 0.
  if (lines.length === 0) return;
  for (const [, operation, value] of lines) total[operation as keyof typeof total] += Number(value);
  setSlot(row, read, total.Read);
  setSlot(row, write, total.Write);
}

function pressure(text: string, row: Row, resource: 'cpu' | 'memory' | 'io'): void {
  const lines = text.matchAll(/^(some|full) avg10=([\d.]+) avg60=([\d.]+) avg300=([\d.]+) total=(\d+)$/gm);
  for (const [, kind, avg10, avg60, avg300, total] of lines) {
    const values = [Number(avg10), Number(avg60), Number(avg300), Number(total) * NS_PER_US];
    setStall(row, resource, kind as 'some' | 'full', values);
  }
}

/** Puts what `text` says into `row`; what it does not say stays NaN. */
export function parseStats(format: StatsFormat, text: string, row: Row): void {
  switch (format.is) {
    case 'number':
      if (/^\d/.test(text)) setSlot(row, format.slot, Number.parseInt(text, 10));
      return;
    case 'keys':
      for (const line of text.split('\n')) {
        const space = line.indexOf(' ');
        const name = line.slice(0, space);
        const key = Object.hasOwn(format.keys, name) ? format.keys[name] : undefined;
        if (key !== undefined) setSlot(row, key.slot, Number(line.slice(space + 1)) * key.scale);
      }
      return;
    case 'io.stat':
      ioStat(text, row);
      return;
    case 'blkio':
      blkio(text, row, format.read, format.write);
      return;
    case 'pressure':
      pressure(text, row, format.resource);
  }
}

/** The payload may make as many as it likes. */
const MOST_INTERFACES = 64;
/** Of the 16 columns: bytes, packets, errs, drop of both directions. */
const COLUMNS = [0, 1, 2, 3, 8, 9, 10, 11];

/** /proc/<pid>/net/dev (proc_pid_net(5)). A last line that was cut off is left out. */
export function parseInterfaces(text: string): Interfaces {
  const names: string[] = [];
  const counters: number[] = [];
  for (const line of text.slice(0, text.lastIndexOf('\n')).split('\n').slice(2)) {
    // A name holds neither a colon nor white space.
    const colon = line.indexOf(':');
    const columns = line
      .slice(colon + 1)
      .trim()
      .split(/ +/);
    if (colon === -1 || columns.length < 16) continue;
    if (names.length === MOST_INTERFACES) break;
    // Read byte by byte, as names need not be UTF-8; most are.
    names.push(Buffer.from(line.slice(0, colon).trim(), 'latin1').toString());
    for (const column of COLUMNS) counters.push(Number(columns[column]));
  }
  return { names, counters: counters.slice(0, names.length * LINK_COUNTERS) };
}
