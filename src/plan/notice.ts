/**
 * What a user should know about a start: found when the plan is made, or while it is executed. A notice is an entry of
 * the start report as well as an event.
 */
export const NOTICE_CODES = [
  'capability-missing',
  'device-degraded',
  'device-policy-none',
  'environment',
  'lxcfs-absent',
  'lxcfs-bound',
  'lxcfs-dead',
  'lxcfs-hung',
  'lxcfs-lost',
  'journal',
  'machine-id-duplicate',
  'machine-id-host',
  'not-kept',
  'oom-late',
  'oom-unwatched',
  'resolv-conf',
  'rlimit-capped',
  'rootfs-not-empty',
  'run-host',
  'seccomp-none',
  'timezone',
  'unconfined',
] as const;
export type NoticeCode = (typeof NOTICE_CODES)[number];

export interface PlanNotice {
  readonly code: NoticeCode;
  /**
   * `done`: a choice was made that the spec left open. `skipped`: left out, since the host or the image has no use for
   * it. `degraded`: the container gets less than the spec page says. Default: degraded.
   */
  readonly outcome?: 'done' | 'skipped' | 'degraded';
  readonly message: string;
}
