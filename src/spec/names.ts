/** What a container may be called: it becomes a directory, a cgroup and a host name (hostname(7)). */
export const NAME_PATTERN = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

export const NAME_RULE = 'must be 1 to 63 letters, digits and hyphens, not starting or ending with a hyphen';

export function isContainerName(name: string): boolean {
  return NAME_PATTERN.test(name);
}
