import { join } from 'node:path';
import type { Contender } from '../contender.js';
import { ServeSession } from './serve.js';

export const floor: Contender = {
  id: 'floor',
  title: 'floor (C)',
  keepAtMost: 1000,
  notes: ['the system calls of a Caisson start and nothing else: bench/floor/floor.c'],
  version: () => 'bench/floor/floor.c',
  async open(mode, context) {
    return new ServeSession(join(context.bin, 'floor'), [
      ...(mode === 'userns' ? ['--userns'] : []),
      '--cgroup',
      `${context.id}-floor-${mode}`,
      'serve',
      context.rootfs,
    ]);
  },
};
