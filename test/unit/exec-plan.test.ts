/** The plan of running a program in a container: what is done where, and what is left when somebody can look. */
import { describe, expect, test } from 'vitest';
import { compileExec, type ExecWish } from '#src/plan/exec.js';
import type { Plan } from '#src/plan/step.js';
import { HOSTS } from '../lib/facts.js';
import { at, has, privileged, unprivileged } from './kit.ts';

const WISH: ExecWish = {
  programs: ['/bin/true'],
  argv: ['true'],
  env: [],
  cwd: '/',
  uid: 33,
  gid: 33,
  groups: [4],
  stdio: { kind: 'pipes' },
};
const SPECS = { unprivileged: unprivileged(), privileged: privileged() };

const CASES = Object.entries(HOSTS).flatMap(([host, facts]) =>
  Object.entries(SPECS).map(([mode, spec]) => ({ name: `${mode} on ${host}`, spec, facts })),
);

describe.each(CASES)('exec: $name', ({ spec, facts }) => {
  const plan: Plan = compileExec(spec, facts, WISH);
  const ids = plan.steps.map(({ id }) => id);

  test('steps have ids of their own, in the phase exec', () => {
    expect(new Set(ids).size).toBe(ids.length);
    for (const { id, phase } of plan.steps) expect([phase, id]).toEqual(['exec', expect.stringMatching(/^exec\./)]);
  });

  test('the memory cgroup is joined only by a process that shares no memory with us', () => {
    for (const id of ids.filter(id => id.startsWith('exec.join.'))) {
      expect(at(plan, id)).toBeGreaterThan(at(plan, 'exec.born'));
    }
  });

  test("what needs the host's rights or its /proc comes before its namespaces are left", () => {
    const early = ['exec.rlimits', 'exec.oom', 'exec.loginuid', 'exec.apparmor'].filter(id => has(plan, id));
    for (const id of early) expect(at(plan, id), id).toBeLessThan(at(plan, 'exec.namespaces'));
  });

  test('every restriction is on before anybody inside can see the process; then there is only the exec', () => {
    const visible = at(plan, 'exec.inside');
    for (const id of ['exec.seccomp', 'exec.capabilities', 'exec.user', 'exec.undumpable', 'exec.fds']) {
      if (id === 'exec.seccomp' && !facts.features.seccomp) continue;
      expect(at(plan, id), id).toBeLessThan(visible);
    }
    const after = plan.steps.slice(visible + 1).filter(({ executor }) => executor === 'init');
    expect(after.map(({ id }) => id)).toEqual(['exec.session', 'exec.signals.unblock', 'exec.exec']);
  });

  test('the filter needs a capability, and the user comes after what needs root', () => {
    if (facts.features.seccomp) expect(at(plan, 'exec.seccomp')).toBeLessThan(at(plan, 'exec.capabilities'));
    expect(at(plan, 'exec.capabilities')).toBeLessThan(at(plan, 'exec.user'));
    // What a user may not enter it may not work in.
    expect(at(plan, 'exec.user')).toBeLessThan(at(plan, 'exec.cwd'));
  });
});

test('with a terminal only that is set up by the process that can be seen', () => {
  const facts = Object.values(HOSTS)[0];
  if (facts === undefined) throw new Error('no host');
  const plan = compileExec(unprivileged(), facts, { ...WISH, stdio: { kind: 'tty', rows: 24, cols: 80 } });
  const after = plan.steps.slice(at(plan, 'exec.inside') + 1).filter(({ executor }) => executor === 'init');
  expect(after.map(({ id }) => id)).toEqual([
    'exec.session',
    'exec.tty.controlling',
    'exec.signals.unblock',
    'exec.exec',
  ]);
});

test('capabilities to change the user are kept for that, where the spec drops them', () => {
  const spec = unprivileged({ capabilities: { drop: ['setuid', 'setgid'] } });
  const facts = Object.values(HOSTS)[0];
  if (facts === undefined) throw new Error('no host');
  const step = compileExec(spec, facts, WISH).steps.find(({ id }) => id === 'exec.capabilities');
  expect(step?.action).toMatchObject({ drop: expect.arrayContaining(['setuid', 'setgid']) });
  expect(step?.action).toMatchObject({ keep: expect.arrayContaining(['setuid', 'setgid']) });
});
