/**
 * Looks into another process's root and network namespace, by a child that can be killed: a hung file server, or a
 * listener that never answers, holds it and nobody else.
 */

import { errnoName } from '../spec/errno.js';
import { AT, CLONE, O, RESOLVE } from './abi/constants.js';
import type { Arena } from './arena.js';
import { runErrand } from './launcher/errand.js';
import type { Entry } from './launcher/program.js';
import { NR } from './libc.js';

const CLOSE_RANGE_UNSHARE = 2;
const AF_INET = 2;
const SOCK_STREAM = 1;
const MSG_NOSIGNAL = 0x4000;
const MSG_WAITALL = 0x100;
/** The first descriptor that is opened in a table of which only the first three are left. */
const FIRST = 3;

/** Undefined: it is as it should be. Else why not. */
export type Fault = string | undefined;

/** A descriptor table of its own: what is opened goes with the child, and has a number that is known. */
const ownTable: Entry = { nr: NR.close_range, args: [FIRST, 0xffffffff, CLOSE_RANGE_UNSHARE] };

function faultOf(result: number | undefined, what: string): Fault {
  if (result !== undefined && result >= 0) return undefined;
  return result === undefined ? `${what} was not tried` : `${what}: ${errnoName(-result)}`;
}

/** Whether there is such a file below the root of process `pid`, resolved as it would resolve it. */
export async function probeFile(pid: number, path: string, timeoutMs: number): Promise<Fault> {
  const write = (arena: Arena): Entry[] => {
    const how = arena.alloc(24);
    arena.setU64(how, O.O_PATH | O.O_CLOEXEC);
    arena.setU64(how + 16, RESOLVE.RESOLVE_IN_ROOT | RESOLVE.RESOLVE_NO_MAGICLINKS);
    const root = arena.cstring(`/proc/${pid}/root`);
    return [
      ownTable,
      { nr: NR.openat, args: [AT.AT_FDCWD, root, O.O_PATH | O.O_DIRECTORY | O.O_CLOEXEC, 0] },
      { nr: NR.openat2, args: [FIRST, arena.cstring(path), how, 24] },
    ];
  };
  const found = await runErrand(write, timeoutMs, ({ result }) => ({
    fault: faultOf(result(1), 'its root') ?? faultOf(result(2), path),
  }));
  return found === undefined ? `${path}: no answer within ${timeoutMs} ms` : found.fault;
}

/**
 * Connects to `host` in the network namespace of the process of `pidfd`; with `path`, asks for that by HTTP and wants a
 * status from 200 to 399.
 * @param host IPv4, as four numbers with dots.
 */
export async function probeTcp(
  pidfd: number,
  target: { readonly host: string; readonly port: number; readonly path?: string },
  timeoutMs: number,
): Promise<Fault> {
  const { host, port, path } = target;
  const what = `${host}:${port}`;
  /** `HTTP/1.1 200` */
  const statusLine = 12;
  let answer = 0;
  const write = (arena: Arena): Entry[] => {
    const address = Buffer.alloc(16);
    address.writeUInt16LE(AF_INET, 0);
    address.writeUInt16BE(port, 2);
    address.set(host.split('.').map(Number), 4);
    const entries: Entry[] = [
      { nr: NR.setns, args: [pidfd, CLONE.CLONE_NEWNET] },
      ownTable,
      { nr: NR.socket, args: [AF_INET, SOCK_STREAM | O.O_CLOEXEC, 0] },
      { nr: NR.connect, args: [FIRST, arena.copy(address), address.length] },
    ];
    if (path === undefined) return entries;
    const request = Buffer.from(`GET ${path} HTTP/1.0\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    answer = arena.alloc(16);
    return [
      ...entries,
      { nr: NR.sendto, args: [FIRST, arena.copy(request), request.length, MSG_NOSIGNAL, 0, 0] },
      { nr: NR.recvfrom, args: [FIRST, answer, statusLine, MSG_WAITALL, 0, 0] },
    ];
  };
  const found = await runErrand(write, timeoutMs, ({ result, arena }) => {
    const fault = faultOf(result(0), 'its network') ?? faultOf(result(3), what);
    if (fault !== undefined || path === undefined) return { fault };
    const read = result(5) ?? -1;
    const line = read > 0 ? arena.slice(answer, read).toString('latin1') : '';
    const status = /^HTTP\/1\.\d (\d{3})$/.exec(line)?.[1];
    if (status === undefined) return { fault: `${what}${path}: no answer by HTTP` };
    return { fault: /^[23]/.test(status) ? undefined : `${what}${path}: status ${status}` };
  });
  return found === undefined ? `${what}: no answer within ${timeoutMs} ms` : found.fault;
}
