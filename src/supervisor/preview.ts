/** A plan without a supervisor: facts are gathered, nothing is made. */
import { join, resolve } from 'node:path';
import { compile } from '../plan/compile.js';
import type { Plan } from '../plan/step.js';
import { WorkerPool } from '../workers/pool.js';
import { assignedTo, UNREAD } from './assigned.js';
import { DEFAULT_ID_POOL, IDS_PER_CONTAINER } from './ids.js';
import { resolveInput } from './input.js';
import { Lxcfs } from './lxcfs/lxcfs.js';
import { storeId } from './store.js';
import type { CreateInput } from './supervisor.js';

/** What starting `input` below `stateDir` would do on this host. The id range shown is the first one of the pool. */
export async function planFor(input: CreateInput, stateDir: string): Promise<Plan> {
  const dir = resolve(stateDir);
  const { spec } = resolveInput(
    input,
    name => join(dir, name, 'rootfs'),
    () => ({ first: DEFAULT_ID_POOL.first, count: IDS_PER_CONTAINER }),
  );
  const id = storeId(dir);
  const pool = new WorkerPool({ threads: 1 });
  const lxcfs = Lxcfs.at(undefined);
  try {
    const assigned = assignedTo(spec, {
      stateDir: dir,
      runDir: `/run/caisson/${id}`,
      storeId: id,
      created: Date.now(),
      ...(spec.rootfs.kind === 'archive' ? { layer: UNREAD } : {}),
    });
    const facts = await pool.facts(`caisson-${id}`);
    return compile(spec, { ...facts, lxcfs: await lxcfs.first() }, assigned);
  } finally {
    await lxcfs.close();
    await pool.close();
  }
}
