import { describe, expect, test } from 'vitest';
import { explain, explainAction, explainJSON } from '#src/plan/explain.js';
import type { Plan } from '#src/plan/step.js';
import { HOSTS, NO_SYS_RESOURCE, PURE_V2 } from '../lib/facts.js';
import { planOf, unprivileged } from './kit.js';

const SMALL: Plan = {
  container: 'web',
  steps: [
    {
      id: 'creating.run',
      phase: 'creating',
      executor: 'host',
      label: 'a directory',
      action: { op: 'mkdir', path: '/run/x', mode: 0o750 },
      undo: { op: 'rmdir', path: '/run/x' },
      tolerate: [
        { errno: 'EEXIST', why: 'made before' },
        { errno: 'EROFS', why: 'no matter' },
      ],
    },
    { id: 'running.session', phase: 'running', executor: 'init', label: 'new session', action: { op: 'setsid' } },
  ],
  notices: [{ code: 'oom-late', message: 'told late' }],
  exports: ['pid'],
};

describe('explain as a table', () => {
  test('has a header, a line per step in plan order, and the notices below', () => {
    expect(explain(SMALL).split('\n')).toEqual([
      'PHASE     BY    WHAT         CALL                           NOTES',
      'creating  host  a directory  mkdir(path=/run/x, mode=0750)  may fail with EEXIST; may fail with EROFS; undo: rmdir(path=/run/x)',
      'running   init  new session  setsid()',
      '',
      'oom-late: told late',
    ]);
  });

  test('an empty plan is its header', () => {
    expect(explain({ ...SMALL, steps: [], notices: [] })).toBe('PHASE  BY  WHAT  CALL  NOTES');
  });

  test.each(Object.entries(HOSTS))('shows each step of a real plan once, by label and phase: %s', (_, facts) => {
    const plan = planOf(unprivileged(), facts);
    const lines = explain(plan).split('\n');
    for (const [index, step] of plan.steps.entries()) {
      expect(lines[index + 1]).toContain(step.label);
      expect(lines[index + 1]?.startsWith(step.phase)).toBe(true);
      expect(lines[index + 1]).toContain(`${step.action.op}(`);
    }
    const notices = plan.notices.length === 0 ? 0 : plan.notices.length + 1;
    expect(lines).toHaveLength(1 + plan.steps.length + notices);
  });

  test('no line ends in blanks, and every notice is there', () => {
    const text = explain(planOf(unprivileged(), NO_SYS_RESOURCE));
    expect(text).not.toMatch(/ $/m);
    expect(text.match(/^rlimit-capped: /gm)).toHaveLength(5);
  });
});

describe('one action on a line', () => {
  test('modes and masks in octal, as people know them', () => {
    expect(explainAction({ op: 'mkdir', path: '/x', mode: 0o755 })).toBe('mkdir(path=/x, mode=0755)');
    expect(explainAction({ op: 'umask', mask: 0o022 })).toBe('umask(mask=022)');
  });

  test('what is null or absent is left out', () => {
    expect(
      explainAction({ op: 'mount', source: null, target: '/', fstype: null, flags: ['MS_REC', 'MS_PRIVATE'] }),
    ).toBe('mount(target=/, flags=MS_REC|MS_PRIVATE)');
  });

  test('long lists by their length, objects as JSON', () => {
    const program = Array.from({ length: 40 }, (_, index) => index);
    expect(explainAction({ op: 'policy.bpf', cgroup: '/c', program })).toBe(
      'policy.bpf(cgroup=/c, program=[40 values])',
    );
    expect(
      explainAction({ op: 'fs.mount', fstype: 'tmpfs', options: { size: '5' }, attributes: [], save: 'fd:x' }),
    ).toBe('fs.mount(fstype=tmpfs, options={"size":"5"}, attributes=, save=fd:x)');
    const map = [{ inside: 0, outside: 5, count: 1 }];
    expect(explainAction({ op: 'idmap.write', pid: 'pid', uid: map, gid: map })).toContain(
      'uid=[{"inside":0,"outside":5,"count":1}]',
    );
  });
});

test('as JSON: the plan itself, whole', () => {
  for (const facts of Object.values(HOSTS)) {
    const plan = planOf(unprivileged(), facts);
    expect(JSON.parse(explainJSON(plan))).toEqual(plan);
  }
  expect(explainJSON(planOf(unprivileged(), PURE_V2))).toContain('\n  "steps": [\n');
});
