/** One message to a Unix datagram socket whose place is told in the manner of sd_notify(3). */
import { O } from './abi/constants.js';
import { scratch } from './arena.js';
import { close } from './fs.js';
import { SyscallError, trySyscall } from './libc.js';
import { MSG_NOSIGNAL } from './socket.js';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const MSG_DONTWAIT = 0x40;
/** sun_path of struct sockaddr_un. */
const PATH_SIZE = 108;

/** @param path absolute, or beginning with @ for one in the abstract namespace (unix(7)). @throws SyscallError */
export function sendDatagram(path: string, message: string): void {
  const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : path);
  if (name.length >= PATH_SIZE) throw new RangeError(`${path} is too long for the address of a socket`);
  const fd = trySyscall('socket', AF_UNIX, SOCK_DGRAM | O.O_CLOEXEC, 0);
  if (fd < 0) throw new SyscallError('socket', -fd, 'AF_UNIX SOCK_DGRAM');
  try {
    const arena = scratch();
    const text = Buffer.from(message);
    const address = arena.alloc(2 + PATH_SIZE);
    const bytes = arena.slice(address, 2 + PATH_SIZE);
    bytes.fill(0);
    bytes.writeUInt16LE(AF_UNIX);
    name.copy(bytes, 2);
    const sent = trySyscall(
      'sendto',
      fd,
      arena.copy(text),
      text.length,
      MSG_DONTWAIT | MSG_NOSIGNAL,
      address,
      // An abstract name has the length that is told; the NUL of a path need not be there.
      2 + name.length,
    );
    if (sent < 0) throw new SyscallError('sendto', -sent, path);
  } finally {
    close(fd);
  }
}
