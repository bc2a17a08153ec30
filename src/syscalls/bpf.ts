/** BPF programs on cgroups (bpf(2)): device policy on cgroup v2. */
import { O } from './abi/constants.js';
import { scratch } from './arena.js';
import { close, openat } from './fs.js';
import { SyscallError, trySyscall } from './libc.js';

const BPF_PROG_LOAD = 5;
const BPF_PROG_ATTACH = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
const BPF_CGROUP_DEVICE = 6;
/** Programs of groups below run as well, and all must allow. Without it the kernel refuses them, as systemd's of a service. */
const BPF_F_ALLOW_MULTI = 2;
const ATTR_SIZE = 128;

/** Loads a device program and attaches it to a cgroup, where it stays until the cgroup is removed. */
export function attachDeviceProgram(cgroup: string, program: Uint8Array): void {
  const arena = scratch();
  const instructions = arena.copy(program);
  const license = arena.cstring('MIT');
  const load = arena.alloc(ATTR_SIZE);
  arena.setU32(load, BPF_PROG_TYPE_CGROUP_DEVICE);
  arena.setU32(load + 4, program.length / 8);
  arena.setU64(load + 8, instructions);
  arena.setU64(load + 16, license);
  const loaded = trySyscall('bpf', BPF_PROG_LOAD, load, ATTR_SIZE);
  if (loaded < 0) throw new SyscallError('bpf', -loaded, 'BPF_PROG_LOAD cgroup_device');
  try {
    const directory = openat(-100, cgroup, O.O_RDONLY | O.O_DIRECTORY);
    try {
      const memory = scratch();
      const attr = memory.alloc(ATTR_SIZE);
      memory.setU32(attr, directory);
      memory.setU32(attr + 4, loaded);
      memory.setU32(attr + 8, BPF_CGROUP_DEVICE);
      memory.setU32(attr + 12, BPF_F_ALLOW_MULTI);
      const result = trySyscall('bpf', BPF_PROG_ATTACH, attr, ATTR_SIZE);
      if (result < 0) throw new SyscallError('bpf', -result, `BPF_PROG_ATTACH ${cgroup}`);
    } finally {
      close(directory);
    }
  } finally {
    close(loaded);
  }
}
