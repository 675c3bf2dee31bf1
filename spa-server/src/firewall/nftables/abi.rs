//! Numbers of the kernel's nf_tables interface: attributes and constants of
//! linux/netfilter/nf_tables.h, under their names there without `NFTA_` and `NFT_`. What is from
//! another header says so.

/// Constants of one type.
macro_rules! constants {
    ($type:ty: $($name:ident = $value:expr),+ $(,)?) => {
        $(pub(crate) const $name: $type = $value;)+
    };
}

/// Name of an expression in `NFTA_EXPR_NAME`.
macro_rules! expression_name {
    ($name:literal) => {
        pub(crate) const EXPRESSION_NAME: &str = $name;
    };
}

/// Number of the subsystem (linux/netfilter/nfnetlink.h).
pub(super) const NFNL_SUBSYS_NFTABLES: u16 = 10;
/// Family of tables for IPv4 and IPv6 (linux/netfilter.h).
pub(super) const NFPROTO_INET: u8 = 1;
/// Every family.
pub(super) const NFPROTO_UNSPEC: u8 = 0;
/// Family of IPv4, in tables and packets.
pub(super) const NFPROTO_IPV4: u8 = 2;
/// Family of the packets of one network device, and of those of bridges.
pub(super) const NFPROTO_NETDEV: u8 = 5;
pub(super) const NFPROTO_BRIDGE: u8 = 7;
/// Family of IPv6, in tables and packets.
pub(super) const NFPROTO_IPV6: u8 = 10;

/// `NFT_MSG_*` with the subsystem in the high byte.
pub(super) mod msg {
    const HIGH_BYTE: u16 = super::NFNL_SUBSYS_NFTABLES << 8;
    constants!(u16:
        NEW_TABLE = HIGH_BYTE, GET_TABLE = HIGH_BYTE | 1, DEL_TABLE = HIGH_BYTE | 2,
        NEW_CHAIN = HIGH_BYTE | 3, GET_CHAIN = HIGH_BYTE | 4, DEL_CHAIN = HIGH_BYTE | 5,
        NEW_RULE = HIGH_BYTE | 6, GET_RULE = HIGH_BYTE | 7, DEL_RULE = HIGH_BYTE | 8,
        NEW_SET = HIGH_BYTE | 9, GET_SET = HIGH_BYTE | 10, DEL_SET = HIGH_BYTE | 11,
        NEW_ELEMENT = HIGH_BYTE | 12, GET_ELEMENT = HIGH_BYTE | 13,
        DEL_ELEMENT = HIGH_BYTE | 14, NEW_GENERATION = HIGH_BYTE | 15
    );
}

/// `NFTA_LIST_ELEM`
pub(super) const LIST_ELEM: u16 = 1;
/// The name of the table: the first attribute of every message but the generation's.
pub(super) const TABLE_ATTRIBUTE: u16 = 1;
/// `NFTA_TABLE_FLAGS`; the only flag that a table of ours could have got from others is
/// `NFT_TABLE_F_DORMANT`.
pub(super) const TABLE_FLAGS: u16 = 2;
/// Flag of a table whose chains the kernel does not call (`NFT_TABLE_F_DORMANT`).
pub(super) const TABLE_DORMANT: u32 = 1;
/// Flag of a table that only its socket may change, and that goes with it (`NFT_TABLE_F_OWNER`).
pub(super) const TABLE_OWNER: u32 = 2;

/// `NFTA_CHAIN_*`, `NFTA_HOOK_*`
pub(super) mod chain {
    constants!(u16: NAME = 3, HOOK = 4, POLICY = 5, TYPE = 7, HOOK_NUMBER = 1, HOOK_PRIORITY = 2);
    // Device of the hook, or a list of them.
    constants!(u16: HOOK_DEVICE = 3, HOOK_DEVICES = 4);
    constants!(u32: POLICY_DROP = 0, POLICY_ACCEPT = 1);
}

/// `NFTA_RULE_*`
pub(super) mod rule {
    constants!(u16: CHAIN = 2, HANDLE = 3, EXPRESSIONS = 4, EXPR_NAME = 1, EXPR_DATA = 2);
}

/// `NFTA_SET_*` and `NFT_SET_*`
pub(super) mod set {
    constants!(u16:
        NAME = 2, FLAGS = 3, KEY_TYPE = 4, KEY_LEN = 5, DESC = 9, ID = 10, USERDATA = 13
    );
    // An expression that each element gets, such as a counter.
    constants!(u16: EXPRESSION = 17, DESC_SIZE = 1);
    // Lengths of the parts of a concatenation.
    constants!(u16: DESC_CONCAT = 2, FIELD_LEN = 1);

    // `EVAL`: rules write into the set (`dynamic`). `CONCAT`: a concatenation of intervals.
    constants!(u32:
        ANONYMOUS = 1, CONSTANT = 2, INTERVAL = 4, TIMEOUT = 0x10, EVAL = 0x20, CONCAT = 0x80
    );
}

/// `NFTA_SET_ELEM_LIST_*` and `NFTA_SET_ELEM_*`
pub(super) mod element {
    constants!(u16: SET = 2, ELEMENTS = 3, SET_ID = 4);

    constants!(u16:
        KEY = 1, DATA = 2, FLAGS = 3, TIMEOUT = 4, EXPIRATION = 5, USERDATA = 6,
        EXPRESSION = 7, KEY_END = 10
    );
    // `NFT_SET_ELEM_INTERVAL_END`
    constants!(u32: INTERVAL_END = 1);
}

/// `NFT_REG_*`: the verdict, the 16-byte registers, and those of four bytes from number 8 on, of
/// which 8 to 11 are the parts of the first large one and 12 to 15 of the second.
pub(super) mod register {
    constants!(u32: VERDICT = 0, R1 = 1, R2 = 2, R32_1 = 9, R32_2 = 10, R32_5 = 13);
}

/// `NFTA_DATA_*`, `NFTA_VERDICT_*`, `NFT_*` verdicts (`NF_DROP`, `NF_ACCEPT`: linux/netfilter.h)
pub(super) mod data {
    constants!(u16: VALUE = 1, VERDICT = 2, VERDICT_CODE = 1, VERDICT_CHAIN = 2);

    constants!(i32: DROP = 0, ACCEPT = 1, CONTINUE = -1, JUMP = -3, GOTO = -4, RETURN = -5);
}

/// `NFTA_META_*`, `NFT_META_*`
pub(super) mod meta {
    expression_name!("meta");
    constants!(u16: DREG = 1, KEY = 2, SREG = 3);

    constants!(u32:
        PROTOCOL = 1, IIF = 4, OIF = 5, IIFNAME = 6, OIFNAME = 7, NFPROTO = 15, L4PROTO = 16
    );
}

/// `NFTA_PAYLOAD_*`, `NFT_PAYLOAD_*`
pub(super) mod payload {
    expression_name!("payload");
    constants!(u16:
        DREG = 1, BASE = 2, OFFSET = 3, LEN = 4, SREG = 5, CSUM_TYPE = 6, CSUM_OFFSET = 7
    );

    constants!(u32: NETWORK_HEADER = 1, TRANSPORT_HEADER = 2, CSUM_NONE = 0, CSUM_INET = 1);
}

/// `NFTA_CT_*`, `NFT_CT_*`; states are `NF_CT_STATE_BIT`s, directions `IP_CT_DIR_*`, the one status
/// is `IPS_DST_NAT`
/// (linux/netfilter/nf_conntrack_common.h, nf_conntrack_tuple_common.h)
pub(super) mod ct {
    expression_name!("ct");
    constants!(u16: DREG = 1, KEY = 2, DIRECTION = 3, SREG = 4);

    constants!(u32: STATE = 0, FLOW_DIRECTION = 1, STATUS = 2, PROTO_DST = 12, LABELS = 13);
    constants!(u8: ORIGINAL = 0, REPLY = 1);
    constants!(u32:
        INVALID = 1, ESTABLISHED = 1 << 1, RELATED = 1 << 2, NEW = 1 << 3, UNTRACKED = 1 << 6,
        DST_NAT = 1 << 5
    );
}

/// `NFTA_FIB_*`, `NFT_FIB_RESULT_ADDRTYPE`, `NFTA_FIB_F_SADDR` and `_DADDR`; `RTN_LOCAL`
/// (linux/rtnetlink.h)
pub(super) mod fib {
    expression_name!("fib");
    constants!(u16: DREG = 1, RESULT = 2, FLAGS = 3);

    constants!(u32: ADDRTYPE = 3, OIF = 1, F_SADDR = 1, F_DADDR = 2, F_IIF = 8,
        F_PRESENT = 32, RTN_UNICAST = 1, RTN_LOCAL = 2);
}

/// `NFTA_IMMEDIATE_*`
pub(super) mod immediate {
    expression_name!("immediate");
    constants!(u16: DREG = 1, DATA = 2);
}

/// `NFTA_BITWISE_*`
pub(super) mod bitwise {
    expression_name!("bitwise");
    constants!(u16: SREG = 1, DREG = 2, LEN = 3, MASK = 4, XOR = 5);
}

/// `NFTA_CMP_*`, `NFT_CMP_*`
pub(super) mod cmp {
    expression_name!("cmp");
    constants!(u16: SREG = 1, OP = 2, DATA = 3);

    constants!(u32: EQ = 0, NEQ = 1, LT = 2, LTE = 3, GT = 4, GTE = 5);
}

/// `NFTA_RANGE_*`, `NFT_RANGE_EQ`
pub(super) mod range {
    expression_name!("range");
    constants!(u16: SREG = 1, OP = 2, FROM_DATA = 3, TO_DATA = 4);

    constants!(u32: EQ = 0);
}

/// `NFTA_LOOKUP_*`; the only flag is `NFT_LOOKUP_F_INV`
pub(super) mod lookup {
    expression_name!("lookup");
    constants!(u16: SET = 1, SREG = 2, DREG = 3, SET_ID = 4, FLAGS = 5);
}

/// `NFTA_DYNSET_*`, `NFT_DYNSET_OP_UPDATE`
pub(super) mod dynset {
    expression_name!("dynset");
    constants!(u16: SET_NAME = 1, OP = 3, SREG_KEY = 4, TIMEOUT = 6);

    constants!(u32: UPDATE = 1);
}

/// `NFTA_NAT_*`, `NFT_NAT_DNAT`; flags are `NF_NAT_RANGE_*` (linux/netfilter/nf_nat.h)
pub(super) mod nat {
    expression_name!("nat");
    constants!(u16:
        TYPE = 1, FAMILY = 2, REG_ADDR_MIN = 3, REG_ADDR_MAX = 4, REG_PROTO_MIN = 5,
        REG_PROTO_MAX = 6, FLAGS = 7
    );

    constants!(u32: DNAT = 1, MAP_IPS = 1, PROTO_SPECIFIED = 2);
}

/// `NFTA_REDIR_*`
pub(super) mod redir {
    expression_name!("redir");
    constants!(u16: REG_PROTO_MIN = 1, REG_PROTO_MAX = 2, FLAGS = 3);
}

/// `NFTA_EXTHDR_*`
pub(super) mod exthdr {
    expression_name!("exthdr");
    constants!(u16: TYPE = 2, OFFSET = 3, LEN = 4, FLAGS = 5, OP = 6, SREG = 7);
}

/// `NFTA_OBJREF_*`, `NFT_OBJECT_*`
pub(super) mod objref {
    expression_name!("objref");
    constants!(u16: IMM_TYPE = 1, IMM_NAME = 2);

    constants!(u32: QUOTA = 2, LIMIT = 4, CONNLIMIT = 5, SYNPROXY = 10);
}

/// `NFTA_COUNTER_*`
pub(super) mod counter {
    expression_name!("counter");
    constants!(u16: BYTES = 1, PACKETS = 2);
}

/// `NFTA_LOG_*`
pub(super) mod log {
    expression_name!("log");
    constants!(u16: GROUP = 1, PREFIX = 2, QTHRESHOLD = 4);
}

/// An expression without attributes.
pub(super) mod notrack {
    expression_name!("notrack");
}

/// `NFTA_MATCH_*`: an extension of iptables (linux/netfilter/nf_tables_compat.h).
pub(super) mod xt_match {
    expression_name!("match");
    constants!(u16: NAME = 1, REVISION = 2, INFO = 3);
}

/// `NFTA_TARGET_*`: a target of iptables.
pub(super) mod xt_target {
    expression_name!("target");
    constants!(u16: NAME = 1, REVISION = 2, INFO = 3);
}

/// `NFTA_REJECT_*`, `NFT_REJECT_*`
pub(super) mod reject {
    expression_name!("reject");
    constants!(u16: TYPE = 1, ICMP_CODE = 2);

    constants!(u32: TCP_RST = 1, ICMPX_UNREACH = 2);
    constants!(u8: ICMPX_PORT_UNREACH = 1);
}

/// `NF_INET_PRE_ROUTING` (linux/netfilter.h)
pub(super) const HOOK_PREROUTING: u32 = 0;
/// `NF_INET_LOCAL_IN`
pub(super) const HOOK_INPUT: u32 = 1;
/// `NF_INET_FORWARD`
pub(super) const HOOK_FORWARD: u32 = 2;
/// `NF_INET_LOCAL_OUT`
pub(super) const HOOK_OUTPUT: u32 = 3;
/// `NF_INET_POST_ROUTING`
pub(super) const HOOK_POSTROUTING: u32 = 4;
/// `NF_INET_INGRESS`, of tables of family inet.
pub(super) const HOOK_INGRESS: u32 = 5;
/// `NF_NETDEV_INGRESS` and `NF_NETDEV_EGRESS` (linux/netfilter.h), of tables of family netdev.
pub(super) const HOOK_NETDEV_INGRESS: u32 = 0;
pub(super) const HOOK_NETDEV_EGRESS: u32 = 1;
/// Priority of conntrack in prerouting and output (`NF_IP_PRI_CONNTRACK`, linux/netfilter_ipv4.h).
pub(super) const CONNTRACK_PRIORITY: i32 = -200;

/// Refusals of a change to a table whose layout is not ours of today.
pub(super) const LAYOUT_REFUSALS: [i32; 6] =
    [libc::EEXIST, libc::EINVAL, libc::EOPNOTSUPP, libc::EBUSY, libc::ENOENT, libc::ENOTEMPTY];
