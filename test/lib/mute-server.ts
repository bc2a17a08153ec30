/** A file server (FUSE) that takes every request and answers none: whoever waits for it cannot even be killed. */
import { type ExecFileSyncOptions, execFileSync } from 'node:child_process';
import { closeSync, openSync, read, writeSync } from 'node:fs';

const FUSE_INIT = 26;
/** A note that somebody who waits was to be killed. */
const FUSE_INTERRUPT = 36;
const REQUEST_SIZE = 256 * 1024;

/** struct fuse_out_header and fuse_init_out of protocol 7.31 (linux/fuse.h). */
function initAnswer(request: Buffer): Buffer {
  const answer = Buffer.alloc(16 + 64);
  answer.writeUInt32LE(answer.length, 0);
  request.copy(answer, 8, 8, 16);
  answer.writeUInt32LE(7, 16);
  answer.writeUInt32LE(31, 20);
  answer.writeUInt16LE(12, 32);
  answer.writeUInt16LE(9, 34);
  answer.writeUInt32LE(4096, 36);
  return answer;
}

export class MuteServer {
  private readonly fd = openSync('/dev/fuse', 'r+');
  private ended = false;
  /** Requests that somebody waits for. */
  taken = 0;

  /** Mounts it on `path` as `type`, in the mount namespace of the process `pid` if one is given. */
  constructor(
    private readonly path: string,
    type: string,
    private readonly pid?: number,
  ) {
    const options = 'fd=3,rootmode=40000,user_id=0,group_id=0,allow_other';
    this.run(['mount', '-i', '-t', type, '-o', options, 'mute', path], {
      stdio: ['ignore', 'inherit', 'inherit', this.fd],
    });
    this.serve(Buffer.alloc(REQUEST_SIZE));
  }

  private serve(request: Buffer): void {
    read(this.fd, request, 0, request.length, null, error => {
      if (error !== null || this.ended) {
        closeSync(this.fd);
        return;
      }
      const opcode = request.readUInt32LE(4);
      if (opcode === FUSE_INIT) writeSync(this.fd, initAnswer(request));
      else if (opcode !== FUSE_INTERRUPT) this.taken++;
      this.serve(request);
    });
  }

  /** The kernel lets go of everybody who waits. */
  end(): void {
    if (this.ended) return;
    this.ended = true;
    // Ends the read, too.
    this.run(['umount', '-f', '-l', this.path]);
  }

  private run(command: readonly string[], options: ExecFileSyncOptions = {}): void {
    const [program = '', ...args] =
      this.pid === undefined ? command : ['nsenter', `--mount=/proc/${this.pid}/ns/mnt`, ...command];
    execFileSync(program, args, options);
  }
}
