/** The name of a register: a place where one step leaves a number for later ones. `fd:` registers are descriptors. */
export type Register = string;

/** A text known when the plan is made, or one that an earlier step leaves in a `text:` register. */
export type Text = string | { readonly from: Register };

export interface IdMapEntry {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

/** Registers holding descriptors; they are closed on rollback. */
export function isDescriptor(register: Register): boolean {
  return register.startsWith('fd:');
}
