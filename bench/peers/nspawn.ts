import { linkSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Contender, ID_COUNT, ID_FIRST } from '../contender.js';
import { PAYLOADS } from '../rootfs.js';
import { commandVersion } from '../system.js';
import { CommandSession, inOurCgroups } from './command.js';

/** A copy of `tree` whose files are hard links. */
function linkTree(tree: string, copy: string): void {
  mkdirSync(copy, { recursive: true, mode: 0o755 });
  for (const entry of readdirSync(tree, { withFileTypes: true })) {
    if (entry.isDirectory()) linkTree(join(tree, entry.name), join(copy, entry.name));
    else linkSync(join(tree, entry.name), join(copy, entry.name));
  }
}

export const nspawn: Contender = {
  id: 'nspawn',
  title: 'systemd-nspawn',
  keepAtMost: 0,
  notes: [
    "not registered and in the caller's unit (--register=no --keep-unit): no systemd runs here",
    'standard output is a pipe (--console=pipe)',
    'brings its seccomp filter and masked paths, which cannot be turned off',
    'kept containers: none; it has no detached mode of its own, systemd-run or machinectl give it one',
  ],
  version: () => commandVersion('systemd-nspawn', ['--version']),
  async open(mode, context) {
    // It locks its tree ("Directory tree … is currently busy"), so each run gets one of its own.
    const trees = join(context.work, `nspawn-${mode}`, '{}');
    const options = [
      '--quiet',
      '--register=no',
      '--keep-unit',
      '--private-network',
      '--link-journal=no',
      '--resolv-conf=off',
      '--timezone=off',
      '--console=pipe',
      '--settings=no',
      `--directory=${trees}`,
      `--machine=nspawn-{}`,
      '--rlimit=RLIMIT_NOFILE=1024:20000',
      '--setenv=container=lxc',
      ...(mode === 'userns' ? [`--private-users=${ID_FIRST}:${ID_COUNT}`, '--private-users-ownership=map'] : []),
    ];
    return new CommandSession(
      {
        runner: inOurCgroups(context),
        prepare: (_payload, first, count) => {
          for (let number = first; number < first + count; number++)
            linkTree(context.rootfs, trees.replace('{}', String(number)));
        },
        command: payload => ['systemd-nspawn', ...options, PAYLOADS[payload]],
      },
      context,
    );
  },
};
