/** `caisson explain`: the plan of a start, before anything runs. */
import { explain, explainJSON } from '../plan/explain.js';
import { planFor } from '../supervisor/preview.js';
import { type DescribeOptions, specFrom } from './describe.js';
import { print } from './print.js';

export async function explainCommand(
  rootfs: string | undefined,
  args: readonly string[],
  options: DescribeOptions & { readonly json?: boolean },
): Promise<void> {
  const plan = await planFor(specFrom(rootfs, args, options), options.state);
  await print(`${options.json === true ? explainJSON(plan) : explain(plan)}\n`);
}
