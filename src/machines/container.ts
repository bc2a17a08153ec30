/**
 * The life of one container as a state machine (lifecycle.md §1). It decides, and does nothing itself: what it
 * decides is done by actors and actions that are only named in `setup.ts`. `createContainerMachine` leaves them
 * named, for a caller who provides its own; `containerMachine` provides them by the port each actor gets as input,
 * so that one machine serves all containers of a process.
 */
import { fromPromise, type SnapshotFrom } from 'xstate';
import { rebooting } from './cleaning.js';
import type { ExitStatus } from './exit.js';
import { freezing, frozen, running, thawing } from './freezing.js';
import { type ContainerEvent, type ContainerInput, initialContext } from './intent.js';
import type { CommandOutcome, SignalOutcome, SignalPurpose, TeardownTarget } from './port.js';
import { base, entered, type PortInput } from './setup.js';
import { creating, devices, mounting, network } from './starting.js';
import type { Phase, StateName } from './states.js';
import { stopping } from './stopping.js';

export type * from './intent.js';
export type * from './port.js';

export function createContainerMachine() {
  return base.createMachine({
    id: 'container',
    context: ({ input }) => initialContext(input),
    initial: 'stopped',
    states: {
      stopped: { id: 'stopped', entry: entered('stopped'), on: { START: { target: 'creating', actions: 'begin' } } },
      failed: { id: 'failed', entry: entered('failed'), on: { START: { target: 'creating', actions: 'begin' } } },
      creating,
      mounting,
      devices,
      network,
      running,
      stopping,
      rebooting,
      freezing,
      frozen,
      thawing,
    },
  });
}

// The async functions turn a port that throws at once into a rejection: a throw would end the machine itself.
export const containerMachine = createContainerMachine().provide({
  actors: {
    runPhase: fromPromise<void, PortInput & { readonly phase: Phase }>(async ({ input, signal }) => {
      await input.port.runPhase(input.phase, signal);
    }),
    signal: fromPromise<SignalOutcome, PortInput & { readonly purpose: SignalPurpose }>(
      async ({ input, signal }) => await input.port.signal(input.purpose, signal),
    ),
    command: fromPromise<CommandOutcome, PortInput & { readonly purpose: SignalPurpose }>(
      async ({ input, signal }) => await input.port.command(input.purpose, signal),
    ),
    killAll: fromPromise<void, PortInput>(async ({ input, signal }) => {
      await input.port.killAll(signal);
    }),
    teardown: fromPromise<void, PortInput & { readonly exit: ExitStatus; readonly target: TeardownTarget }>(
      async ({ input, signal }) => {
        await input.port.teardown(input.exit, input.target, signal);
      },
    ),
    freeze: fromPromise<void, PortInput>(async ({ input, signal }) => {
      await input.port.freeze(signal);
    }),
    thaw: fromPromise<void, PortInput>(async ({ input, signal }) => {
      await input.port.thaw(signal);
    }),
  },
  actions: {
    cancelStart: ({ context }) => context.port.cancelStart(),
    watchPid1: ({ context }) => context.port.watchPid1(),
  },
});
export type ContainerMachine = typeof containerMachine;
export type ContainerSnapshot = SnapshotFrom<ContainerMachine>;

/** False: refuse with INVALID_TRANSITION. Sending the event would then change nothing (LIF-01). */
export function canAccept(snapshot: ContainerSnapshot, event: ContainerEvent): boolean {
  return snapshot.can(event);
}

export function stateOf(snapshot: ContainerSnapshot): StateName {
  return snapshot.context.at;
}

/**
 * The snapshot to start the actor of a container from that was found alive by a new supervisor (LIF-12). No move is
 * announced and `watchPid1` is not called: whoever found it already holds its pidfd.
 */
export function adoptedSnapshot(input: ContainerInput, at: 'running' | 'frozen'): ContainerSnapshot {
  return containerMachine.resolveState({ value: at, context: initialContext(input, at) });
}
