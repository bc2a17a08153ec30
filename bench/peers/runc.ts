import type { Contender } from '../contender.js';
import { commandVersion } from '../system.js';
import { CommandSession } from './command.js';
import { bundlePath, makeBundles } from './oci.js';

export const runc: Contender = {
  id: 'runc',
  title: 'runc run',
  keepAtMost: 100,
  notes: [
    'standard output is a pipe, no console pty',
    "user namespace: no idmapped rootfs in this version, the tree is a copy owned by the container's ids",
    'kept containers: `runc run -d`, nothing stays to supervise them',
  ],
  version: () => commandVersion('runc', ['--version']),
  async open(mode, context) {
    const root = ['runc', '--root', `${context.work}/runc-state`];
    const bundle = bundlePath('runc', mode, context);
    return new CommandSession(
      {
        prepare: makeBundles('runc', mode, context),
        command: () => [...root, 'run', '--bundle', bundle, `runc-${context.id}-{}`],
        keep: { command: [...root, 'run', '-d', '--bundle', bundle, `runc-${context.id}-{}`], stamps: true },
        stop: [
          [...root, 'kill', `runc-${context.id}-{}`, 'TERM'],
          [...root, 'delete', '--force', `runc-${context.id}-{}`],
        ],
      },
      context,
    );
  },
};
