/** RTM_NEWLINK as the kernel sends it, as plain data. Pure. */
import { AttributeIndex, stringOf } from './attributes.js';
import { decodeBody, type Message, type Nesting, NetlinkFormatError } from './codec.js';
import { ARPHRD, IFF, IFLA, IFLA_INFO, OPER_STATES, RTM, VETH_INFO_PEER } from './constants.js';
import { flagNames, formatMac, nameOf } from './input.js';
import { IFINFOMSG_SIZE } from './link.js';

export type LinkFlag = keyof typeof IFF;
export type OperState = (typeof OPER_STATES)[number];

/** A link as the kernel describes it; the names of ip(8) in other letters. */
export interface Link {
  readonly index: number;
  readonly name: string;
  readonly altNames: readonly string[];
  /** Hardware type; a number (ARPHRD_*) if it is an uncommon one. */
  readonly type: keyof typeof ARPHRD | number;
  /** 'veth', 'bridge' …; undefined for a device that is not made by rtnetlink (lo, a physical NIC). */
  readonly kind: string | undefined;
  readonly flags: readonly LinkFlag[];
  /** Administratively up (IFF_UP); whether packets pass says operState. */
  readonly up: boolean;
  readonly operState: OperState;
  /** Bytes. */
  readonly mtu: number;
  /** Bytes; 0 in maxMtu means no limit. */
  readonly minMtu: number;
  readonly maxMtu: number;
  /** Packets. */
  readonly txqlen: number;
  readonly txQueues: number;
  readonly rxQueues: number;
  readonly qdisc: string;
  readonly mac: string | undefined;
  readonly broadcast: string | undefined;
  /** Index of the bridge it is a port of. */
  readonly master: number | undefined;
  /** The other end of a veth, or the link below a stacked one: its index, in the namespace `linkNetnsId` if given. */
  readonly linkIndex: number | undefined;
  /** How this namespace calls the one of the other end (ip-netns(8)); undefined when it is the same one. */
  readonly linkNetnsId: number | undefined;
  readonly group: number;
  readonly promiscuity: number;
}

/** What nests in a link's message; a bridge's or vlan's own IFLA_INFO_DATA stay bytes. */
export const LINK_NESTING: Nesting = {
  [IFLA.LINKINFO]: { nested: {} },
  [IFLA.PROP_LIST]: { nested: {} },
};

/** The same with the data of a veth, for a message that is known to make one. */
export const VETH_NESTING: Nesting = {
  ...LINK_NESTING,
  [IFLA.LINKINFO]: {
    nested: { [IFLA_INFO.DATA]: { nested: { [VETH_INFO_PEER]: { header: IFINFOMSG_SIZE, nested: {} } } } },
  },
};

/** Reads one RTM_NEWLINK. Throws NetlinkFormatError for any other message. */
export function parseLink(message: Message): Link {
  if (message.type !== RTM.NEWLINK) throw new NetlinkFormatError(`message ${message.type} where a link was expected`);
  const { header, attributes } = decodeBody(message.body, IFINFOMSG_SIZE, LINK_NESTING);
  const index = new AttributeIndex(attributes);
  const info = new AttributeIndex(index.nested(IFLA.LINKINFO));
  const flags = header.readUInt32LE(8);
  const mac = index.bytes(IFLA.ADDRESS);
  const broadcast = index.bytes(IFLA.BROADCAST);
  return {
    index: header.readInt32LE(4),
    name: index.string(IFLA.IFNAME) ?? '',
    altNames: index
      .nested(IFLA.PROP_LIST)
      .filter(({ type }) => type === IFLA.ALT_IFNAME)
      .map(({ data }) => stringOf(data)),
    type: nameOf(ARPHRD, header.readUInt16LE(2)),
    kind: info.string(IFLA_INFO.KIND),
    flags: flagNames(IFF, flags),
    up: (flags & IFF.UP) !== 0,
    operState: OPER_STATES[index.u8(IFLA.OPERSTATE) ?? 0] ?? 'unknown',
    mtu: index.u32(IFLA.MTU) ?? 0,
    minMtu: index.u32(IFLA.MIN_MTU) ?? 0,
    maxMtu: index.u32(IFLA.MAX_MTU) ?? 0,
    txqlen: index.u32(IFLA.TXQLEN) ?? 0,
    txQueues: index.u32(IFLA.NUM_TX_QUEUES) ?? 0,
    rxQueues: index.u32(IFLA.NUM_RX_QUEUES) ?? 0,
    qdisc: index.string(IFLA.QDISC) ?? '',
    mac: mac === undefined ? undefined : formatMac(mac),
    broadcast: broadcast === undefined ? undefined : formatMac(broadcast),
    master: index.u32(IFLA.MASTER),
    linkIndex: index.u32(IFLA.LINK),
    linkNetnsId: index.s32(IFLA.LINK_NETNSID),
    group: index.u32(IFLA.GROUP) ?? 0,
    promiscuity: index.u32(IFLA.PROMISCUITY) ?? 0,
  };
}
