import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Contender, Refusal } from '../contender.js';
import { ServeSession } from './serve.js';

/** Compiled, this file is .cache/bench/js/contenders/caisson.js. */
const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));

export const caisson: Contender = {
  id: 'caisson',
  title: 'Caisson',
  keepAtMost: 1000,
  notes: [
    'a warm supervisor in a Node process of its own; the call is container.start(), the container exists already',
    'its state directory is on a disk, as in use; those of the peers are on a tmpfs',
    'many starts: create() with its durable record and remove() are included; the peers keep no record',
  ],
  version: () =>
    `caisson ${(JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as { version: string }).version}, Node ${process.version}`,
  async open(mode, context) {
    if (!existsSync(`${ROOT}dist/index.js`)) throw new Refusal('not built: there is no dist/index.js');
    return new ServeSession(process.execPath, [
      '--expose-gc',
      fileURLToPath(new URL('./caisson-serve.js', import.meta.url)),
      mode,
      context.rootfs,
      `${context.disk}/caisson-${mode}`,
    ]);
  },
};
