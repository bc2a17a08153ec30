/** What host actions work on while a list of steps is executed. */
import type { PlanNotice, Register, Text } from '../plan/step.js';
import { CaissonError } from '../spec/errors.js';
import { Arena } from '../syscalls/arena.js';
import { type Joiner, launchJoiner } from '../syscalls/launcher/join.js';
import { Program } from '../syscalls/launcher/program.js';

export type Registers = Record<Register, number>;
export type Texts = Record<Register, string>;

/** Memory that will be shared with the launched child: an arena's address and size in bytes. */
export interface LaunchMemory {
  readonly address: number;
  readonly size: number;
}

export class StepContext {
  /** What the user should know, found while executing. */
  readonly notices: PlanNotice[] = [];
  /** What `text:` registers hold. */
  readonly texts: Texts = {};
  private launched: Program | undefined;

  constructor(
    readonly registers: Registers,
    private readonly launch: LaunchMemory | null,
    /** Descriptors that the supervisor holds meanwhile, by name. */
    readonly held: Readonly<Record<string, number>> = {},
  ) {}

  get(register: Register): number {
    const value = this.registers[register];
    if (value === undefined)
      throw new CaissonError('INTERNAL', `register ${register} is empty: an earlier step should have filled it`);
    return value;
  }

  has(register: Register): boolean {
    return this.registers[register] !== undefined || this.texts[register] !== undefined;
  }

  text(text: Text): string {
    if (typeof text === 'string') return text;
    const value = this.texts[text.from];
    if (value === undefined)
      throw new CaissonError('INTERNAL', `register ${text.from} is empty: an earlier step should have filled it`);
    return value;
  }

  set(register: Register, value: number): void {
    this.registers[register] = value;
  }

  clear(register: Register): void {
    delete this.registers[register];
  }

  /** Starts a fresh program, parked behind the gate that `sync` leads to. */
  park(sync: number): Program {
    this.launched = Program.park(this.memory(), sync);
    return this.launched;
  }

  /** Clones a joiner, parked behind the gate that `sync` leads to. */
  launchJoiner(sync: number): Joiner {
    const joiner = launchJoiner(this.memory(), sync);
    this.launched = joiner.program;
    return joiner;
  }

  private memory(): Arena {
    if (this.launch === null)
      throw new CaissonError('INTERNAL', 'these steps launch a child but have no memory for it');
    return Arena.at(this.launch.address, this.launch.size);
  }

  get program(): { program: Program; arena: Arena } {
    if (this.launched === undefined) throw new CaissonError('INTERNAL', 'no child was launched');
    return { program: this.launched, arena: this.launched.memory };
  }
}
