/** PID 1 watched by its pidfd: when it has ended, and how (LIF-15 to LIF-19). */
import { type Confidence, decodeExit, type ExitStatus } from '../machines/exit.js';
import { exitInfo, type RawExit, reap, zombieExit } from '../syscalls/process.js';
import { type Watch, watch } from '../syscalls/watch.js';

const SIGKILL = 9;

/** What has to be known besides its wait status, asked when it has ended. */
export interface EndContext {
  /** We have sent SIGKILL ourselves. */
  killRequested(): boolean;
  oomKills(): Promise<number>;
  /** What the keeper has written down, of one that is not our child. */
  recorded(): Promise<RawExit | undefined>;
  /** What systemd has said that it was about to do. */
  shutdown(): string | undefined;
}

export class Pid1Watch {
  private watching: Watch | undefined;

  /** @param ended called once, when it has been reaped. */
  constructor(
    private readonly pid: number,
    private readonly pidfd: number,
    private readonly context: EndContext,
    private readonly ended: (exit: ExitStatus) => void,
  ) {
    this.watching = watch(pidfd, () => this.reaped(), { ref: true });
  }

  close(): void {
    this.watching?.close();
    this.watching = undefined;
  }

  private reaped(): void {
    const raw = reap(this.pidfd);
    if (raw === undefined) return;
    this.close();
    if (raw === 'not-a-child') this.endedElsewhere();
    else this.decode(raw, 'exact');
  }

  /** An adopted PID 1 is reaped by the host's init: asked before that, it tells all; afterwards, not of a reboot. */
  private endedElsewhere(): void {
    const zombie = zombieExit(this.pid, this.pidfd);
    if (zombie !== undefined) {
      this.decode(zombie, 'exact');
      return;
    }
    this.context.recorded().then(
      recorded => (recorded === undefined ? this.reapedElsewhere() : this.decode(recorded, 'exact')),
      () => this.reapedElsewhere(),
    );
  }

  /** Nobody has looked at it before it was reaped. */
  private reapedElsewhere(): void {
    const told = exitInfo(this.pidfd);
    if (told === undefined) {
      this.ended({ kind: 'lost', confidence: 'inferred' });
      return;
    }
    const killed = this.context.killRequested();
    const maybeReboot = told.code === 'killed' ? told.status === SIGKILL && !killed : told.status === 0;
    this.decode(told, maybeReboot ? 'inferred' : 'exact');
  }

  private decode(raw: RawExit, confidence: Confidence): void {
    const { context } = this;
    const facts = { ...raw, killRequested: context.killRequested(), shutdown: context.shutdown(), confidence };
    if (raw.code !== 'killed' || raw.status !== SIGKILL || facts.killRequested) {
      this.ended(decodeExit({ ...facts, oomKilled: false }));
      return;
    }
    context.oomKills().then(
      kills => this.ended(decodeExit({ ...facts, oomKilled: kills > 0 })),
      // Without the counter a SIGKILL of unknown origin is still what it is.
      () => this.ended(decodeExit({ ...facts, oomKilled: false })),
    );
  }
}
