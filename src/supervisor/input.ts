/** What a caller gives `create`: a spec, or one that names a template in place of its rootfs. */
import { type ContainerSpec, type IdMap, resolveSpec } from '../spec/container.js';
import { CaissonError } from '../spec/errors.js';
import type { OverlayKind } from '../spec/schema/rootfs.js';
import type { ContainerSpecInput } from '../spec/schema.js';
import { isTemplate, TEMPLATES, type TemplateName } from './templates.js';

export type TemplateInput = Omit<ContainerSpecInput, 'rootfs'> & {
  readonly template: TemplateName;
  /** As `rootfs.overlay`, for a rootfs made from a template. */
  readonly overlay?: OverlayKind;
};
export type CreateInput = ContainerSpecInput | TemplateInput;

export interface ResolvedInput {
  readonly spec: ContainerSpec;
  /** The spec as it is recorded. */
  readonly recorded: Readonly<Record<string, unknown>>;
  readonly template: TemplateName | undefined;
}

/** @throws CaissonError SPEC_INVALID, TEMPLATE_UNKNOWN */
export function resolveInput(input: unknown, rootfsOf: (name: string) => string, allocate: () => IdMap): ResolvedInput {
  const isObject = typeof input === 'object' && input !== null && !Array.isArray(input);
  if (!isObject || !('template' in input)) {
    return { spec: resolveSpec(input, allocate), recorded: input as Record<string, unknown>, template: undefined };
  }
  const { template, overlay, ...rest } = input as Record<string, unknown>;
  if (!isTemplate(template)) {
    throw new CaissonError('TEMPLATE_UNKNOWN', `template: there is no template ${JSON.stringify(template)}`, {
      field: 'template',
      hint: `known templates: ${TEMPLATES.join(', ')}`,
    });
  }
  if ('rootfs' in rest)
    throw new CaissonError('SPEC_INVALID', 'rootfs: give either rootfs or template', { field: 'rootfs' });
  const rootfs = { path: rootfsOf(String(rest.name)), ...(overlay === undefined ? {} : { overlay }) };
  const recorded = { ...rest, rootfs };
  return { spec: resolveSpec(recorded, allocate), recorded, template };
}
