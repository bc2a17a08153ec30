/** The supervisor: all containers of one state directory. It remembers; machines decide, workers do. */
import { rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import type { AutostartOutcome } from '../machines/autostart.js';
import { type Assigned, compile } from '../plan/compile.js';
import type { HostFacts } from '../plan/facts.js';
import { compileDiscard, compilePrepare, compilePrepareWithoutScope, compileRelease } from '../plan/host.js';
import { compileUnlinkJournal } from '../plan/link-journal.js';
import { compileUnshift } from '../plan/ownership.js';
import type { Plan } from '../plan/step.js';
import { type ContainerSpec, type IdMap, resolveSpec } from '../spec/container.js';
import { asCaissonError, CaissonError } from '../spec/errors.js';
import type { GroupInput } from '../spec/schema/group.js';
import type { ContainerStats } from '../spec/stats/types.js';
import { releaseWatches } from '../syscalls/watch.js';
import { type PoolOptions, WorkerPool } from '../workers/pool.js';
import type { UnpackLimits, UnpackOptions } from '../workers/unpacker.js';
import { assignedTo, UNREAD } from './assigned.js';
import type { ShutdownOutcome } from './boot.js';
import { Container } from './container.js';
import type { CaissonEvent, EventLog } from './events.js';
import type { Group } from './group.js';
import { type Host, openHost } from './host.js';
import { DEFAULT_ID_POOL, IdAllocator, type IdPool } from './ids.js';
import { type CreateInput, resolveInput } from './input.js';
import { type EventJournal, openJournal } from './journal/events.js';
import type { JournalOptions } from './journal/journal.js';
import { Keeper } from './keeper.js';
import { DEFAULT_ARCHIVE_LIMITS, isDigest, Layers } from './layers.js';
import { lockState, type StateLock } from './lock.js';
import { Lxcfs } from './lxcfs/lxcfs.js';
import { Recovery } from './recovery.js';
import { collect, intervalOf, type StatsOptions, type StatsSample, samples, type WatchStatsOptions } from './stats.js';
import { type Discard, Store, type StoredContainer } from './store.js';
import { buildTemplate } from './templates.js';
import { Tree } from './tree.js';

export type { CreateInput } from './input.js';

export interface SupervisorOptions extends PoolOptions {
  /** Directory for what must survive a host reboot: one directory a container. Made when missing. */
  readonly stateDir: string;
  /** Directory for volatile state, on a tmpfs. Default: below /run/caisson, named after the state directory. */
  readonly runDir?: string;
  readonly idPool?: IdPool;
  /** Begin `autostart()`; `open` does not wait for it. Default false: nothing is started that nobody has asked for. */
  readonly autostart?: boolean;
  /** How much of the events is kept on disk, in `<stateDir>/.journal`; false: they are only in memory. */
  readonly journal?: JournalOptions | false;
  /** What an archive may unpack to, at most. */
  readonly archiveLimits?: Partial<UnpackLimits>;
  /** Where LXCFS is mounted, if it is; false: no container is to have it. Default: /var/lib/lxcfs. */
  readonly lxcfs?: string | false;
  /** A pino logger; without one nothing is logged. */
  readonly logger?: Logger;
  /** For tests: facts that replace what was found. */
  readonly facts?: Partial<HostFacts>;
  /** For tests: steps that fail, errno number by step id. */
  readonly faults?: Readonly<Record<string, number>>;
}

/** Of an archive that is unpacked. */
export type CreateOptions = UnpackOptions;

export class Supervisor implements AsyncDisposable {
  private readonly containers = new Map<string, Container>();
  private readonly reserved = new Set<string>();
  private readonly removing = new Map<string, Promise<void>>();
  private closing: Promise<void> | undefined;
  private readonly ending = new AbortController();
  private readonly tree: Tree;

  private constructor(
    private readonly store: Store,
    private readonly host: Host,
    private readonly ids: IdAllocator,
    private readonly log: EventLog,
    private readonly journal: EventJournal,
    private readonly lock: StateLock,
    private readonly logger: Logger | null,
    private readonly layers: Layers,
  ) {
    this.tree = new Tree({
      stateDir: store.dir,
      bootId: host.bootId,
      containers: () => this.list(),
      publish: body => this.log.append('', body),
    });
  }

  /**
   * Opens a state directory and takes over what lives in it.
   * @throws CaissonError STATE_LOCKED while another supervisor has it open.
   */
  static async open(options: SupervisorOptions): Promise<Supervisor> {
    const lxcfs = Lxcfs.at(options.lxcfs);
    const store = await Store.open(options.stateDir);
    const lock = lockState(store.dir);
    const pool = new WorkerPool(options);
    try {
      const host = await openHost(options, store.id, pool, lxcfs);
      const ids = new IdAllocator(options.idPool ?? DEFAULT_ID_POOL);
      const journal = await openJournal(join(store.dir, '.journal'), options.journal ?? {});
      const limits = { ...DEFAULT_ARCHIVE_LIMITS, ...options.archiveLimits };
      const layers = new Layers(store.dir, limits, path => discard(host, path));
      const supervisor = new Supervisor(store, host, ids, journal.log, journal, lock, options.logger ?? null, layers);
      try {
        await supervisor.perform(compilePrepare(host.facts, host.runDir));
        await supervisor.startKeeper();
        await supervisor.load();
        await host.keeper?.endFormer();
      } catch (error) {
        await host.keeper?.close(true);
        await supervisor.perform(compileRelease(host.facts, host.runDir)).catch(() => undefined);
        await journal.close();
        throw error;
      }
      // Its failures are warnings of the containers, and events.
      if (options.autostart === true) supervisor.autostart().catch(() => undefined);
      return supervisor;
    } catch (error) {
      await lxcfs.close();
      await pool.close();
      lock.release();
      throw error;
    }
  }

  get facts(): HostFacts {
    return this.host.facts;
  }

  get stateDir(): string {
    return this.store.dir;
  }

  /** @throws CaissonError CONTAINER_NOT_FOUND */
  get(name: string): Container {
    const container = this.containers.get(name);
    if (container === undefined)
      throw new CaissonError('CONTAINER_NOT_FOUND', `there is no container ${JSON.stringify(name)}`, { field: 'name' });
    return container;
  }

  list(): Container[] {
    return [...this.containers.values()];
  }

  /** Sequence number of the newest event: the `since` of a reader that wants what comes next. */
  get seq(): number {
    return this.log.seq;
  }

  /** Events of all containers, in order, resumable after any sequence number seen. */
  events(options?: { since?: number; signal?: AbortSignal }): AsyncGenerator<CaissonEvent, void, void> {
    return this.log.read(options);
  }

  /** Calls `listener` for each event; returns what ends that. */
  on(listener: (event: CaissonEvent) => void): () => void {
    return this.log.subscribe(listener);
  }

  /**
   * What the containers that run use, all of them or those of `names`, read by one worker in one go.
   * @throws CaissonError CONTAINER_NOT_FOUND, SPEC_INVALID
   */
  async stats({ names, ...options }: StatsOptions & { names?: readonly string[] } = {}): Promise<ContainerStats[]> {
    this.assertOpen();
    const wanted = names === undefined ? this.list() : [...new Set(names)].map(name => this.get(name));
    return await collect(
      this.host,
      wanted.map(({ custody }) => custody.subject),
      options,
    );
  }

  /**
   * The same again and again, with rates, until `signal` aborts, the supervisor is closed, or the reader leaves the loop.
   * A container of `names` that does not run, or is removed, is not in the samples.
   * @throws CaissonError SPEC_INVALID
   */
  watchStats(options: WatchStatsOptions = {}): AsyncGenerator<StatsSample, void, void> {
    this.assertOpen();
    const { names, parts, signal } = options;
    const ends = AbortSignal.any([this.ending.signal, ...(signal === undefined ? [] : [signal])]);
    return samples(intervalOf(options), ends, () =>
      this.stats({
        ...(parts === undefined ? {} : { parts }),
        ...(names === undefined ? {} : { names: names.filter(name => this.containers.has(name)) }),
      }),
    );
  }

  /**
   * Checks the spec and records a container; nothing of it runs yet. An archive is unpacked, which takes its time.
   * @throws CaissonError SPEC_INVALID, CONTAINER_EXISTS, ARCHIVE_…, CANCELLED
   */
  async create(input: CreateInput, options: CreateOptions = {}): Promise<Container> {
    this.assertOpen();
    let allocated: IdMap | null = null;
    const { spec, recorded, template } = resolveInput(
      input,
      name => join(this.store.dir, name, 'rootfs'),
      () => {
        allocated = this.ids.allocate();
        return allocated;
      },
    );
    if (this.containers.has(spec.name) || this.reserved.has(spec.name) || this.tree.find(spec.name) !== undefined) {
      throw new CaissonError('CONTAINER_EXISTS', `container ${spec.name} exists already`, {
        field: 'name',
        hint: 'choose another name, or remove it first',
      });
    }
    // What this host cannot run is refused here, while nothing has been made.
    const created = Date.now();
    compile(spec, this.host.facts, this.assign(spec, created, UNREAD));
    const { kind, path } = spec.rootfs;
    let layer: string | undefined;
    this.reserved.add(spec.name);
    if (spec.idmap !== null) this.ids.claim(spec.name, spec.idmap);
    try {
      await this.makeRoomFor(spec);
      await this.store.add(spec.name, async directory => {
        if (template !== undefined) await buildTemplate(template, join(directory, 'rootfs'));
        if (kind === 'archive') layer = await this.unpack(spec.name, path, options);
        return { version: 1, spec: recorded, idmap: allocated, ...(layer === undefined ? {} : { layer }), created };
      });
    } catch (error) {
      this.ids.release(spec.name);
      await this.letGoOfLayer(spec.name);
      throw error;
    } finally {
      this.reserved.delete(spec.name);
    }
    const assigned = this.assign(spec, created, layer);
    const container = this.make(spec, assigned);
    this.containers.set(spec.name, container);
    this.log.append(spec.name, { type: 'created', action: 'instance-created' });
    return container;
  }

  /** Removes a stopped container and its directory. @throws CaissonError INVALID_TRANSITION while it runs. */
  async remove(name: string): Promise<void> {
    const container = this.get(name);
    if (container.state !== 'stopped' && container.state !== 'failed') {
      throw new CaissonError('INVALID_TRANSITION', `${name} cannot be removed while ${container.state}`, {
        field: 'state',
        hint: 'stop it first',
      });
    }
    // Its end may remove an ephemeral one while a caller does: the second joins the first.
    const removing = this.removing.get(name) ?? this.discardContainer(container);
    this.removing.set(name, removing);
    try {
      await removing;
    } finally {
      this.removing.delete(name);
    }
  }

  private async discardContainer(container: Container): Promise<void> {
    const { name } = container;
    this.tree.assertFree(container);
    // No start may come in between: it would run what nobody supervises.
    container.custody.retire(true);
    try {
      await container.custody.tidy();
      const { spec } = container;
      if (spec.linkJournal !== 'no') await this.perform(compileUnlinkJournal(spec, join(this.store.dir, name)));
      await this.perform(compileUnshift(spec, { dir: join(this.store.dir, name) }));
      await this.store.remove(name, this.discard);
    } catch (error) {
      container.custody.retire(false);
      throw error;
    }
    this.containers.delete(name);
    this.host.keeper?.forget(name);
    this.ids.release(name);
    await this.letGoOfLayer(name);
    this.log.append(name, { type: 'removed', action: 'instance-deleted' });
  }

  /** Containers and groups that are started, stopped and restarted together. */
  get groups(): Group[] {
    return this.tree.list();
  }

  /** @throws CaissonError GROUP_NOT_FOUND */
  group(name: string): Group {
    const group = this.tree.find(name);
    if (group === undefined)
      throw new CaissonError('GROUP_NOT_FOUND', `there is no group ${JSON.stringify(name)}`, { field: 'name' });
    return group;
  }

  /** Records a group of containers and groups that are there; nothing of it runs yet. @throws CaissonError SPEC_INVALID, GROUP_EXISTS, CONTAINER_NOT_FOUND */
  async createGroup(input: GroupInput): Promise<Group> {
    this.assertOpen();
    return await this.tree.create(input);
  }

  /** Forgets a group that does not run; its children stay. @throws CaissonError INVALID_TRANSITION while it runs, or is in another. */
  async removeGroup(name: string): Promise<void> {
    await this.tree.remove(name);
  }

  /**
   * Starts what is to run when the host has come up and does not run yet (LIF-44, LIF-45); each start that fails is tried
   * three times. A second call joins the first.
   */
  async autostart(): Promise<AutostartOutcome[]> {
    this.assertOpen();
    return await this.tree.autostart();
  }

  /**
   * The host goes down: stops everything, in order (LIF-46), and lets nothing be started any more. What ran is started
   * again by the next autostart.
   */
  async shutdown(): Promise<ShutdownOutcome[]> {
    this.assertOpen();
    return await this.tree.shutdown();
  }

  /** Lets go of everything. Containers that run live on, and the next supervisor of this state directory adopts them. */
  close(): Promise<void> {
    this.closing ??= this.shut();
    return this.closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async shut(): Promise<void> {
    this.ending.abort();
    await this.layers.close();
    const begun = this.tree.close();
    // A start or stop under way is finished first: half of one must not be left to the next supervisor.
    await Promise.allSettled(this.list().map(container => container.custody.settled()));
    await begun;
    const alive = this.list().some(({ pid }) => pid !== undefined);
    await Promise.all(this.list().map(container => container.custody.letGo()));
    await this.host.keeper?.close(alive);
    await this.perform(compileRelease(this.host.facts, this.host.runDir));
    await this.host.lxcfs.close();
    await this.host.pool.close();
    await rmdir(dirname(this.host.runDir)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'ENOENT' && error.code !== 'EBUSY') throw error;
    });
    releaseWatches();
    this.log.close();
    await this.journal.close();
    this.lock.release();
  }

  private assertOpen(): void {
    if (this.closing !== undefined) throw new CaissonError('CLOSED', 'the supervisor is closed');
  }

  private async load(): Promise<void> {
    const recovery = new Recovery(this.store, this.host, {
      restore: stored => this.restore(stored),
      setAside: error => this.tellSetAside(error),
      makeRoomFor: ({ spec }) => this.makeRoomFor(spec),
      remove: ({ name }) => this.remove(name),
      discard: this.discard,
    });
    const { containers, complete } = await recovery.read();
    // A record that is set aside may yet be mended: what it needs stays.
    await this.layers.sweep(complete);
    await recovery.takeOver(containers);
    for (const error of await this.tree.load()) this.tellSetAside(error);
  }

  private tellSetAside(error: CaissonError): void {
    this.log.append('', { type: 'notice', code: 'record-set-aside', message: error.message });
    this.logger?.warn({ err: error }, 'record set aside');
  }

  private assign(spec: ContainerSpec, created: number, digest: string | undefined): Assigned {
    const layer = spec.rootfs.kind === 'archive' ? digest : undefined;
    const { dir: stateDir, id: storeId } = this.store;
    return assignedTo(spec, { stateDir, runDir: this.host.runDir, storeId, created, layer });
  }

  private async unpack(name: string, archive: string, options: UnpackOptions): Promise<string> {
    const { digest, unpacked } = await this.layers.acquire(name, archive, options);
    if (unpacked !== null && unpacked.leftOut.length > 0) {
      const message = `of ${archive} were left out: ${unpacked.leftOut.join('; ')}`;
      this.log.append(name, { type: 'notice', code: 'archive-left-out', message });
    }
    return digest;
  }

  /** What cannot be removed now is when the state directory is opened the next time. */
  private async letGoOfLayer(name: string): Promise<void> {
    try {
      await this.layers.release(name);
    } catch (error) {
      this.log.append(name, { type: 'notice', code: 'cleanup-failed', message: asCaissonError(error).message });
    }
  }

  private make(spec: ContainerSpec, assigned: Assigned): Container {
    const { host, log, logger } = this;
    return new Container({ host, spec, assigned, log, logger, remove: () => this.remove(spec.name) });
  }

  private restore(stored: StoredContainer): Container {
    const spec = resolveSpec(stored.spec, () => stored.idmap ?? this.ids.allocate());
    if (spec.rootfs.kind === 'archive') {
      if (!isDigest(stored.layer))
        throw new CaissonError('STATE_INVALID', 'layer is no SHA-256 in hex', { field: 'layer' });
      this.layers.claim(spec.name, stored.layer);
    }
    if (spec.idmap !== null) this.ids.claim(spec.name, spec.idmap);
    const container = this.make(spec, this.assign(spec, stored.created, stored.layer));
    this.containers.set(spec.name, container);
    return container;
  }

  private async startKeeper(): Promise<void> {
    const lost = (error: CaissonError): void => {
      this.host.keeper = null;
      const message = `nothing is kept for the next supervisor: ${error.message}`;
      this.log.append('', { type: 'notice', code: 'not-kept', message });
      this.logger?.warn({ err: error }, message);
    };
    const replaced = (): void => {
      for (const container of this.list()) void container.custody.keep();
    };
    try {
      this.host.keeper = await Keeper.open(this.host.runDir, { lost, replaced });
    } catch (error) {
      lost(asCaissonError(error));
    }
  }

  private async makeRoomFor(spec: ContainerSpec): Promise<void> {
    const plan = compilePrepareWithoutScope(spec, this.host.facts);
    if (plan !== null) await this.perform(plan);
  }

  private readonly discard: Discard = path => discard(this.host, path);

  private perform(plan: Plan): Promise<void> {
    return perform(this.host, plan);
  }
}

async function perform({ pool }: Host, { steps }: Plan): Promise<void> {
  const result = await pool.execute({ steps, registers: {}, launch: null, faults: {}, mode: 'all-or-nothing' });
  if (result.error !== null) throw CaissonError.from(result.error);
}

const discard = (host: Host, path: string): Promise<void> => perform(host, compileDiscard(path));
