/** The terminal of PID 1 that nobody types on: what is written there is thrown away, or its writer would wait for ever. */
import { readNow } from '../syscalls/io.js';
import { type Watch, watch } from '../syscalls/watch.js';

/** @param master stays open until the watch is closed. */
export function drain(master: number): Watch {
  const watching = watch(master, () => {
    // Hung up: it would be readable for ever.
    if (readNow(master) === null) watching.close();
  });
  return watching;
}
