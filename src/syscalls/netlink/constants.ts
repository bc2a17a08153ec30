/**
 * Numbers of the routing netlink protocol, under the kernel's names without their prefix: linux/netlink.h,
 * linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/if.h. The same on x64 and arm64.
 */

/** Address families, linux/socket.h. */
export const AF = { UNSPEC: 0, INET: 2, INET6: 10, NETLINK: 16 } as const;

/** Message types below 16 belong to netlink itself. */
export const NLMSG = { NOOP: 1, ERROR: 2, DONE: 3, OVERRUN: 4 } as const;

/** `nlmsg_flags`. Bits from 0x100 on mean one thing in a get, another in a new, a third in an acknowledgement. */
export const NLM_F = {
  REQUEST: 0x01,
  MULTI: 0x02,
  ACK: 0x04,
  ECHO: 0x08,
  DUMP_INTR: 0x10,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
  CAPPED: 0x100,
  ACK_TLVS: 0x200,
} as const;

/** The two flag bits of `nla_type`. */
export const NLA_F = { NESTED: 0x8000, NET_BYTEORDER: 0x4000 } as const;

/** Attributes behind an acknowledgement (`enum nlmsgerr_attrs`). */
export const NLMSGERR_ATTR = { MSG: 1, OFFS: 2, MISS_TYPE: 5 } as const;

export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWLINKPROP: 108,
  DELLINKPROP: 109,
} as const;

export const IFLA = {
  ADDRESS: 1,
  BROADCAST: 2,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  QDISC: 6,
  MASTER: 10,
  TXQLEN: 13,
  OPERSTATE: 16,
  LINKINFO: 18,
  NET_NS_PID: 19,
  GROUP: 27,
  NET_NS_FD: 28,
  EXT_MASK: 29,
  PROMISCUITY: 30,
  NUM_TX_QUEUES: 31,
  NUM_RX_QUEUES: 32,
  LINK_NETNSID: 37,
  MIN_MTU: 50,
  MAX_MTU: 51,
  PROP_LIST: 52,
  ALT_IFNAME: 53,
} as const;

/** Inside IFLA_LINKINFO. */
export const IFLA_INFO = { KIND: 1, DATA: 2 } as const;

/** Inside the IFLA_INFO_DATA of a veth: a struct ifinfomsg and the attributes of the other end (linux/veth.h). */
export const VETH_INFO_PEER = 1;

/** IFLA_EXT_MASK: leave out the counters: a quarter of a link's message, and summed up over all CPUs. */
export const RTEXT_FILTER_SKIP_STATS = 1 << 3;

/** `ifi_flags`; the names are those that ip(8) prints. */
export const IFF = {
  UP: 1 << 0,
  BROADCAST: 1 << 1,
  DEBUG: 1 << 2,
  LOOPBACK: 1 << 3,
  POINTOPOINT: 1 << 4,
  NOTRAILERS: 1 << 5,
  RUNNING: 1 << 6,
  NOARP: 1 << 7,
  PROMISC: 1 << 8,
  ALLMULTI: 1 << 9,
  MASTER: 1 << 10,
  SLAVE: 1 << 11,
  MULTICAST: 1 << 12,
  PORTSEL: 1 << 13,
  AUTOMEDIA: 1 << 14,
  DYNAMIC: 1 << 15,
  LOWER_UP: 1 << 16,
  DORMANT: 1 << 17,
  ECHO: 1 << 18,
} as const;

/** RFC 2863 states, IF_OPER_* in linux/if.h. */
export const OPER_STATES = ['unknown', 'notpresent', 'down', 'lowerlayerdown', 'testing', 'dormant', 'up'] as const;

/** The hardware types that a container may meet (linux/if_arp.h); others stay numbers. */
export const ARPHRD = { ether: 1, loopback: 772, none: 65534 } as const;

export const IFA = { ADDRESS: 1, LOCAL: 2, LABEL: 3, BROADCAST: 4, CACHEINFO: 6, FLAGS: 8 } as const;

/** IFA_F_*. For IPv6 `secondary` means temporary. */
export const ADDRESS_FLAGS = {
  secondary: 0x01,
  nodad: 0x02,
  optimistic: 0x04,
  dadfailed: 0x08,
  home: 0x10,
  deprecated: 0x20,
  tentative: 0x40,
  permanent: 0x80,
  mngtmpaddr: 0x100,
  noprefixroute: 0x200,
  autojoin: 0x400,
  'stable-privacy': 0x800,
} as const;

export const RTA = {
  DST: 1,
  OIF: 4,
  GATEWAY: 5,
  PRIORITY: 6,
  PREFSRC: 7,
  MULTIPATH: 9,
  TABLE: 15,
  VIA: 18,
} as const;

/** RT_SCOPE_*: how far away a destination, or how far known an address is. */
export const SCOPES = { global: 0, site: 200, link: 253, host: 254, nowhere: 255 } as const;

/** RTPROT_*: who made the route. */
export const PROTOCOLS = { unspec: 0, redirect: 1, kernel: 2, boot: 3, static: 4, ra: 9, dhcp: 16 } as const;

/** RTN_*. */
export const ROUTE_TYPES = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
} as const;

/** RTNH_F_*, of a route with one next hop and of each of many. */
export const NEXTHOP_FLAGS = {
  dead: 1,
  pervasive: 2,
  onlink: 4,
  offload: 8,
  linkdown: 16,
  unresolved: 32,
  trap: 64,
} as const;

/** RT_TABLE_MAIN. */
export const MAIN_TABLE = 254;
