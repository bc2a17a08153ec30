/** The freezers of cgroup v2 and v1 (LIF-33). A freeze that does not complete in time is taken back. */
import { CaissonError } from '../../spec/errors.js';
import { readFile, writeFile } from '../../syscalls/fs.js';
import { retryFor } from '../sleep.js';

export function freezeCgroup(action: { path: string; version: 1 | 2; frozen: boolean; timeoutMs: number }): void {
  const { path, version, frozen, timeoutMs } = action;
  const [file, events] = version === 2 ? ['cgroup.freeze', 'cgroup.events'] : ['freezer.state', 'freezer.state'];
  const command = (freeze: boolean): string => (version === 2 ? (freeze ? '1' : '0') : freeze ? 'FROZEN' : 'THAWED');
  const reached = version === 2 ? `frozen ${frozen ? 1 : 0}` : command(frozen);
  writeFile(`${path}/${file}`, command(frozen));
  if (retryFor(timeoutMs, () => readFile(`${path}/${events}`).includes(reached))) return;
  writeFile(`${path}/${file}`, command(!frozen));
  throw new CaissonError('TIMEOUT', `${path} did not become ${frozen ? 'frozen' : 'thawed'} within ${timeoutMs} ms`, {
    hint: 'a process in uninterruptible sleep (D) cannot be frozen',
  });
}
