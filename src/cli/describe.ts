/** From command-line words to a container spec. */
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { CaissonError } from '../spec/errors.js';
import { resolveInput } from '../supervisor/input.js';
import type { CreateInput } from '../supervisor/supervisor.js';
import { isTemplate } from '../supervisor/templates.js';

export interface DescribeOptions {
  readonly name?: string;
  readonly hostname?: string;
  readonly privileged?: boolean;
  readonly ephemeral?: boolean;
  /** A tar archive in place of a directory: the first word is the program's already. */
  readonly archive?: string;
  readonly env?: Record<string, string>;
  readonly state: string;
}

export interface TerminalSize {
  readonly rows: number;
  readonly cols: number;
}

/** Refuses a bad spec while nothing has been made. @throws CaissonError SPEC_INVALID */
export function check(spec: CreateInput): void {
  resolveInput(
    spec,
    name => `/${name}`,
    () => ({ first: 1, count: 1 }),
  );
}

/** A directory is a path: `./busybox` or `/srv/x`. A bare word is a template. */
export function specFrom(
  word: string | undefined,
  args: readonly string[],
  options: DescribeOptions,
  size?: TerminalSize,
): CreateInput {
  const { archive } = options;
  if (archive !== undefined) {
    const rootfs = {
      archive: resolve(archive),
      ...(options.ephemeral === true ? { overlay: 'ephemeral' as const } : {}),
    };
    return {
      ...described(word === undefined ? [] : [word, ...args], options, 'run'),
      rootfs,
      ...(size === undefined ? {} : { console: size }),
    };
  }
  if (word === undefined) {
    throw new CaissonError('SPEC_INVALID', 'rootfs: is missing', {
      field: 'rootfs',
      hint: 'name a directory, a template (busybox), or an archive by --archive',
    });
  }
  return specOfWord(word, args, options, size);
}

function specOfWord(
  rootfs: string,
  args: readonly string[],
  options: DescribeOptions,
  size: TerminalSize | undefined,
): CreateInput {
  const bare = !rootfs.includes('/') && rootfs !== '.' && rootfs !== '..';
  if (bare && !isTemplate(rootfs)) {
    throw new CaissonError('TEMPLATE_UNKNOWN', `rootfs: there is no template ${rootfs}`, {
      field: 'rootfs',
      hint: `for a directory write ./${rootfs}; templates: busybox`,
    });
  }
  const { privileged, ephemeral } = options;
  const common = {
    ...described(args, options, bare ? rootfs : 'run'),
    ...(size === undefined ? {} : { console: size }),
  };
  if (isTemplate(rootfs) && bare) {
    return {
      ...common,
      template: rootfs,
      ...(ephemeral === true || privileged === true ? { overlay: 'ephemeral' as const } : {}),
    };
  }
  const path = resolve(rootfs);
  return { ...common, rootfs: ephemeral === true ? { path, overlay: 'ephemeral' } : path };
}

/** What is the same wherever the root file system comes from. `kind` begins a name that is made up. */
function described(args: readonly string[], options: DescribeOptions, kind: string) {
  const [program, ...rest] = args;
  if (program !== undefined && !program.startsWith('/')) {
    throw new CaissonError('SPEC_INVALID', `program: ${program} is not an absolute path`, {
      field: 'program',
      hint: `name it as it is inside the container: /bin/${program}`,
    });
  }
  const { hostname, privileged, env = {} } = options;
  return {
    name: options.name ?? `${kind}-${randomBytes(3).toString('hex')}`,
    ...(hostname === undefined ? {} : { hostname }),
    ...(privileged === true ? { privileged } : {}),
    ...(Object.keys(env).length === 0 ? {} : { environment: env }),
    ...(program === undefined ? {} : { init: program, args: rest }),
  };
}
