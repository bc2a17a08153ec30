/** `init: 'auto'`: which of the usual programs the tree has (HST-58). */
import { INIT_CANDIDATES, INIT_DEFAULT } from '../../../spec/inits.js';
import { S_IFMT, S_IFREG } from '../../../syscalls/abi/constants.js';
import { modeInside } from './inside.js';

/** The path of the program; where there is none of them, the default, about which the check then complains. */
export function chosenInit(dir: number, init: string): string {
  if (init !== 'auto') return init;
  const found = INIT_CANDIDATES.find(path => {
    const mode = modeInside(dir, path, 0);
    return mode !== undefined && (mode & S_IFMT) === S_IFREG && (mode & 0o111) !== 0;
  });
  return found ?? INIT_DEFAULT;
}
