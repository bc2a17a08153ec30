/** What a request to rtnetlink is before it has a sequence number: plain data. Pure. */
import type { Attribute } from './codec.js';
import { RTM } from './constants.js';

export interface NetlinkRequest {
  /** RTM.* */
  readonly type: number;
  /** NLM_F.* without REQUEST, ACK and DUMP, which the socket adds. */
  readonly flags: number;
  /** The family's struct: ifinfomsg, ifaddrmsg or rtmsg. */
  readonly header: Buffer;
  readonly attributes: readonly Attribute[];
  /** What is asked for, in words for an error message: 'index=3 mtu=1400'. */
  readonly operands: string;
}

/** 'RTM_NEWLINK' for 16. */
export function requestName(type: number): string {
  const name = (Object.keys(RTM) as (keyof typeof RTM)[]).find(key => RTM[key] === type);
  return name === undefined ? `netlink message ${type}` : `RTM_${name}`;
}
