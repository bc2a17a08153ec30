/**
 * What programs say to /dev/log (syslog(3), RFC 3164 as the C library writes it): `<PRI>Mmm dd hh:mm:ss tag[pid]: text`.
 * The sender may be hostile: everything kept of what it says is bounded, and shows nothing but itself on a terminal.
 */

/** Bytes of a message; what is longer is cut. */
export const SYSLOG_SIZE = 8192;

export const SEVERITIES = ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug'] as const;
export type Severity = (typeof SEVERITIES)[number];

const FACILITIES = [
  'kern',
  'user',
  'mail',
  'daemon',
  'auth',
  'syslog',
  'lpr',
  'news',
  'uucp',
  'cron',
  'authpriv',
  'ftp',
  'ntp',
  'audit',
  'alert',
  'clock',
  ...Array.from({ length: 8 }, (_, index) => `local${index}`),
];

/** One message, as its sender wants to be seen. */
export interface SyslogText {
  readonly facility: string;
  readonly severity: Severity;
  /** The program it says that it comes from. */
  readonly tag: string | null;
  /** The pid it gives itself, in its own namespace. */
  readonly claimedPid: number | null;
  readonly message: string;
}

/** user.notice (RFC 3164 §4.3.3). */
const DEFAULT_PRIORITY = 13;
const PRIORITY = /^<(\d{1,3})>/;
const TIME = /^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d /;
const TAG = /^([^\s:[\]]{1,64})(?:\[(\d{1,9})\])?: ?/;
/** Newlines, too: a message is one line, whoever prints it. */
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u2028\u2029]/g;

export function parseSyslog(bytes: Uint8Array): SyslogText {
  const whole = new TextDecoder().decode(bytes).replace(/[\0\n]+$/, '');
  const number = Number(PRIORITY.exec(whole)?.[1] ?? Number.NaN);
  const known = number < FACILITIES.length * SEVERITIES.length;
  const priority = known ? number : DEFAULT_PRIORITY;
  const text = (known ? whole.replace(PRIORITY, '') : whole).replace(TIME, '').replace(CONTROL, '\ufffd');
  const [start = '', tag, pid] = TAG.exec(text) ?? [];
  return {
    facility: FACILITIES[priority >> 3] ?? 'user',
    severity: SEVERITIES[priority & 7] ?? 'notice',
    tag: tag ?? null,
    claimedPid: pid === undefined ? null : Number(pid),
    message: text.slice(start.length),
  };
}
