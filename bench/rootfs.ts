/** The root file system that every contender starts: the directories a runtime mounts on, and three payloads. */
import { chownSync, copyFileSync, lchownSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** bin, usr and os-release are there for systemd-nspawn, which refuses a tree that does not look like a system. */
const DIRECTORIES = ['dev', 'proc', 'sys', 'run', 'tmp', 'etc', 'bin', 'sbin', 'usr'];

export const PAYLOADS = { stamp: '/sbin/init', pause: '/sbin/pause', probe: '/sbin/probe' } as const;
export type Payload = keyof typeof PAYLOADS;

export function makeRootfs(path: string, bin: string): void {
  for (const directory of DIRECTORIES) mkdirSync(join(path, directory), { recursive: true, mode: 0o755 });
  writeFileSync(join(path, 'etc/os-release'), 'ID=caisson-bench\n');
  for (const [payload, target] of Object.entries(PAYLOADS)) copyFileSync(join(bin, payload), join(path, target));
}

/** Adds `first` to the owner of every file, as an installer without idmapped mounts would. */
export function shiftOwners(path: string, first: number): void {
  for (const entry of readdirSync(path, { withFileTypes: true, recursive: true })) {
    lchownSync(join(entry.parentPath, entry.name), first, first);
  }
  chownSync(path, first, first);
}
