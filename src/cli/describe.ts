/** From command-line words to a container spec. */
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { CaissonError } from '../spec/errors.js';
import type { OverlayKind } from '../spec/schema/rootfs.js';
import { resolveInput } from '../supervisor/input.js';
import type { CreateInput } from '../supervisor/supervisor.js';
import { isTemplate, type TemplateName } from '../supervisor/templates.js';

export interface DescribeOptions {
  readonly name?: string;
  readonly hostname?: string;
  readonly privileged?: boolean;
  /** A tar archive, or a file with a file system, in place of a directory: the first word is the program's already. */
  readonly archive?: string;
  readonly image?: string;
  readonly overlay?: OverlayKind;
  readonly ephemeral?: boolean;
  readonly readOnly?: boolean;
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
function templateOf(word: string): TemplateName | undefined {
  if (word.includes('/') || word === '.' || word === '..') return undefined;
  if (isTemplate(word)) return word;
  throw new CaissonError('TEMPLATE_UNKNOWN', `rootfs: there is no template ${word}`, {
    field: 'rootfs',
    hint: `for a directory write ./${word}; templates: busybox`,
  });
}

function overlayOf({ overlay, ephemeral }: DescribeOptions): { overlay?: OverlayKind } {
  const chosen = ephemeral === true ? 'ephemeral' : overlay;
  return chosen === undefined ? {} : { overlay: chosen };
}

/** @param word the rootfs; with an archive or an image, the program. */
export function specFrom(
  word: string | undefined,
  args: readonly string[],
  options: DescribeOptions,
  size?: TerminalSize,
): CreateInput {
  const { archive, image, privileged, readOnly } = options;
  const console = size === undefined ? {} : { console: size };
  const overlay = overlayOf(options);
  // What the one kind has no use for, the schema names.
  const more = { ...overlay, ...(readOnly === true ? { readOnly } : {}) };
  if (archive !== undefined || image !== undefined) {
    const common = { ...describedBy(word === undefined ? [] : [word, ...args], options, 'run'), ...console };
    if (image !== undefined) return { ...common, rootfs: { image: resolve(image), ...more } };
    return { ...common, rootfs: { archive: resolve(archive ?? ''), ...more } } as CreateInput;
  }
  if (word === undefined) {
    throw new CaissonError('SPEC_INVALID', 'rootfs: is missing', {
      field: 'rootfs',
      hint: 'name a directory, a template (busybox), an archive by --archive, or an image by --image',
    });
  }
  const template = templateOf(word);
  const common = { ...describedBy(args, options, template ?? 'run'), ...console };
  if (template !== undefined)
    return { ...common, template, ...(privileged === true ? { overlay: 'ephemeral' } : {}), ...overlay };
  return { ...common, rootfs: { path: resolve(word), ...more } };
}

/** What is the same wherever the root file system comes from. `kind` begins a name that is made up. */
function describedBy(args: readonly string[], options: DescribeOptions, kind: string) {
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
