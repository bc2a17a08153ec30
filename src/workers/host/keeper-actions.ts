/** Executors of what is handed to the keeper. */
import type { KeeperAction } from '../../plan/actions/keeper.js';
import { LOG_PLACE } from '../../plan/kept.js';
import type { Register } from '../../plan/step.js';
import { AT, O } from '../../syscalls/abi/constants.js';
import { close, openat } from '../../syscalls/fs.js';
import { addToSlot, dropSlot, END_PLACE, PIDFD_PLACE, STAT_PLACE, storeSlot } from '../../syscalls/keeper/keeper.js';
import { SyscallError } from '../../syscalls/libc.js';
import { sendSignal } from '../../syscalls/process.js';
import type { StepContext } from '../context.js';
import type { Executors } from './executors.js';

/** /proc/<pid>/stat of the process behind `pidfd`; undefined when that has been reaped, and the number perhaps reused. */
function statOf(pid: number, pidfd: number | undefined): number | undefined {
  let fd: number;
  try {
    fd = openat(AT.AT_FDCWD, `/proc/${pid}/stat`, O.O_RDONLY);
  } catch (error) {
    if (error instanceof SyscallError && error.errno === 'ENOENT') return undefined;
    throw error;
  }
  // Signal 0 still finds a zombie.
  if (pidfd !== undefined && sendSignal(pidfd, 0)) return fd;
  close(fd);
  return undefined;
}

/** What there is of `registers`, each at its place. */
function placesOf(
  registers: readonly Register[],
  context: StepContext,
  first: number,
  end: number,
): Map<number, number> {
  const held = new Map<number, number>();
  registers.forEach((register, index) => {
    const place = first + index;
    if (place < end && context.has(register)) held.set(place, context.get(register));
  });
  return held;
}

export const KEEPER_ACTIONS: Executors<KeeperAction> = {
  // Not emptied: the end of one that is adopted may stand in it.
  'end.make': action => close(openat(AT.AT_FDCWD, action.path, O.O_WRONLY | O.O_CREAT, 0o600)),
  'keeper.store': (action, context) => {
    const held = placesOf(action.registers, context, 0, LOG_PLACE);
    const opened: number[] = [];
    const keep = (place: number, fd: number): void => {
      opened.push(fd);
      held.set(place, fd);
    };
    try {
      keep(END_PLACE, openat(AT.AT_FDCWD, action.end, O.O_WRONLY));
      const stat = statOf(context.get(action.pid), held.get(PIDFD_PLACE));
      if (stat !== undefined) keep(STAT_PLACE, stat);
      storeSlot(context.get(action.keeper), context.get(action.slot), context.get(action.pid), held, action.orphan);
    } finally {
      for (const fd of opened) close(fd);
    }
  },
  'keeper.add': (action, context) =>
    addToSlot(
      context.get(action.keeper),
      context.get(action.slot),
      placesOf(action.registers, context, action.first, STAT_PLACE),
    ),
  'keeper.drop': (action, context) => dropSlot(context.get(action.keeper), context.get(action.slot)),
};
