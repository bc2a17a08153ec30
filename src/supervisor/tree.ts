/** The supervision tree of one supervisor: its groups, and what is started and stopped with the host. */
import type { AutostartOutcome } from '../machines/autostart.js';
import { hasEnded } from '../machines/states.js';
import { CaissonError } from '../spec/errors.js';
import { type GroupSpec, resolveGroup } from '../spec/schema/group.js';
import { Boot, type Bootable, type ShutdownOutcome } from './boot.js';
import type { Container } from './container.js';
import type { EventBody } from './events.js';
import { Group } from './group.js';
import { GroupStore } from './group-store.js';
import { type Member, memberOf } from './member.js';
import { POWER_FILE, readPower } from './power.js';

export interface TreeParts {
  readonly stateDir: string;
  readonly bootId: string;
  readonly containers: () => readonly Container[];
  readonly publish: (body: EventBody) => void;
}

export class Tree {
  private readonly boot: Boot;
  private readonly store: GroupStore;
  private readonly groups = new Map<string, Group>();

  constructor(private readonly parts: TreeParts) {
    this.store = new GroupStore(parts.stateDir);
    this.boot = new Boot(parts.bootId, () => this.bootables());
  }

  list(): Group[] {
    return [...this.groups.values()];
  }

  find(name: string): Group | undefined {
    return this.groups.get(name);
  }

  /** @throws CaissonError SPEC_INVALID, GROUP_EXISTS, CONTAINER_NOT_FOUND */
  async create(input: unknown): Promise<Group> {
    const spec = resolveGroup(input);
    if (this.groups.has(spec.name) || this.containerOf(spec.name) !== undefined) {
      throw new CaissonError('GROUP_EXISTS', `there is a group or a container ${spec.name} already`, {
        field: 'name',
        hint: 'choose another name: children are found by theirs',
      });
    }
    const group = this.make(spec);
    try {
      await this.store.add(spec.name, { version: 1, spec: input, created: Date.now() });
    } catch (error) {
      this.groups.delete(spec.name);
      group.release();
      throw error;
    }
    this.parts.publish({ type: 'group-created', group: spec.name });
    return group;
  }

  /** Forgets a group that does not run; its members stay. @throws CaissonError GROUP_NOT_FOUND, INVALID_TRANSITION */
  async remove(name: string): Promise<void> {
    const group = this.groups.get(name);
    if (group === undefined)
      throw new CaissonError('GROUP_NOT_FOUND', `there is no group ${JSON.stringify(name)}`, { field: 'name' });
    if (group.isUp()) {
      throw new CaissonError('INVALID_TRANSITION', `group ${name} cannot be removed while ${group.state}`, {
        field: 'state',
        hint: 'stop it first',
      });
    }
    refuseMember(group.asMember());
    // No start may come in between: its children would run with nobody to restart them.
    group.retire(true);
    try {
      await group.power.drop();
      await this.store.remove(name);
    } catch (error) {
      group.retire(false);
      throw error;
    }
    this.groups.delete(name);
    group.release();
    this.parts.publish({ type: 'group-removed', group: name });
  }

  /** @throws CaissonError INVALID_TRANSITION for one that a group has. */
  assertFree(container: Container): void {
    refuseMember(memberOf(container));
  }

  /** Groups of an earlier supervisor; those whose children run are taken over. Resolves with what could not be read. */
  async load(): Promise<CaissonError[]> {
    const { groups, setAside } = await this.store.load();
    for (const { spec: recorded } of groups) {
      const { name } = recorded as { name: string };
      try {
        const group = this.make(resolveGroup(recorded));
        const unread = await this.recallPower(group);
        if (unread !== undefined) setAside.push(unread);
        group.resume();
      } catch (error) {
        if (!CaissonError.is(error)) throw error;
        await this.store.setAside(name);
        setAside.push(new CaissonError('STATE_INVALID', `group ${name}: ${error.message}`, { cause: error }));
      }
    }
    return setAside;
  }

  /** Resolves with what is wrong with its record: the group is there without it. */
  private async recallPower({ name, power }: Group): Promise<CaissonError | undefined> {
    try {
      power.recall(await readPower(this.store.directoryOf(name)));
      return undefined;
    } catch (error) {
      if (!CaissonError.is(error)) throw error;
      await this.store.setAside(name, POWER_FILE);
      return error;
    }
  }

  autostart(): Promise<AutostartOutcome[]> {
    return this.boot.autostart();
  }

  shutdown(): Promise<ShutdownOutcome[]> {
    return this.boot.shutdown();
  }

  /** Nothing is begun by itself any more; resolves when what was has ended. */
  async close(): Promise<void> {
    for (const group of this.groups.values()) group.close();
    await this.boot.close();
    await Promise.all(this.list().map(group => group.power.flush()));
  }

  private containerOf(name: string): Container | undefined {
    return this.parts.containers().find(container => container.name === name);
  }

  private make(spec: GroupSpec): Group {
    const members = spec.children.map(({ name }, index) => this.memberFor(name, `children.${index}`));
    const directory = this.store.directoryOf(spec.name);
    const { bootId, publish } = this.parts;
    const group = new Group({ spec, directory, bootId, members, publish });
    this.groups.set(spec.name, group);
    return group;
  }

  private memberFor(name: string, field: string): Member {
    const refuse = (why: string, hint: string): never => {
      throw new CaissonError('SPEC_INVALID', `${field}: ${name} ${why}`, { field, hint });
    };
    const found = this.containerOf(name);
    const container = found?.custody.retired === true ? undefined : found;
    const member = container === undefined ? this.groups.get(name)?.asMember() : memberOf(container);
    if (member === undefined) {
      throw new CaissonError(
        'CONTAINER_NOT_FOUND',
        `${field}: there is no container or group ${JSON.stringify(name)}`,
        {
          field,
          hint: 'create it first',
        },
      );
    }
    if (member.governor !== undefined) refuse(`is in group ${member.governor.name}`, 'a child has one parent');
    if (container !== undefined && container.spec.restart.policy !== 'no')
      refuse('has a restart policy of its own', 'the group decides: leave out restart.policy and boot.autorestart');
    if (container?.spec.ephemeral === true) refuse('is ephemeral', 'a group has to find its children again');
    return member;
  }

  private bootables(): Bootable[] {
    const containers = this.parts.containers().filter(container => memberOf(container).governor === undefined);
    const groups = this.list().filter(group => group.governor === undefined);
    return [...containers.map(bootable), ...groups.map(group => this.bootableGroup(group))];
  }

  private bootableGroup(group: Group): Bootable {
    const { name, boot } = group.spec;
    return {
      name,
      boot,
      policy: 'no',
      power: group.power.record,
      isUp: () => group.isUp() || this.containersIn(group).some(isUp),
      isDone: () => group.isComplete(),
      beginStart: () => group.power.beginStart(),
      endStart: () => group.power.endStart(),
      start: () => group.start(),
      stop: async () => {
        const containers = this.containersIn(group).filter(isUp);
        // First: what is started in it from now on would not be stopped any more.
        this.barMembers(group);
        await this.stopWhole(group);
        const ends = await Promise.all(containers.filter(one => !isUp(one)).map(one => one.wait()));
        return ends.some(({ forced }) => forced);
      },
      warn: message => {
        group.power.warn(message);
        this.parts.publish({ type: 'notice', code: 'autostart-failed', message: `group ${name}: ${message}` });
      },
      bar: () => group.bar(),
    };
  }

  private barMembers(group: Group): void {
    for (const nested of this.groupsIn(group)) this.barMembers(nested);
    for (const container of this.containersIn(group)) memberOf(container).bar();
    group.bar();
  }

  /** Also what was started in it by hand, of a group that does not run as such. */
  private async stopWhole(group: Group): Promise<void> {
    await group.end('host');
    for (const nested of this.groupsIn(group).reverse()) await this.stopWhole(nested);
    for (const container of this.containersIn(group).reverse()) await memberOf(container).stop();
  }

  private groupsIn(group: Group): Group[] {
    return group.spec.children.flatMap(({ name }) => this.groups.get(name) ?? []);
  }

  /** With those of the groups in it. */
  private containersIn(group: Group): Container[] {
    return group.spec.children.flatMap(({ name }) => {
      const nested = this.groups.get(name);
      return nested === undefined ? (this.containerOf(name) ?? []) : this.containersIn(nested);
    });
  }
}

function refuseMember({ name, governor }: Member): void {
  if (governor === undefined) return;
  throw new CaissonError('INVALID_TRANSITION', `${name} is in group ${governor.name}`, {
    field: 'name',
    hint: 'remove the group first; its children stay',
  });
}

function isUp({ state }: Container): boolean {
  return !hasEnded(state);
}

function bootable(container: Container): Bootable {
  const { keeping } = container.custody;
  const { name, boot, restart } = container.spec;
  return {
    name,
    boot,
    policy: restart.policy,
    power: keeping.power.record,
    isUp: () => isUp(container),
    isDone: () => isUp(container),
    beginStart: () => keeping.power.beginStart(),
    endStart: () => keeping.power.endStart(),
    start: () => keeping.startForHost(false),
    stop: async () => (await keeping.stopForHost()).forced,
    warn: message => keeping.warn(message),
    bar: () => keeping.bar(),
  };
}
