/**
 * What an init tells its manager by sd_notify(3) (LIF-37, LIF-38): newline-separated `KEY=value`. The sender may be
 * hostile: everything kept of what it says is bounded.
 */

/** Bytes of a message; a longer one is not looked at. */
export const NOTIFY_SIZE = 4096;
const MAX_ASSIGNMENTS = 64;
const MAX_KEPT = 64;
const KEY = /^[A-Z_][A-Z0-9_]{0,63}$/;
/** What would move a terminal's cursor, when somebody prints it. */
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/;

/** The assignments of one message, in order; of a name that comes twice the last. */
export type NotifyFields = Readonly<Record<string, string>>;

/** MAINPID is a pid in a namespace that is not ours, and no process of the container but PID 1 is ours to follow. */
const IGNORED: readonly string[] = ['MAINPID', 'MAINPIDFDID', 'MAINPIDFD'];

function lines(bytes: Uint8Array): string[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const out: string[] = [];
  for (let from = 0; from < buffer.length && out.length < MAX_ASSIGNMENTS; ) {
    const newline = buffer.indexOf(10, from);
    const to = newline === -1 ? buffer.length : newline;
    try {
      if (to > from) out.push(strict.decode(buffer.subarray(from, to)));
    } catch (error) {
      // One value in another encoding must not keep READY=1 from being heard.
      if (!(error instanceof TypeError)) throw error;
    }
    from = to + 1;
  }
  return out;
}

/** Undefined when nothing in it is an assignment that can be used, or it is no text at all. */
export function parseNotify(bytes: Uint8Array): NotifyFields | undefined {
  let end = bytes.length;
  // Some senders count the terminating NUL of a C string in.
  while (end > 0 && bytes[end - 1] === 0) end--;
  if (end > NOTIFY_SIZE || bytes.subarray(0, end).includes(0)) return undefined;
  // No key that Object.prototype has is in upper case.
  const fields: Record<string, string> = {};
  for (const line of lines(bytes.subarray(0, end))) {
    const equals = line.indexOf('=');
    const key = line.slice(0, Math.max(equals, 0));
    const value = line.slice(equals + 1);
    if (KEY.test(key) && !IGNORED.includes(key) && !CONTROL.test(value)) fields[key] = value;
  }
  return Object.keys(fields).length === 0 ? undefined : fields;
}

/** What is known of a life by what its PID 1 has told so far. */
export interface NotifyState {
  /** READY=1 has come, and STOPPING=1 not since (LIF-36). */
  readonly ready: boolean;
  /** The last STATUS. */
  readonly status: string | null;
  /** The last value of every field told, all X_SYSTEMD_ fields included. */
  readonly fields: NotifyFields;
}

export const NOTHING_TOLD: NotifyState = { ready: false, status: null, fields: {} };

/** Their last value is always kept, however much else is told. */
const WELL_KNOWN: readonly string[] = [
  'READY',
  'STATUS',
  'STOPPING',
  'RELOADING',
  'ERRNO',
  'EXIT_STATUS',
  'WATCHDOG',
  'X_SYSTEMD_HOSTNAME',
  'X_SYSTEMD_MACHINE_ID',
  'X_SYSTEMD_SIGNALS_LEVEL',
  'X_SYSTEMD_UNIT_ACTIVE',
  'X_SYSTEMD_UNIT_INACTIVE',
  'X_SYSTEMD_SHUTDOWN',
  'X_SYSTEMD_REBOOT_PARAMETER',
];

export function tell(state: NotifyState, message: NotifyFields): NotifyState {
  const fields: Record<string, string> = { ...state.fields };
  for (const [key, value] of Object.entries(message)) {
    if (key in fields || WELL_KNOWN.includes(key) || Object.keys(fields).length < MAX_KEPT) fields[key] = value;
  }
  const ready = message.STOPPING === '1' ? false : state.ready || message.READY === '1';
  return { ready, status: message.STATUS ?? state.status, fields };
}

/** Which signals systemd (256 and later) says it takes: 2 and more are all that it is ever sent. 0: it has not said. */
export function signalsLevel(state: NotifyState): number {
  const text = state.fields.X_SYSTEMD_SIGNALS_LEVEL;
  return text !== undefined && /^\d{1,4}$/.test(text) ? Number(text) : 0;
}

const SHUTDOWNS: readonly string[] = ['reboot', 'halt', 'poweroff', 'kexec', 'soft-reboot', 'exit'];

/** How systemd (256 and later) has said that it is about to end; undefined for anything that it would not say. */
export function shutdownOf(state: NotifyState): string | undefined {
  const text = state.fields.X_SYSTEMD_SHUTDOWN;
  return text !== undefined && SHUTDOWNS.includes(text) ? text : undefined;
}
