/** What of the host's own configuration a container follows. */
import * as v from 'valibot';

/** HST-20. */
export const TIMEZONES = ['off', 'symlink', 'copy'] as const;
export type Timezone = (typeof TIMEZONES)[number];

const WAYS = ['copy', 'bind', 'replace'] as const;
const SOURCES = ['host', 'static', 'uplink', 'stub'] as const;
export type ResolvConfWay = (typeof WAYS)[number];
export type ResolvConfSource = (typeof SOURCES)[number];

/** HST-56, as systemd-nspawn(1) --resolv-conf. */
export type ResolvConf = 'auto' | 'off' | 'delete' | `${ResolvConfWay}-${ResolvConfSource}`;
export const RESOLV_CONFS: readonly ResolvConf[] = [
  'auto',
  'off',
  'delete',
  ...WAYS.flatMap(way => SOURCES.map(source => `${way}-${source}` as const)),
];

export const timezone = v.picklist(TIMEZONES, 'must be off, symlink or copy');
export const resolvConf = v.picklist(
  RESOLV_CONFS,
  'must be auto, off, delete, or copy, bind or replace with -host, -static, -uplink or -stub after it',
);
