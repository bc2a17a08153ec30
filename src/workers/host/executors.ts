/** One function per action, as a typed table. */
import type { StepContext } from '../context.js';

export type Executors<A extends { readonly op: string }> = {
  readonly [K in A['op']]: (action: Extract<A, { op: K }>, context: StepContext) => void;
};
