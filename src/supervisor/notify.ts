/** The notify socket of one life, read (LIF-37): what PID 1 tells its manager. Anybody else inside is not heard. */
import { NOTIFY_SIZE, type NotifyFields, parseNotify } from '../spec/notify.js';
import { DatagramReader } from './datagrams.js';

/** @param pid PID 1 as we see it. */
export function readNotify(fd: number, pid: number, heard: (fields: NotifyFields) => void): DatagramReader {
  return new DatagramReader(fd, { size: NOTIFY_SIZE, burst: 64, pauseMs: 100 }, datagram => {
    const fields = datagram.pid === pid && datagram.data !== undefined ? parseNotify(datagram.data) : undefined;
    if (fields !== undefined) heard(fields);
  });
}
