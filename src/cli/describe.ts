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
  rootfs: string,
  args: readonly string[],
  options: DescribeOptions,
  size?: TerminalSize,
): CreateInput {
  const bare = !rootfs.includes('/') && rootfs !== '.' && rootfs !== '..';
  if (bare && !isTemplate(rootfs)) {
    throw new CaissonError('TEMPLATE_UNKNOWN', `rootfs: there is no template ${rootfs}`, {
      field: 'rootfs',
      hint: `for a directory write ./${rootfs}; templates: busybox`,
    });
  }
  const [program, ...rest] = args;
  if (program !== undefined && !program.startsWith('/')) {
    throw new CaissonError('SPEC_INVALID', `program: ${program} is not an absolute path`, {
      field: 'program',
      hint: `name it as it is inside the container: /bin/${program}`,
    });
  }
  const name = options.name ?? `${bare ? rootfs : 'run'}-${randomBytes(3).toString('hex')}`;
  const { hostname, privileged, ephemeral, env = {} } = options;
  const common = {
    name,
    ...(hostname === undefined ? {} : { hostname }),
    ...(privileged === true ? { privileged } : {}),
    ...(Object.keys(env).length === 0 ? {} : { environment: env }),
    ...(program === undefined ? {} : { init: program, args: rest }),
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
