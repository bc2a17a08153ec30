/** What can go wrong on a bus: bytes that are no message, an answer that says no, and no answer. */
import { ERRNO, type ErrnoName } from '../../spec/errno.js';

/** Bytes or values that the wire format does not have. */
export class DBusFormatError extends Error {
  override readonly name = 'DBusFormatError';
}

const ERRNO_OF: Readonly<Record<string, ErrnoName>> = {
  'org.freedesktop.DBus.Error.AccessDenied': 'EACCES',
  'org.freedesktop.DBus.Error.Disconnected': 'ECONNRESET',
  'org.freedesktop.DBus.Error.InvalidArgs': 'EINVAL',
  'org.freedesktop.DBus.Error.NameHasNoOwner': 'ENXIO',
  'org.freedesktop.DBus.Error.NoReply': 'ETIMEDOUT',
  'org.freedesktop.DBus.Error.NoMemory': 'ENOMEM',
  'org.freedesktop.DBus.Error.NotSupported': 'EOPNOTSUPP',
  'org.freedesktop.DBus.Error.ServiceUnknown': 'EHOSTUNREACH',
  'org.freedesktop.DBus.Error.Timeout': 'ETIMEDOUT',
  'org.freedesktop.DBus.Error.UnixProcessIdUnknown': 'ESRCH',
  'org.freedesktop.DBus.Error.UnknownMethod': 'ENOSYS',
  'org.freedesktop.DBus.Error.UnknownObject': 'ENXIO',
  'org.freedesktop.machine1.MachineExists': 'EEXIST',
  'org.freedesktop.machine1.NoMachineForPID': 'ENXIO',
  'org.freedesktop.machine1.NoSuchMachine': 'ENXIO',
  'org.freedesktop.systemd1.NoSuchUnit': 'ENOENT',
  'org.freedesktop.systemd1.UnitExists': 'EEXIST',
};

/** sd-bus puts errnos that have no error of their own into its names. */
const SYSTEM_ERROR = 'System.Error.';

function errnoOf(errorName: string): ErrnoName | undefined {
  const named = ERRNO_OF[errorName];
  if (named !== undefined) return named;
  const suffix = errorName.startsWith(SYSTEM_ERROR) ? errorName.slice(SYSTEM_ERROR.length) : '';
  return suffix in ERRNO ? (suffix as ErrnoName) : undefined;
}

/** An error reply, or an end of the connection. `code` is the errno that says the same, where there is one. */
export class DBusError extends Error {
  override readonly name = 'DBusError';
  readonly code: ErrnoName | undefined;

  constructor(
    /** `org.freedesktop.systemd1.NoSuchUnit` */
    readonly errorName: string,
    message: string,
  ) {
    super(`${message} (${errorName})`);
    this.code = errnoOf(errorName);
  }
}
