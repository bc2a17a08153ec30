/** Reading back what a payload printed: sections, mounts, /proc/<pid>/status. */
import { expect } from 'vitest';

/** Sections begin with a line `@@ name`. */
export function sections(text: string): Map<string, string[]> {
  const out = new Map<string, string[]>();
  let current: string[] = [];
  for (const line of text.split('\n')) {
    const name = /^@@ (.+)$/.exec(line)?.[1];
    if (name === undefined) {
      if (line !== '') current.push(line);
      continue;
    }
    current = [];
    out.set(name, current);
  }
  return out;
}

export interface Mount {
  readonly root: string;
  readonly point: string;
  readonly options: string[];
  /** `shared:…`, `master:…`. */
  readonly propagation: string[];
  readonly type: string;
  readonly source: string;
  readonly superOptions: string[];
}

/** A peer group for what is mounted inside, and no word from the host. */
export const SHARED_INSIDE = [expect.stringMatching(/^shared:\d+$/)];

/** The peer groups of these mounts. */
export function peerGroups(mounts: readonly Mount[]): string[] {
  return mounts.flatMap(({ propagation }) =>
    propagation.filter(tag => tag.startsWith('shared:')).map(tag => tag.slice('shared:'.length)),
  );
}

/** Lines of /proc/<pid>/mountinfo (proc(5)). */
export function parseMounts(lines: readonly string[]): Mount[] {
  return lines.map(line => {
    const [left = '', right = ''] = line.split(' - ');
    const [, , , root = '', point = '', options = '', ...propagation] = left.split(' ');
    const [type = '', source = '', superOptions = ''] = right.split(' ');
    return {
      root,
      point,
      options: options.split(','),
      propagation,
      type,
      source,
      superOptions: superOptions.split(','),
    };
  });
}

export function mountAt(mounts: readonly Mount[], point: string): Mount {
  const found = mounts.filter(mount => mount.point === point);
  if (found.length !== 1) throw new Error(`${found.length} mounts at ${point}, one was expected`);
  return found[0] as Mount;
}

/** Fields of /proc/<pid>/status. */
export function parseStatus(text: string): Record<string, string> {
  return Object.fromEntries(
    text.split('\n').flatMap(line => {
      const match = /^(\w+):\s*(.*?)\s*$/.exec(line);
      return match === null ? [] : [[match[1] ?? '', match[2] ?? '']];
    }),
  );
}

/** Rows of /proc/<pid>/limits as `name: soft hard`. */
export function parseLimits(text: string): Record<string, string> {
  return Object.fromEntries(
    text.split('\n').flatMap(line => {
      const match = /^(Max .+?)\s{2,}(\S+)\s+(\S+)/.exec(line);
      return match === null ? [] : [[match[1] ?? '', `${match[2]} ${match[3]}`]];
    }),
  );
}
