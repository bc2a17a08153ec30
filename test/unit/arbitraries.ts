/** Random specs and hosts, all of them valid: whatever is drawn here must compile or be refused by a CaissonError. */
import fc from 'fast-check';
import type { HostFacts } from '#src/plan/facts.js';
import { CAPABILITIES, DROPPED_BY_DEFAULT } from '#src/spec/capabilities.js';
import { RLIMIT_NAMES } from '#src/spec/rlimits.js';
import { HOSTS } from '../lib/facts.js';

const text = fc.string({ maxLength: 12 }).map(value => value.replaceAll('\0', ''));
const name = fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9-]{0,20}[A-Za-z0-9])?$/);
const limitValue = fc.oneof(fc.constant('unlimited' as const), fc.nat(2_000_000));
const rlimit = fc.tuple(limitValue, limitValue).map(([a, b]) => {
  const rank = (value: number | 'unlimited'): number => (value === 'unlimited' ? Number.POSITIVE_INFINITY : value);
  return rank(a) <= rank(b) ? { soft: a, hard: b } : { soft: b, hard: a };
});
const optional = { requiredKeys: [] as never[] };

export const specInput = fc
  .record(
    {
      name,
      rootfs: fc.oneof(
        fc.constant('/srv/web'),
        fc.record(
          {
            path: fc.constant('/srv/web'),
            createMissing: fc.boolean(),
            overlay: fc.constantFrom('none', 'ephemeral', 'persistent'),
            allowSharedSuperblock: fc.boolean(),
            shift: fc.constantFrom('auto', 'idmap', 'none'),
          },
          { requiredKeys: ['path'] },
        ),
        fc.record(
          {
            image: fc.constant('/srv/web.img'),
            createMissing: fc.boolean(),
            overlay: fc.constantFrom('none', 'ephemeral', 'persistent'),
          },
          { requiredKeys: ['image'] },
        ),
        fc.constant({ image: '/srv/web.img', readOnly: true }),
        fc.record(
          {
            archive: fc.constant('/srv/web.tar'),
            createMissing: fc.boolean(),
            overlay: fc.constantFrom('ephemeral', 'persistent'),
          },
          { requiredKeys: ['archive'] },
        ),
      ),
      init: fc.constantFrom('/sbin/init', '/bin/sh', '/init', 'auto'),
      args: fc.array(text, { maxLength: 4 }),
      type: fc.constantFrom('lxc', 'caisson'),
      environment: fc.dictionary(
        fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,8}$/).filter(key => key !== 'container'),
        text,
        { maxKeys: 4 },
      ),
      credentials: fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), text, { maxKeys: 3 }),
      hostname: name,
      linkJournal: fc.constantFrom('no', 'no', 'no', 'host', 'auto', 'try-guest', 'try-host'),
      hostInfo: fc.constantFrom('none', 'env'),
      timezone: fc.constantFrom('off', 'symlink', 'copy'),
      resolvConf: fc.constantFrom('auto', 'off', 'delete', 'copy-host', 'bind-stub', 'replace-uplink'),
      devices: fc.record({ mknod: fc.constantFrom('any', 'table'), size: fc.integer({ min: 1 }) }, optional),
      sys: fc.constantFrom('ro', 'rw'),
      lxcfs: fc.constantFrom('auto', 'off'),
      cgroups: fc.record({ layout: fc.constantFrom('auto', 'unified', 'hybrid', 'legacy') }, optional),
      limits: fc.record({ memory: fc.integer({ min: 1 }), pids: fc.integer({ min: 1 }) }, optional),
      rlimits: fc.record(Object.fromEntries(RLIMIT_NAMES.map(limit => [limit, rlimit])), optional),
      sysctls: fc.constantFrom({}, { 'net.ipv4.ip_forward': 1, 'kernel.sem': '250 32000 32 128' }),
      capabilities: fc.record(
        {
          keep: fc.subarray([...DROPPED_BY_DEFAULT]),
          drop: fc.subarray(CAPABILITIES.filter(name => !DROPPED_BY_DEFAULT.includes(name))),
        },
        optional,
      ),
      security: fc.record(
        {
          seccomp: fc.constantFrom('default', 'none'),
          apparmor: fc.constantFrom('auto', 'none', 'lxc'),
          nesting: fc.boolean(),
        },
        optional,
      ),
      oomScoreAdj: fc.integer({ min: -1000, max: 1000 }),
      signals: fc.record({ halt: fc.constantFrom('SIGPWR', 'SIGRTMIN+3', 30), reboot: fc.constant('TERM') }, optional),
      restart: fc.record(
        {
          policy: fc.constantFrom('no', 'on-failure', 'always', 'unless-stopped'),
          backoff: fc.record(
            { initial: fc.nat(10_000), factor: fc.constantFrom(1, 1.5, 2), jitter: fc.constant(0) },
            optional,
          ),
          limit: fc.record({ count: fc.nat(100), period: fc.integer({ min: 1, max: 60_000 }) }, optional),
        },
        optional,
      ),
      boot: fc.record(
        {
          autostart: fc.constantFrom(true, false, 'last-state'),
          priority: fc.integer({ min: -10, max: 10 }),
          delay: fc.nat(10_000),
          stopPriority: fc.integer({ min: -10, max: 10 }),
          hostShutdownAction: fc.constantFrom('stop', 'force-stop'),
        },
        optional,
      ),
      ephemeral: fc.boolean(),
      ttys: fc.nat(3),
      console: fc.record(
        {
          ring: fc.nat(1_000_000),
          controlling: fc.constantFrom(true, false, 'auto'),
          rows: fc.integer({ min: 1, max: 500 }),
        },
        optional,
      ),
      user: fc.oneof(
        fc.constant({}),
        fc.constant({ privileged: true }),
        fc.constant({ privileged: false }),
        fc.record({
          idmap: fc.record({
            first: fc.integer({ min: 1, max: 4_000_000 }),
            count: fc.integer({ min: 1, max: 70_000 }),
          }),
        }),
      ),
    },
    { requiredKeys: ['name', 'rootfs'] },
  )
  .map(({ user, ...input }): Record<string, unknown> => ({ ...input, ...user }));

/** A fixture with some of its facts changed, so that features occur in combinations no real host was seen with. */
export const hostFacts: fc.Arbitrary<HostFacts> = fc
  .record({
    base: fc.constantFrom(...Object.values(HOSTS)),
    features: fc.record({
      idmappedMounts: fc.boolean(),
      overlayOnIdmapped: fc.boolean(),
      overlayOnDetached: fc.boolean(),
      cloneIntoCgroup: fc.boolean(),
      seccomp: fc.boolean(),
    }),
    mknod: fc.boolean(),
    bpfDevicePolicy: fc.boolean(),
    apparmor: fc.constantFrom(null, { parser: null }, { parser: '/sbin/apparmor_parser' }),
    lxcfs: fc.constantFrom(
      null,
      { state: 'hung' as const, path: '/var/lib/lxcfs' },
      { state: 'alive' as const, path: '/var/lib/lxcfs', proc: ['meminfo', 'pressure/cpu'], cpu: ['online'] },
      { state: 'alive' as const, path: '/srv/lxcfs', proc: ['uptime'], cpu: null },
    ),
    dropped: fc.subarray([...CAPABILITIES]),
    ignoredSignals: fc.uniqueArray(fc.integer({ min: 1, max: 64 }), { maxLength: 4 }),
    oomScoreAdj: fc.constantFrom(-500, 0, 300),
    loginuid: fc.constantFrom(null, 0, 1000),
  })
  .map(({ base, features, dropped, ...facts }) => ({
    ...base,
    ...facts,
    features: { ...base.features, ...features },
    capabilities: base.capabilities.filter(capability => !dropped.includes(capability)),
  }));
