import { type Contender, Refusal } from '../contender.js';
import { commandVersion } from '../system.js';
import { CommandSession } from './command.js';
import { bundlePath, makeBundles } from './oci.js';

const HYBRID =
  'crun 1.8 refuses a hybrid host ("cgroups in hybrid mode not supported, drop all controllers from cgroupv2"): measured with the cgroup2 tree unmounted in a mount namespace of its own, so on cgroup v1 alone';

export const crun: Contender = {
  id: 'crun',
  title: 'crun run',
  keepAtMost: 100,
  notes: [
    'standard output is a pipe, no console pty',
    "user namespace: no idmapped rootfs in this version, the tree is a copy owned by the container's ids",
    'kept containers: `crun run -d`, nothing stays to supervise them',
  ],
  version: () => commandVersion('crun', ['--version']),
  async open(mode, context) {
    const root = ['crun', '--root', `${context.work}/crun-state`, '--cgroup-manager=cgroupfs'];
    const bundle = bundlePath('crun', mode, context);
    const session = (how: { readonly runner?: readonly string[]; readonly note?: string }): CommandSession =>
      new CommandSession(
        {
          ...how,
          prepare: makeBundles('crun', mode, context),
          command: () => [...root, 'run', '--bundle', bundle, `crun-${context.id}-{}`],
          keep: { command: [...root, 'run', '-d', '--bundle', bundle, `crun-${context.id}-{}`], stamps: true },
          stop: [
            [...root, 'kill', `crun-${context.id}-{}`, 'TERM'],
            [...root, 'delete', '--force', `crun-${context.id}-{}`],
          ],
        },
        context,
      );
    const plain = session({});
    try {
      await plain.probe();
      return plain;
    } catch (error) {
      if (!(error instanceof Refusal) || context.hybrid === null || !error.message.includes('hybrid')) throw error;
      return session({ runner: ['-u', context.hybrid], note: HYBRID });
    }
  },
};
