/** The name of a register: a place where one step leaves a number for later ones. `fd:` registers are descriptors. */
export type Register = string;

export interface IdMapEntry {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

/** Registers holding descriptors; they are closed on rollback. */
export function isDescriptor(register: Register): boolean {
  return register.startsWith('fd:');
}
