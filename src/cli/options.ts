/** What the options of several commands have in common: how their words are read, and who has them. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { OWN_FAILURE } from './exit-code.js';

export const DEFAULT_STATE = '/var/lib/caisson';
export const DEFAULT_SOCKET = '/run/caisson/caisson.sock';

/** `K=V` into a record; commander calls it once for each --env. */
export function variable(text: string, previous: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('must be NAME=VALUE');
  return { ...previous, [text.slice(0, at)]: text.slice(at + 1) };
}

export function milliseconds(text: string): number {
  const seconds = Number(text);
  if (text.trim() === '' || !Number.isFinite(seconds) || seconds < 0)
    throw new InvalidArgumentError('must be a number of seconds');
  return seconds * 1000;
}

export function count(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('must be a whole number, 0 or more');
  return Number(text);
}

export function path(text: string): string {
  if (text === '') throw new InvalidArgumentError('must be a path');
  return text;
}

export function repeated(text: string, previous: readonly string[] = []): string[] {
  return [...previous, text];
}

/** Required, unless an archive or an image takes its place. */
export function needRootfs(
  rootfs: string | undefined,
  options: { readonly archive?: string; readonly image?: string },
  command: Command,
): void {
  if (rootfs === undefined && options.archive === undefined && options.image === undefined)
    command.error("error: missing required argument 'rootfs'", { exitCode: OWN_FAILURE });
}

/** The options that say what the container is; shared by `run` and `explain`. */
export function describing(command: Command): Command {
  return command
    .showHelpAfterError(`  hint: see caisson ${command.name()} --help`)
    .argument(
      '[rootfs]',
      'directory of a root file system, or the name of a template (busybox); none with --archive or --image',
    )
    .argument('[program...]', 'program that becomes PID 1, an absolute path inside, and its arguments (after --)')
    .option('--archive <file>', 'tar archive of a root file system, plain or compressed with gzip, xz or zstd', path)
    .option('--name <name>', 'name of the container; made up when not given')
    .option('--hostname <name>', 'host name inside; default: the name')
    .option('--privileged', 'no user namespace: container root is host root')
    .addOption(
      new Option('--image <file>', 'root file system in a squashfs, erofs or ext4 file')
        .argParser(path)
        .conflicts('archive'),
    )
    .addOption(
      new Option('--overlay <mode>', 'where changes go: to the root file system itself, or to a layer on top')
        .choices(['none', 'ephemeral', 'persistent'])
        .conflicts('ephemeral'),
    )
    .option('--ephemeral', 'changes to the root file system are thrown away at stop, as with --overlay ephemeral')
    .option('--read-only', 'nothing can be written to the image')
    .option('--env <NAME=VALUE>', 'variable for PID 1; may be repeated', variable)
    .option('--state <dir>', 'state directory', path, DEFAULT_STATE);
}
