/** The machine's port for one container: what it decides is done here, by the workers. */

import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExitStatus } from '../machines/exit.js';
import type { CommandOutcome, ContainerPort, SignalOutcome, SignalPurpose, TeardownTarget } from '../machines/port.js';
import type { ProbeResult } from '../machines/probing.js';
import type { Phase } from '../machines/states.js';
import type { Assigned } from '../plan/compile.js';
import type { LxcfsFacts } from '../plan/facts.js';
import { LOG_REGISTERS } from '../plan/kept.js';
import { compileLxcfsReplace } from '../plan/lxcfs.js';
import { NOTIFY } from '../plan/notify.js';
import { compileOomWatch, OOM } from '../plan/oom.js';
import { UUID } from '../plan/run-host.js';
import { type HostAction, type Plan, type PlanNotice, START_PHASES } from '../plan/step.js';
import { SYSLOG } from '../plan/syslog.js';
import { compileFreeze, compileTeardown, oomFiles } from '../plan/teardown.js';
import { IDLE, ttyRegisters } from '../plan/terminal.js';
import type { ContainerSpec } from '../spec/container.js';
import { asCaissonError, CaissonError, type ErrorJSON } from '../spec/errors.js';
import type { ProbeRules } from '../spec/schema/probe.js';
import { signalName, signalNumber } from '../spec/signals.js';
import { leaveChild, takeChildBack } from '../syscalls/children.js';
import { close } from '../syscalls/fs.js';
import { isOwnChild, poll, sendSignal } from '../syscalls/process.js';
import type { Watch } from '../syscalls/watch.js';
import type { Registers } from '../workers/context.js';
import type { ExecuteRequest, ExecuteResult } from '../workers/execute.js';
import type { PackedRecords } from '../workers/packed.js';
import { runCommand } from './command.js';
import type { Console } from './console.js';
import { type ExecProcess, exec } from './exec.js';
import type { ExecOptions } from './exec-options.js';
import { Holding } from './holding.js';
import type { Host } from './host.js';
import { drain } from './idle-terminal.js';
import { Launch } from './launch.js';
import type { LxcfsInUse, LxcfsUser } from './lxcfs/lxcfs.js';
import { performLive } from './mounts.js';
import { OomWatch } from './oom.js';
import { Pid1Watch } from './pid1.js';
import { look } from './probe.js';
import type { Readiness } from './readiness.js';
import { listenAgain, type Syslog } from './syslog.js';
import { claimUuid } from './uuids.js';

const SIGKILL = 9;
const LOOK_AGAIN_MS = 50;
/** What a signal in place of SIGKILL is given to work, where the spec names one. */
const OWN_FORCE_MS = 5_000;

export interface ExecutorEvents {
  phase(phase: Phase, start: number, end: number): void;
  notice(notice: PlanNotice): void;
  /** The kernel has killed processes for want of memory: so many since last told, and in this life. */
  oom(killed: number, total: number): void;
  exit(exit: ExitStatus): void;
  /** See the port. */
  isSpent(exit: ExitStatus): boolean;
}

export class Executor implements ContainerPort, LxcfsUser {
  private starting: Launch | undefined;
  private registers: Registers = {};
  private watching: Pid1Watch | undefined;
  private readonly holding: Holding;
  private idle: Watch | undefined;
  private oom: OomWatch | undefined;
  private killed = false;
  /** PID 1 is a child of a supervisor that is no more, and so reaped by the host's init. */
  private orphan = false;
  /** The start under way is to be given up, also while it still clears up after the last life. */
  private cancelled = false;
  /** The last teardown has left what the next life is to find: the ephemeral layer. */
  private kept = false;
  /** Something of the last life may be left: it could not be killed, or not all of it could be removed. */
  private unclean = false;
  /** What the last start was made from. */
  started: ContainerSpec | undefined;
  /** The steps of the last start as they ended; what a rollback undid follows. */
  records: PackedRecords = new Uint32Array(0);
  /** LXCFS as the last start found it. */
  lxcfs: LxcfsFacts | null = null;
  /** Which life of it. */
  private lxcfsDevice: string | null | undefined;
  private unfollow: (() => void) | undefined;
  /** What the last start told. */
  notices: readonly PlanNotice[] = [];

  constructor(
    private readonly host: Host,
    public spec: ContainerSpec,
    private readonly assigned: Assigned,
    private readonly console: Console,
    private readonly ttys: readonly Console[],
    private readonly readiness: Readiness,
    private readonly syslog: Syslog,
    private readonly events: ExecutorEvents,
  ) {
    this.holding = new Holding(host, assigned.runDir, {
      perform: (steps, registers) => this.perform({ steps }, registers, 'best-effort'),
      notice: notice => events.notice(notice),
    });
  }

  /** PID 1 on the host, while there is one. */
  get pid(): number | undefined {
    return this.registers.pid;
  }

  /** PID 1 is the one with this number, and has not ended. */
  isAlive(pid: number): boolean {
    const pidfd = this.registers['fd:pidfd'];
    return this.pid === pid && pidfd !== undefined && poll([pidfd], 0)[0] === 0;
  }

  async runPhase(phase: Phase): Promise<void> {
    if (phase === START_PHASES[0]) {
      this.cancelled = false;
      if (this.unclean) await this.clearLastLife();
      this.killed = false;
      this.readiness.begin();
      const lxcfs = this.spec.lxcfs === 'off' ? null : await this.host.lxcfs.take();
      this.lxcfs = lxcfs?.facts ?? null;
      this.lxcfsDevice = lxcfs?.device ?? null;
      this.started = this.spec;
      this.starting = new Launch(this.host, this.spec, this.assigned, lxcfs);
      if (this.cancelled) this.starting.cancel();
    }
    const { starting } = this;
    if (starting === undefined) throw new CaissonError('INTERNAL', `phase ${phase} without a start`);
    if (await starting.reached(phase)) await this.finish(starting);
    const { start, end } = starting.timesOf(phase);
    this.events.phase(phase, start, end);
  }

  cancelStart(): void {
    this.cancelled = true;
    this.starting?.cancel();
  }

  watchPid1(): void {
    const { pid, 'fd:pidfd': pidfd, [NOTIFY]: notify, [SYSLOG]: syslog } = this.registers;
    if (pid === undefined || pidfd === undefined) return;
    if (notify !== undefined) this.readiness.listen(notify, pid);
    if (syslog !== undefined) this.syslog.listen(syslog);
    const context = {
      killRequested: () => this.killed,
      oomKills: () => this.host.pool.oomKills(oomFiles(this.spec, this.host.facts)),
      shutdown: () => this.readiness.lastWords(),
      recorded: () => this.holding.end(pid),
    };
    if (this.spec.lxcfs !== 'off') this.unfollow = this.host.lxcfs.follow(this, this.lxcfsDevice);
    this.watching = new Pid1Watch(pid, pidfd, context, exit => {
      // What died before PID 1 is told before its end is.
      if (this.oom === undefined) this.events.exit(exit);
      else void this.oom.look().finally(() => this.events.exit(exit));
    });
    void this.watchOom();
  }

  /** From when its memory is limited; what was killed before that under an earlier supervisor is not told again. */
  private async watchOom(): Promise<void> {
    const { registers } = this;
    const wanted = this.oom === undefined ? compileOomWatch(this.spec, this.host.facts) : null;
    if (wanted === null) return;
    const count = (): Promise<number> => this.host.pool.oomKills(oomFiles(this.spec, this.host.facts));
    try {
      const told = this.orphan ? await count() : 0;
      const result = await this.perform(wanted.plan, {}, 'all-or-nothing');
      if (result.error !== null) throw CaissonError.from(result.error);
      const fd = result.registers[OOM];
      if (fd === undefined) return;
      // It may have ended meanwhile, or another call was faster.
      if (this.registers !== registers || this.watching === undefined || this.oom !== undefined) close(fd);
      else {
        this.oom = new OomWatch(fd, wanted.version, told, count, (killed, total) => this.events.oom(killed, total));
        await this.oom.look();
      }
    } catch (error) {
      if (this.registers !== registers || this.watching === undefined) return;
      const message = `processes that are killed for want of memory are not told of: ${asCaissonError(error).message}`;
      this.events.notice({ code: 'oom-unwatched', message });
    }
  }

  /** Changes something in the running container. @throws CaissonError INVALID_TRANSITION when it does not run. */
  async change(plan: Plan): Promise<void> {
    await performLive(this.host, plan, this.registers);
    // It may be a limit that there was not.
    void this.watchOom();
  }

  /** Files of LXCFS in the running container, in place of those of one that has ended (ENV-49). */
  async replace({ facts, held }: LxcfsInUse): Promise<void> {
    try {
      const { notices } = await performLive(this.host, compileLxcfsReplace(this.spec, facts), this.registers, held);
      for (const notice of notices) this.events.notice(notice);
    } catch (error) {
      const { errno, message: why } = asCaissonError(error);
      // It has ended meanwhile.
      if (this.registers.pid === undefined || errno === 'ESRCH') return;
      const message = `LXCFS has changed, but not its files in the running container: ${why}`;
      this.events.notice({ code: 'lxcfs-lost', message });
    }
  }

  /** Runs a program inside. */
  exec(argv: readonly string[], options: ExecOptions): Promise<ExecProcess> {
    return exec(this.host, this.spec, this.registers, argv, options);
  }

  /** One look at what runs. */
  look(rules: ProbeRules): Promise<ProbeResult> {
    const { pid, 'fd:pidfd': pidfd } = this.registers;
    return look({ pid, pidfd, exec: (argv, signal) => this.exec(argv, { signal }) }, rules);
  }

  /**
   * Takes over a PID 1 that an earlier supervisor started, with what its keeper held of it. It may have ended
   * meanwhile: its pidfd tells.
   */
  async adopt(pid: number, registers: Registers): Promise<void> {
    const own: Registers = { pid, ...registers };
    this.registers = own;
    this.orphan = true;
    takeChildBack(pid);
    // What it has mounted is seen by looking.
    this.lxcfsDevice = undefined;
    this.connect();
    await this.keep();
    this.watchPid1();
    if (own[SYSLOG] !== undefined) return;
    const socket = await listenAgain(this.host, this.spec, own);
    if (socket === undefined) return;
    // It may have ended meanwhile.
    if (this.registers !== own) {
      close(socket);
      return;
    }
    own[SYSLOG] = socket;
    this.syslog.listen(socket);
    await this.keep();
  }

  /** Has the keeper hold what it does not hold yet: there is a new one, or we are new. */
  async keep(): Promise<void> {
    if (this.pid === undefined) return;
    await this.holding.all(this.spec, this.registers, this.orphan);
    if (Object.keys(this.console.kept).length > 0) await this.hold(this.console.kept);
  }

  /** Has the keeper hold what the console is recorded with. */
  hold(registers: Registers): Promise<void> {
    return this.holding.log(registers);
  }

  /** Held while systemd is not yet able to take it; the stop's own time-out aborts that (LIF-25, HST-23). */
  signal(purpose: SignalPurpose, abort: AbortSignal): Promise<SignalOutcome> {
    return this.ask(purpose, abort, this.spec.signals.fallback === 'none');
  }

  /** The image's own command (LIF-48); where there is none, the signal that may do it after all. */
  async command(purpose: SignalPurpose, abort: AbortSignal): Promise<CommandOutcome> {
    if (this.spec.signals.fallback === 'none') return { ran: false };
    if (await runCommand(this.host, this.spec, this.registers, purpose, abort)) return { ran: true };
    const { sent } = await this.ask(purpose, abort, true);
    return { ran: false, sent };
  }

  private async ask(purpose: SignalPurpose, abort: AbortSignal, insist: boolean): Promise<SignalOutcome> {
    const { [purpose]: name, profile } = this.spec.signals;
    const configured = name === null ? null : (signalNumber(name) ?? null);
    for (;;) {
      const { pid, 'fd:pidfd': pidfd } = this.registers;
      if (pid === undefined || pidfd === undefined || abort.aborted) return { sent: false, signal: 'none' };
      const request = { pid, pidfd, purpose, configured, profile, insist };
      const { sent, signal, early, command } = await this.host.pool.signal(request);
      if (!early) return { sent, signal: signalName(signal), command };
      await new Promise(resolve => setTimeout(resolve, LOOK_AGAIN_MS));
    }
  }

  isSpent(exit: ExitStatus): boolean {
    return this.events.isSpent(exit);
  }

  async killAll(): Promise<void> {
    const pidfd = this.registers['fd:pidfd'];
    this.killed = true;
    this.unclean = true;
    if (pidfd === undefined) return;
    // Its life is over whatever becomes of us: no later supervisor is to adopt it, or to call its end a crash.
    await unlink(join(this.assigned.runDir, 'pid')).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
    });
    const signal = signalNumber(this.spec.signals.stop) ?? SIGKILL;
    sendSignal(pidfd, signal);
    if (signal === SIGKILL) return;
    for (let waited = 0; waited < OWN_FORCE_MS; waited += LOOK_AGAIN_MS) {
      if (poll([pidfd], 0)[0] !== 0) return;
      await new Promise(resolve => setTimeout(resolve, LOOK_AGAIN_MS));
    }
    // The kernel ends every other process of the pid namespace with its PID 1.
    sendSignal(pidfd, SIGKILL);
  }

  async teardown(_exit?: ExitStatus, target: TeardownTarget = 'stop'): Promise<void> {
    this.unclean = true;
    this.host.uuids.delete(this.spec.name);
    await this.release(true);
    const plan = compileTeardown(this.spec, this.host.facts, this.assigned, target === 'reboot');
    const { registers } = this;
    this.registers = {};
    const result = await this.perform(plan, registers, 'best-effort');
    if (!result.ok) {
      // What is still open is closed by the next attempt; there is no PID 1 any more.
      const { pid: _pid, keeper: _keeper, slot: _slot, ...left } = result.registers;
      this.registers = left;
      throw new CaissonError(
        'CLEANUP_FAILED',
        `${result.cleanupErrors.length} of ${plan.steps.length} cleanup steps failed: ${result.cleanupErrors[0]?.message}`,
        { cleanupErrors: result.cleanupErrors },
      );
    }
    this.unclean = false;
    this.kept = target === 'reboot';
  }

  freeze(): Promise<void> {
    return this.setFrozen(true);
  }

  thaw(): Promise<void> {
    return this.setFrozen(false);
  }

  /** Closes every descriptor of a container that is to live on without this supervisor. */
  async letGo(): Promise<void> {
    await this.release(false);
    const { registers } = this;
    const { pid, 'fd:pidfd': pidfd } = registers;
    if (pid !== undefined && pidfd !== undefined && isOwnChild(pidfd)) leaveChild(pid);
    this.registers = {};
    const action: HostAction = { op: 'close', registers: Object.keys(registers).filter(name => name !== 'pid') };
    const label = 'let go of the container';
    await this.host.pool.execute({
      steps: [{ id: 'letgo', phase: 'teardown', executor: 'host', label, action }],
      registers,
      launch: null,
      faults: {},
      mode: 'best-effort',
    });
  }

  /** Tries again what the last cleanup could not do. */
  async tidy(): Promise<void> {
    if (this.unclean) await this.clearLastLife();
  }

  /** Stops watching without touching the container; the descriptors stay open until `letGo`. */
  private async release(ended: boolean): Promise<void> {
    this.watching?.close();
    this.watching = undefined;
    this.oom?.close();
    this.oom = undefined;
    this.idle?.close();
    this.idle = undefined;
    this.unfollow?.();
    this.unfollow = undefined;
    this.readiness.close();
    this.syslog.close();
    await Promise.all([this.console, ...this.ttys].map(tty => tty.disconnect(ended)));
  }

  /** A new life needs the names of the last one. */
  private async clearLastLife(): Promise<void> {
    const pidfd = this.registers['fd:pidfd'];
    if (pidfd !== undefined && poll([pidfd], 0)[0] === 0) {
      throw new CaissonError('UNKILLABLE', `PID 1 of the last life (host pid ${this.pid}) is still alive`, {
        hint: 'it waits in the kernel for a device or a file server: see /proc/<pid>/stack',
      });
    }
    await this.teardown();
  }

  /** The end of the whole start: takes over what it made, or throws why it failed. */
  private async finish(starting: Launch): Promise<void> {
    const { registers, records, texts, notices: found, error } = await starting.result;
    const uuid = error === null ? texts[UUID] : undefined;
    const claimed = uuid === undefined ? [] : claimUuid(this.host.uuids, this.spec.name, uuid);
    const notices = [...found, ...claimed];
    for (const notice of notices) this.events.notice(notice);
    this.records = records;
    this.notices = notices;
    this.starting = undefined;
    if (error !== null) throw CaissonError.from(await this.dropKept(error));
    this.kept = false;
    this.registers = registers;
    this.orphan = false;
    this.connect();
    // What was handed to a keeper that died meanwhile is not held by the next.
    if (this.host.keeper !== null && this.host.keeper.generation !== starting.keeperGeneration) await this.keep();
  }

  private connect(): void {
    const { 'fd:console': master, [IDLE]: idle } = this.registers;
    const kept: Registers = {};
    for (const register of LOG_REGISTERS) {
      const fd = this.registers[register];
      if (fd === undefined) continue;
      kept[register] = fd;
      // The console's own from here on.
      delete this.registers[register];
    }
    if (master !== undefined) this.console.connect(master, kept);
    else for (const fd of Object.values(kept)) close(fd);
    if (idle !== undefined) this.idle = drain(idle);
    for (const [index, tty] of this.ttys.entries()) {
      const end = this.registers[ttyRegisters(index + 1).master];
      if (end !== undefined) tty.connect(end);
    }
  }

  /**
   * A start after a reboot has failed, perhaps before it came to the layer that the reboot had kept: nothing of it may
   * be left. What cannot be removed is told with the error, and tried again by the next start.
   */
  private async dropKept(error: ErrorJSON): Promise<ErrorJSON> {
    if (!this.kept) return error;
    try {
      await this.teardown();
      return error;
    } catch (thrown) {
      const { cleanupErrors = [] } = asCaissonError(thrown);
      return { ...error, cleanupErrors: [...(error.cleanupErrors ?? []), ...cleanupErrors] };
    }
  }

  private async setFrozen(frozen: boolean): Promise<void> {
    const plan = compileFreeze(this.spec, this.host.facts, frozen);
    const result = await this.perform(plan, {}, 'all-or-nothing');
    if (result.error !== null) throw CaissonError.from(result.error);
  }

  private perform(
    { steps }: Pick<Plan, 'steps'>,
    own: Registers,
    mode: ExecuteRequest['mode'],
  ): Promise<ExecuteResult> {
    const { keeper, pool, faults } = this.host;
    const registers = { ...own, ...keeper?.registersOf(this.spec.name) };
    return pool.execute({ steps, registers, launch: null, faults, mode });
  }
}
