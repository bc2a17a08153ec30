/** A group as its callers see it: containers and groups that are started, stopped and restarted together (OTP's rules). */
import { type Actor, createActor } from 'xstate';
import {
  foundSnapshot,
  type GroupEvent,
  type GroupMachine,
  type GroupMoved,
  type GroupPort,
  type GroupState,
  groupMachine,
  isIncomplete,
} from '../machines/group.js';
import type { Children, ChildStatus, GroupDecision } from '../machines/group-policy.js';
import { CaissonError } from '../spec/errors.js';
import type { GroupSpec } from '../spec/schema/group.js';
import type { EventBody } from './events.js';
import type { Governor, Member } from './member.js';
import { Power } from './power.js';

export interface GroupParts {
  readonly spec: GroupSpec;
  /** Where it is recorded. */
  readonly directory: string;
  readonly bootId: string;
  /** In the order of the spec. */
  readonly members: readonly Member[];
  readonly publish: (body: EventBody) => void;
}

type Settle = (move: GroupMoved) => boolean;

export class Group {
  /** For the supervisor. */
  readonly power: Power;
  /** For the supervisor. */
  governor: Governor | undefined;
  private actor: Actor<GroupMachine>;
  private readonly waiters = new Set<Settle>();
  private barred = false;
  private retired = false;
  private closed = false;

  constructor(private readonly parts: GroupParts) {
    this.power = new Power({
      directory: parts.directory,
      bootId: parts.bootId,
      failed: ({ message }) => parts.publish({ type: 'notice', code: 'record-not-written', message }),
    });
    this.actor = this.follow(createActor(groupMachine, { input: { rules: parts.spec, port: this.port() } }));
    for (const member of parts.members) member.govern(this.governorOf(member));
  }

  get spec(): GroupSpec {
    return this.parts.spec;
  }

  get name(): string {
    return this.spec.name;
  }

  get state(): GroupState {
    return this.actor.getSnapshot().context.at;
  }

  /** Why it is `failed`. */
  get error(): CaissonError | undefined {
    return this.actor.getSnapshot().context.error;
  }

  /** Each child and how it is, in the order in which they start. */
  get children(): { readonly name: string; readonly status: ChildStatus }[] {
    const { children } = this.actor.getSnapshot().context;
    return this.spec.children.map(({ name }) => ({ name, status: children[name] ?? 'down' }));
  }

  /**
   * Starts the children in order, each when the one before is ready; of a group that runs, those that do not. A child that
   * cannot be started fails the whole: what had been started is stopped. A second call joins the first.
   */
  start(): Promise<void> {
    return this.begin();
  }

  /** Stops the children, the last started first. */
  stop(): Promise<void> {
    return this.end('api');
  }

  toJSON(): Record<string, unknown> {
    const { name, state, error, children, spec } = this;
    return { name, state, error: error?.toJSON() ?? null, children, spec };
  }

  /** For the supervisor. */
  asMember(): Member {
    const group = this;
    return {
      name: this.name,
      get governor() {
        return group.governor;
      },
      govern: governor => {
        group.governor = governor;
      },
      isUp: () => this.isUp() && !isIncomplete(this.actor.getSnapshot()),
      power: () => this.power.record,
      missed: () => undefined,
      start: () => this.begin(),
      stop: () => this.end('host'),
      bar: () => this.bar(),
    };
  }

  /** For the supervisor. Takes over children that were found running. */
  resume(): void {
    const { members, spec } = this.parts;
    const missed = members.flatMap(member => {
      const end = member.missed();
      return end === undefined ? [] : [{ ...end, child: member.name }];
    });
    if (this.power.record?.power !== 'running') return;
    if (missed.length === 0 && !members.some(member => member.isUp())) return;
    const statusOf = (member: Member): ChildStatus => {
      if (member.isUp() || missed.some(({ child }) => child === member.name)) return 'up';
      const { power, asked } = member.power() ?? {};
      if (power !== 'stopped') return 'down';
      if (asked === true) return 'held';
      const type = spec.children.find(child => child.name === member.name)?.restart;
      return type === 'permanent' ? 'down' : 'done';
    };
    const found: Children = Object.fromEntries(members.map(member => [member.name, statusOf(member)]));
    const input = { rules: spec, port: this.port(), found };
    this.actor.stop();
    this.actor = this.follow(createActor(groupMachine, { input, snapshot: foundSnapshot(input) }));
    // They have ended while nobody watched, or before we did.
    for (const end of missed) this.actor.send({ type: 'CHILD_ENDED', end });
  }

  /** For the supervisor. */
  isUp(): boolean {
    return this.state !== 'stopped' && this.state !== 'failed';
  }

  /** For the supervisor. A start would start something. */
  isComplete(): boolean {
    return this.isUp() && !isIncomplete(this.actor.getSnapshot());
  }

  /** For the supervisor. The host, or a parent, stops it: it remains what is to run. */
  async end(initiator: 'api' | 'host'): Promise<void> {
    if (initiator === 'api') this.power.stopped(true);
    if (this.isUp()) {
      const event: GroupEvent = { type: 'STOP', initiator };
      await this.until(event, move => {
        if (move.to === 'stopped') return true;
        if (move.to === 'failed')
          throw move.error ?? new CaissonError('CLEANUP_FAILED', `group ${this.name} has failed`);
        return false;
      });
    }
    await this.power.flush();
  }

  /** For the supervisor. */
  bar(): void {
    this.barred = true;
  }

  /** For the supervisor. From now on nothing can be asked of it; false takes that back. */
  retire(retired: boolean): void {
    this.retired = retired;
  }

  /** For the supervisor. It is to be removed: its members are their own again. */
  release(): void {
    for (const member of this.parts.members) member.govern(undefined);
    this.close();
  }

  /** For the supervisor. Nothing is begun any more. */
  close(): void {
    this.closed = true;
    this.actor.stop();
    for (const settle of [...this.waiters]) settle({ type: 'moved', from: this.state, to: 'failed', reason: 'stop' });
  }

  private async begin(): Promise<void> {
    if (this.state === 'stopping') await this.until(undefined, move => move.to === 'stopped' || move.to === 'failed');
    // Only now: it may be the end of the host that was waited for.
    if (this.barred) throw new CaissonError('CLOSED', 'the host is being shut down');
    if (this.retired) throw new CaissonError('GROUP_NOT_FOUND', `group ${this.name} has been removed`);
    if (this.state === 'running' && this.isComplete()) return;
    if (this.state !== 'starting' && this.state !== 'restarting') this.power.wanted();
    const joins = this.state === 'starting' || this.state === 'restarting';
    await this.until(joins ? undefined : { type: 'START' }, move => {
      if (move.to === 'running') return true;
      if (move.to !== 'stopped' && move.to !== 'failed') return false;
      throw move.error ?? new CaissonError('CANCELLED', `group ${this.name} became ${move.to} (${move.reason})`);
    });
  }

  /** Resolves with the move that `judge` takes, or rejects with what it throws. */
  private until(event: GroupEvent | undefined, judge: Settle): Promise<void> {
    if (this.closed) return Promise.reject(new CaissonError('CLOSED', 'the supervisor is closed'));
    return new Promise((resolve, reject) => {
      const settle: Settle = move => {
        try {
          if (this.closed) throw new CaissonError('CLOSED', 'the supervisor is closed');
          if (!judge(move)) return false;
          resolve();
        } catch (error) {
          reject(error);
        }
        this.waiters.delete(settle);
        return true;
      };
      this.waiters.add(settle);
      if (event !== undefined) this.actor.send(event);
    });
  }

  private follow(actor: Actor<GroupMachine>): Actor<GroupMachine> {
    actor.on('moved', move => this.moved(move));
    actor.on('decided', ({ decision }) => this.decided(decision));
    return actor.start();
  }

  private moved(move: GroupMoved): void {
    const { from, to, reason, error } = move;
    if (to === 'running') this.power.running();
    this.parts.publish({
      type: 'group-state',
      group: this.name,
      from,
      to,
      reason,
      ...(error === undefined ? {} : { error: error.toJSON() }),
    });
    // The move comes in the middle of the transition: whoever waits goes on when the machine is where it says.
    queueMicrotask(() => {
      // The parent may start it anew at once: who waits for that does not wait for this move.
      const waiting = [...this.waiters];
      this.tellParent(move);
      for (const settle of waiting) settle(move);
    });
  }

  private tellParent({ to, reason, error, stopAsked }: GroupMoved): void {
    if (to === 'running') this.governor?.started();
    // What the parent itself has stopped it knows.
    if (stopAsked === 'host') return;
    if (to === 'stopped') this.governor?.ended({ how: 'asked', text: 'it was stopped' });
    if (to === 'failed') {
      const how = reason === 'start-failed' ? 'start-failed' : 'failed';
      this.governor?.ended({ how, text: error?.message ?? reason });
    }
  }

  private decided({ action, cause, child, text, affected }: GroupDecision): void {
    const { name: group } = this;
    this.parts.publish({ type: 'group-decided', group, child, decision: action, cause, message: text, affected });
  }

  private port(): GroupPort {
    const { members, spec } = this.parts;
    const find = (name: string): Member => members.find(member => member.name === name)!;
    return {
      now: () => performance.now(),
      start: (name, again) => find(name).start(again, spec.children.find(child => child.name === name)!),
      stop: name => find(name).stop(),
    };
  }

  private governorOf({ name }: Member): Governor {
    return {
      name: this.name,
      ended: end => this.tell({ type: 'CHILD_ENDED', end: { child: name, ...end } }),
      started: () => this.tell({ type: 'CHILD_STARTED', child: name }),
    };
  }

  private tell(event: GroupEvent): void {
    if (!this.closed) this.actor.send(event);
  }
}
