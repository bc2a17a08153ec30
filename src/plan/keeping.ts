/**
 * What must outlive the supervisor (design §5): copies of what it keeps of a container are held by the keeper, so that
 * PID 1's console is not hung up, and how it ends is not forgotten, while nobody supervises (LIF-12).
 */
import type { ContainerSpec } from '../spec/container.js';
import { keptDescriptors, LOG_PLACE, LOG_REGISTERS } from './kept.js';
import type { HostStep, Tolerance } from './step.js';

/** Socket to the keeper, as a plain number: the supervisor's own, not one container's. Empty where there is none. */
export const KEEPER = 'keeper';
/** The container's place there. */
export const SLOT = 'slot';

export function endFile(runDir: string): string {
  return `${runDir}/end`;
}

const DROP = { op: 'keeper.drop', keeper: KEEPER, slot: SLOT } as const;

const DEAD: readonly Tolerance[] = [
  { errno: 'EPIPE', why: 'the keeper has died; the next one is handed everything' },
  { errno: 'ECONNRESET', why: 'the keeper has died; the next one is handed everything' },
];

/** @param orphan PID 1 is no child of this supervisor, but of one that has died. */
export function keeperStore(spec: ContainerSpec, runDir: string, orphan = false): HostStep[] {
  const end = endFile(runDir);
  return [
    {
      id: 'running.end',
      phase: 'running',
      executor: 'host',
      label: 'file in which the keeper writes down how PID 1 ends',
      action: { op: 'end.make', path: end },
      undo: { op: 'unlink', path: end },
      needs: KEEPER,
    },
    {
      id: 'running.keep',
      phase: 'running',
      executor: 'host',
      label: 'have the keeper hold what must outlive the supervisor',
      action: {
        op: 'keeper.store',
        keeper: KEEPER,
        slot: SLOT,
        pid: 'pid',
        registers: keptDescriptors(spec),
        end,
        orphan,
      },
      undo: DROP,
      needs: KEEPER,
      tolerate: DEAD,
    },
  ];
}

/** What was opened since then. */
export function keeperAdd(): HostStep[] {
  return [
    {
      id: 'running.keep.more',
      phase: 'running',
      executor: 'host',
      label: 'have the keeper hold what the console is recorded with',
      action: { op: 'keeper.add', keeper: KEEPER, slot: SLOT, registers: LOG_REGISTERS, first: LOG_PLACE },
      needs: KEEPER,
      tolerate: DEAD,
    },
  ];
}

export function keeperDrop(runDir: string): HostStep[] {
  return [
    {
      id: 'teardown.keep',
      phase: 'teardown',
      executor: 'host',
      label: 'have the keeper close what it holds',
      action: DROP,
      needs: KEEPER,
      tolerate: [
        { errno: 'EPIPE', why: 'the keeper has died; the next one is handed only what lives' },
        { errno: 'ECONNRESET', why: 'the keeper has died; the next one is handed only what lives' },
      ],
    },
    {
      id: 'teardown.end',
      phase: 'teardown',
      executor: 'host',
      label: 'remove what is written down of the end of PID 1',
      action: { op: 'unlink', path: endFile(runDir) },
      tolerate: [{ errno: 'ENOENT', why: 'already gone' }],
    },
  ];
}
