/** What holds of every plan: of each kind of host, and of random specs on random hosts. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compile } from '#src/plan/compile.js';
import type { HostFacts } from '#src/plan/facts.js';
import { compilePrepare, compileRelease } from '#src/plan/host.js';
import {
  type HostAction,
  type HostStep,
  isDescriptor,
  type Plan,
  START_PHASES,
  savedRegisters,
  usedDescriptors,
} from '#src/plan/step.js';
import { compileFreeze, compileTeardown } from '#src/plan/teardown.js';
import { type ContainerSpec, resolveSpec } from '#src/spec/container.js';
import { CaissonError } from '#src/spec/errors.js';
import { CLONE, MOUNT_ATTR, MS, O, UMOUNT } from '#src/syscalls/abi/constants.js';
import { HOSTS, PURE_V2 } from '../lib/facts.js';
import { hostFacts, specInput } from './arbitraries.js';
import { DIR, deepFreeze, hostStepOf, LAYER, planOf, privileged, RANGE, RUN_DIR, UUID, unprivileged } from './kit.js';

/** The plan, or undefined where this host refuses this spec; any other error is a failure of the test. */
function tryPlan(spec: ContainerSpec, facts: HostFacts): Plan | undefined {
  try {
    return planOf(spec, facts);
  } catch (error) {
    if (CaissonError.is(error) && error.code !== 'INTERNAL') return undefined;
    throw error;
  }
}

/** Checks `holds` on every fixture and on random ones. */
function forEveryPlan(holds: (plan: Plan, spec: ContainerSpec, facts: HostFacts) => void): void {
  for (const facts of Object.values(HOSTS)) {
    for (const spec of [unprivileged(), privileged(), unprivileged({ cgroups: { layout: 'legacy' } })]) {
      const plan = tryPlan(spec, facts);
      if (plan !== undefined) holds(plan, spec, facts);
    }
  }
  fc.assert(
    fc.property(specInput, hostFacts, (input, facts) => {
      const spec = resolveSpec(input, () => RANGE);
      const plan = tryPlan(spec, facts);
      if (plan === undefined) return;
      holds(plan, spec, facts);
    }),
    { numRuns: 80 },
  );
}

/** Registers an action reads: every `fd:…` and `pid` in it that is not where it saves. */
function readRegisters(action: object): string[] {
  return Object.entries(action).flatMap(([key, value]) => {
    if (key === 'save') return [];
    if (key === 'pid' || (typeof value === 'string' && isDescriptor(value))) return [String(value)];
    if (Array.isArray(value)) return value.filter(item => typeof item === 'string' && isDescriptor(item)).map(String);
    return [];
  });
}

const hostSteps = (plan: Plan): HostStep[] => plan.steps.filter((step): step is HostStep => step.executor === 'host');

describe('steps', () => {
  test('ids are unique and begin with their phase', () => {
    forEveryPlan(plan => {
      const ids = plan.steps.map(step => step.id);
      expect(new Set(ids).size).toBe(ids.length);
      for (const step of plan.steps) expect(step.id.startsWith(`${step.phase}.`), step.id).toBe(true);
    });
  });

  test('phases follow each other in order, and each has a step', () => {
    forEveryPlan(plan => {
      const phases = plan.steps.map(step => step.phase);
      expect(phases.filter((phase, index) => phase !== phases[index - 1])).toEqual(START_PHASES);
    });
  });

  test('every step has a label, and every tolerance says why', () => {
    forEveryPlan(plan => {
      for (const step of plan.steps) {
        expect(step.label.length, step.id).toBeGreaterThan(1);
        for (const tolerance of step.tolerate ?? []) expect(tolerance.why.length, step.id).toBeGreaterThan(5);
      }
    });
  });

  test('the child runs nothing before it is launched, and execve is its one last step', () => {
    forEveryPlan(plan => {
      const launch = plan.steps.findIndex(step => step.action.op === 'launch');
      const init = plan.steps.flatMap((step, index) => (step.executor === 'init' ? [index] : []));
      expect(launch).toBeGreaterThan(0);
      expect(Math.min(...init)).toBeGreaterThan(launch);
      expect(plan.steps[Math.max(...init)]?.action.op).toBe('execve');
      expect(plan.steps.filter(step => step.action.op === 'execve')).toHaveLength(1);
    });
  });

  test("of the teardown, freeze, prepare and release plans: ids are unique and every step is the host's", () => {
    for (const facts of Object.values(HOSTS)) {
      const plans = [
        compileTeardown(unprivileged(), facts, { runDir: RUN_DIR }),
        compileFreeze(unprivileged(), facts, true),
        compilePrepare(facts, '/run/caisson'),
        compileRelease(facts, '/run/caisson'),
      ];
      for (const { steps } of plans) {
        expect(new Set(steps.map(step => step.id)).size).toBe(steps.length);
        expect(steps.filter(step => step.executor !== 'host')).toEqual([]);
      }
    }
  });
});

test('every flag is one the system-call layer knows, and none is given twice', () => {
  const tables = { flags: [MS, CLONE, UMOUNT, O], namespaces: [CLONE], attributes: [MOUNT_ATTR] };
  forEveryPlan(plan => {
    for (const { id, action } of plan.steps) {
      for (const [key, known] of Object.entries(tables)) {
        const names = (action as unknown as Readonly<Record<string, readonly string[] | undefined>>)[key] ?? [];
        expect(new Set(names).size, id).toBe(names.length);
        // All of one table: a mount flag in an open would be a number all the same.
        const table = known.find(candidate => names.every(name => name in candidate));
        expect(table, `${id}: ${names.join(', ')}`).toBeDefined();
      }
    }
  });
});

describe('registers', () => {
  test('each is saved before it is used, and never used once closed', () => {
    forEveryPlan(plan => {
      const live = new Set<string>();
      for (const step of plan.steps) {
        const used = step.executor === 'init' ? usedDescriptors(step.action) : readRegisters(step.action);
        for (const register of used) expect(live.has(register), `${step.id} uses ${register}`).toBe(true);
        if (step.executor === 'init') continue;
        if (step.action.op === 'close') for (const register of step.action.registers) live.delete(register);
        for (const register of savedRegisters(step.action)) {
          expect(live.has(register), `${step.id} saves ${register} over an open one`).toBe(false);
          live.add(register);
        }
      }
    });
  });

  test('at the end exactly the exported ones are left: every other descriptor is closed', () => {
    forEveryPlan(plan => {
      const live = new Set<string>();
      for (const { action } of hostSteps(plan)) {
        for (const register of savedRegisters(action)) if (!/^(text|is):/.test(register)) live.add(register);
        if (action.op === 'close') for (const register of action.registers) live.delete(register);
        if (action.op === 'sync.close') live.delete(action.sync);
      }
      expect([...live].sort()).toEqual([...plan.exports].sort());
    });
  });

  test('usedDescriptors finds each descriptor that an init action names', () => {
    forEveryPlan(plan => {
      for (const step of plan.steps) {
        if (step.executor === 'init') expect(usedDescriptors(step.action), step.id).toEqual(readRegisters(step.action));
      }
    });
  });

  test('what an undo reads was saved by its own step, or one before it, and stays open to the end', () => {
    forEveryPlan(plan => {
      const closed = hostSteps(plan).flatMap(({ action }) => (action.op === 'close' ? [...action.registers] : []));
      const saved = new Set<string>();
      for (const { id, action, undo } of hostSteps(plan)) {
        for (const register of savedRegisters(action)) saved.add(register);
        if (undo === undefined) continue;
        for (const register of readRegisters(undo)) {
          expect([...saved], id).toContain(register);
          expect(closed, id).not.toContain(register);
        }
      }
    });
  });

  test('the teardown closes what the start exports', () => {
    forEveryPlan((plan, spec, facts) => {
      const close = compileTeardown(spec, facts, { runDir: RUN_DIR }).steps[0]?.action;
      const wanted = plan.exports.filter(isDescriptor).sort();
      expect(close?.op === 'close' ? [...close.registers].sort() : []).toEqual(wanted);
    });
  });
});

const DESCRIPTOR = 'makes a descriptor: a rollback closes every fd: register that is left';
const IN_CGROUP = 'a property of a cgroup of ours: gone when the step that made the cgroup is undone';
const IN_TREE = 'inside a detached mount: gone when its descriptor is closed';
const OF_CHILD = 'a property of the child: gone when the launch is undone';
const IN_IMAGE = "a file of the container's own tree, which the user asked for and the next start makes again";
const TAKES_AWAY = 'makes nothing';

/** For each action of a start plan: `undo`, or the reason why it can do without. */
const UNDO_OF: Readonly<Partial<Record<HostAction['op'], string>>> = {
  mkdir: 'undo',
  launch: 'undo',
  record: 'undo',
  'end.make': 'undo',
  'keeper.store': 'undo',
  'keeper.drop': TAKES_AWAY,
  'rootfs.open': DESCRIPTOR,
  'rootfs.check': 'looks only; with createMissing it makes mount points the user asked for and wants to keep',
  'rootfs.clone': DESCRIPTOR,
  'image.open': `${DESCRIPTOR}, and the lock with it`,
  'image.attach': `${DESCRIPTOR}, and the kernel frees the device with the last of them`,
  'image.mount': DESCRIPTOR,
  'layer.make': 'undo',
  'rootfs.overlay': `${DESCRIPTOR}; its directories lie in one that a step before it made`,
  open: DESCRIPTOR,
  'bind.open': DESCRIPTOR,
  'userns.open': DESCRIPTOR,
  'fs.mount': DESCRIPTOR,
  socketpair: DESCRIPTOR,
  'datagram.bind': DESCRIPTOR,
  'pty.open': DESCRIPTOR,
  close: TAKES_AWAY,
  'sync.close': TAKES_AWAY,
  raise: 'gives descriptors other numbers; rollback closes them by their registers',
  write: IN_CGROUP,
  'write.lines': IN_CGROUP,
  chown: IN_CGROUP,
  'policy.bpf': IN_CGROUP,
  'mount.idmap': IN_TREE,
  'rootfs.shift': 'stays: it is recorded, needs no second time, and is undone when the container is removed',
  'tree.mkdir': IN_TREE,
  'tree.mknod': IN_TREE,
  'tree.file': IN_TREE,
  'tree.symlink': IN_TREE,
  'tree.chown': IN_TREE,
  'tree.special': IN_TREE,
  'tree.write': IN_TREE,
  'bind.first': DESCRIPTOR,
  'bind.tree': DESCRIPTOR,
  'bind.held': DESCRIPTOR,
  'machine-id.read': 'looks only',
  'init.find': 'looks only',
  'journal.link': 'undo',
  'localtime.follow': IN_IMAGE,
  'resolv-conf.write': IN_IMAGE,
  'resolv-conf.delete': IN_IMAGE,
  'resolv-conf.bind': DESCRIPTOR,
  'init.detect': 'looks only',
  'tree.uuid': IN_TREE,
  'tree.open': DESCRIPTOR,
  'credentials.mount': DESCRIPTOR,
  'idmap.write': OF_CHILD,
  'apparmor.load': 'stays, as a profile of the host does: others may have it on',
  'loginuid.unset': 'of our own thread, which has no use for it',
  rlimits: OF_CHILD,
  oom: OF_CHILD,
  'undumpable.hold': 'undo',
  'undumpable.release': TAKES_AWAY,
  'scope.start': 'undo',
  'machine.register': 'undo',
  'cgroup.attach': 'undo',
};

describe('undo', () => {
  test('every host step that makes something has one, or a reason to do without', () => {
    forEveryPlan(plan => {
      for (const { id, action, undo } of hostSteps(plan)) {
        expect(Object.keys(UNDO_OF), `${id}: is ${action.op} to be undone?`).toContain(action.op);
        // A layer that is to be kept is the container's, whatever becomes of the start.
        const kept = action.op === 'layer.make' && action.path.startsWith(DIR);
        expect(undo !== undefined, id).toBe(UNDO_OF[action.op] === 'undo' && !kept);
      }
    });
  });

  test('names what the step made or changed', () => {
    forEveryPlan(plan => {
      for (const { id, action, undo } of hostSteps(plan)) {
        if (undo === undefined) continue;
        if (action.op === 'undumpable.hold') {
          expect(undo, id).toEqual({ op: 'undumpable.release' });
          continue;
        }
        if (action.op === 'cgroup.attach') {
          expect(undo, id).toEqual({ op: 'kill', pidfd: 'fd:pidfd' });
          continue;
        }
        if (action.op === 'scope.start') {
          expect(undo, id).toMatchObject({ op: 'scope.stop', unit: action.unit, path: action.path });
          continue;
        }
        if (action.op === 'machine.register') {
          expect(undo, id).toMatchObject({ op: 'machine.unregister', name: action.name, unit: action.unit });
          continue;
        }
        if (action.op === 'launch') {
          expect(undo, id).toEqual({ op: 'kill', pidfd: action.save.pidfd });
          continue;
        }
        if (action.op === 'journal.link') {
          expect(undo, id).toEqual({ op: 'journal.unlink', record: action.record, made: action.save.made });
          continue;
        }
        if (action.op === 'keeper.store') {
          expect(undo, id).toEqual({ op: 'keeper.drop', keeper: action.keeper, slot: action.slot });
          continue;
        }
        if (!['mkdir', 'record', 'end.make', 'layer.make'].includes(action.op))
          throw new Error(`${id}: what does undoing ${action.op} mean?`);
        const removal =
          action.op === 'record' || action.op === 'end.make' ? ['unlink'] : ['rmdir', 'rmtree', 'cgroup.remove'];
        expect(removal, id).toContain(undo.op);
        expect('path' in undo && undo.path, id).toBe('path' in action && action.path);
      }
    });
  });

  test('cgroup files that are written or chowned lie in a cgroup that an earlier step makes and undoes', () => {
    forEveryPlan(plan => {
      const made = new Set<string>();
      for (const { id, action } of hostSteps(plan)) {
        if (action.op === 'mkdir' || action.op === 'scope.start') made.add(action.path);
        if (action.op !== 'write' && action.op !== 'write.lines' && action.op !== 'chown') continue;
        const inside = [...made].some(path => action.path === path || action.path.startsWith(`${path}/`));
        expect(inside, `${id}: ${action.path}`).toBe(true);
      }
    });
  });

  test('an overlay that fails half-way is cleaned up: its directory is made by a step of its own', () => {
    const plan = planOf(privileged(), PURE_V2);
    const dir = hostStepOf(plan, 'mounting.overlay.dir');
    const overlay = hostStepOf(plan, 'mounting.rootfs.overlay');
    expect(dir.undo).toEqual({ op: 'rmtree', path: `${RUN_DIR}.overlay` });
    expect(overlay.action).toMatchObject({ layer: `${RUN_DIR}.overlay` });
    expect(plan.steps.indexOf(dir)).toBeLessThan(plan.steps.indexOf(overlay));
  });

  test('directories are undone after what lies in them: deeper ones are made later', () => {
    forEveryPlan(plan => {
      const undone = hostSteps(plan)
        .flatMap(({ undo }) => (undo !== undefined && 'path' in undo ? [undo.path] : []))
        .reverse();
      for (const [index, path] of undone.entries()) {
        for (const later of undone.slice(index + 1))
          expect(later.startsWith(`${path}/`), `${later} in ${path}`).toBe(false);
      }
    });
  });

  test('what the start makes outside the child, the teardown removes', () => {
    forEveryPlan((plan, spec, facts) => {
      const removed = compileTeardown(spec, facts, { runDir: RUN_DIR })
        .steps.flatMap(({ action }) => ('path' in action ? [action.path] : []))
        .sort();
      const made = hostSteps(plan).flatMap(({ undo }) => (undo !== undefined && 'path' in undo ? [undo.path] : []));
      expect(removed).toEqual([...new Set([...made])].sort());
    });
  });
});

describe('compile is a pure function', () => {
  test('it changes neither spec nor facts, and says the same each time', () => {
    fc.assert(
      fc.property(specInput, hostFacts, (input, facts) => {
        const spec = resolveSpec(deepFreeze(input), () => RANGE);
        const before = structuredClone({ spec, facts });
        deepFreeze(spec);
        deepFreeze(facts);
        const first = tryPlan(spec, facts);
        const second = tryPlan(structuredClone(spec), structuredClone(facts));
        expect(second).toEqual(first);
        expect({ spec, facts }).toEqual(before);
        if (first === undefined) return;
        expect(compile(spec, facts, { runDir: RUN_DIR, dir: DIR, uuid: UUID, layer: LAYER })).toEqual(first);
        compileTeardown(spec, facts, { runDir: RUN_DIR });
      }),
      { numRuns: 100 },
    );
  });

  test('a plan is data: JSON carries it whole, and a structured clone too', () => {
    forEveryPlan(plan => {
      expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
      expect(structuredClone(plan)).toEqual(plan);
    });
  });

  test('the random specs and hosts are not mostly refused: the properties above see plans', () => {
    const cases = fc.sample(fc.tuple(specInput, hostFacts), { numRuns: 200, seed: 1 });
    const plans = cases.map(([input, facts]) =>
      tryPlan(
        resolveSpec(input, () => RANGE),
        facts,
      ),
    );
    expect(plans.filter(plan => plan !== undefined).length).toBeGreaterThan(80);
  });
});
