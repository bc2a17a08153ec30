/** cgroup v1's notice of memory that has run out (cgroup-v1/memory.rst, 10). */
import { AT, O } from './abi/constants.js';
import { close, openat, writeFile } from './fs.js';
import { syscall } from './libc.js';

const EFD_CLOEXEC_NONBLOCK = 0o2004000;

/** An eventfd that counts whenever the group, or one above it, is out of memory. The kernel forgets it with either. */
export function oomEvent(group: string): number {
  const event = syscall('eventfd2', 0, EFD_CLOEXEC_NONBLOCK);
  try {
    const control = openat(AT.AT_FDCWD, `${group}/memory.oom_control`, O.O_RDONLY);
    try {
      writeFile(`${group}/cgroup.event_control`, `${event} ${control}`);
    } finally {
      close(control);
    }
    return event;
  } catch (error) {
    close(event);
    throw error;
  }
}
