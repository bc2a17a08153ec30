/** A request that the kernel refused. */
import { SyscallError } from '../libc.js';
import { type Ack, blamedAttribute } from './ack.js';
import { type NetlinkRequest, requestName } from './request.js';

/**
 * The kernel said no to a netlink request. A SyscallError whose `call` is the message ('RTM_NEWLINK'), with
 * `errno`, `number` and `operands`, so that whoever handles refused system calls handles these too.
 */
export class NetlinkError extends SyscallError {
  /** The kernel's own words (extended acknowledgement, 4.12+): 'Nexthop has invalid gateway'. Many errors have none. */
  readonly extAck: string | undefined;
  /** The attribute it complains about, if it says so: 'IFLA_MTU'. */
  readonly attribute: string | undefined;

  constructor(request: NetlinkRequest, ack: Ack) {
    super(requestName(request.type), ack.errno, request.operands);
    this.name = 'NetlinkError';
    this.extAck = ack.text;
    this.attribute = blamedAttribute(request, ack);
    if (this.extAck !== undefined) this.message += `: ${this.extAck}`;
    if (this.attribute !== undefined) this.message += ` (${this.attribute})`;
  }
}
