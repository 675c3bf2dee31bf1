//! Numbers of the kernel's nf_tables interface (linux/netfilter/nf_tables.h, linux/netfilter.h).

/// `NFNL_SUBSYS_NFTABLES`
pub(super) const SUBSYSTEM: u16 = 10;
/// `NFPROTO_INET`, `NFPROTO_IPV4`, `NFPROTO_IPV6`
pub(super) const INET: u8 = 1;
pub(super) const IPV4: u8 = 2;
pub(super) const IPV6: u8 = 10;

/// `NFT_MSG_*` with the subsystem in the high byte.
pub(super) mod msg {
    const BASE: u16 = super::SUBSYSTEM << 8;
    pub(crate) const NEW_TABLE: u16 = BASE;
    pub(crate) const GET_TABLE: u16 = BASE | 1;
    pub(crate) const DEL_TABLE: u16 = BASE | 2;
    pub(crate) const NEW_CHAIN: u16 = BASE | 3;
    pub(crate) const GET_CHAIN: u16 = BASE | 4;
    pub(crate) const NEW_RULE: u16 = BASE | 6;
    pub(crate) const GET_RULE: u16 = BASE | 7;
    pub(crate) const DEL_RULE: u16 = BASE | 8;
    pub(crate) const NEW_SET: u16 = BASE | 9;
    pub(crate) const GET_SET: u16 = BASE | 10;
    pub(crate) const NEW_ELEMENT: u16 = BASE | 12;
    pub(crate) const GET_ELEMENT: u16 = BASE | 13;
    pub(crate) const DEL_ELEMENT: u16 = BASE | 14;
    pub(crate) const NEW_GENERATION: u16 = BASE | 15;
}

/// `NFTA_LIST_ELEM`
pub(super) const LIST_ELEM: u16 = 1;
/// `NFTA_DATA_VALUE`, `NFTA_DATA_VERDICT`
pub(super) const DATA_VALUE: u16 = 1;
pub(super) const DATA_VERDICT: u16 = 2;
/// The name of the table: the first attribute of every message but the generation's.
pub(super) const TABLE: u16 = 1;
/// `NFTA_TABLE_FLAGS`; the only flag that a table of ours could have got from others is
/// `NFT_TABLE_F_DORMANT`.
pub(super) const TABLE_FLAGS: u16 = 2;

/// `NFTA_CHAIN_*`, `NFTA_HOOK_*`
pub(super) mod chain {
    pub(crate) const NAME: u16 = 3;
    pub(crate) const HOOK: u16 = 4;
    pub(crate) const POLICY: u16 = 5;
    pub(crate) const TYPE: u16 = 7;
    pub(crate) const HOOK_NUMBER: u16 = 1;
    pub(crate) const HOOK_PRIORITY: u16 = 2;
}

/// `NFTA_RULE_*`
pub(super) mod rule {
    pub(crate) const CHAIN: u16 = 2;
    pub(crate) const EXPRESSIONS: u16 = 4;
    pub(crate) const EXPR_NAME: u16 = 1;
    pub(crate) const EXPR_DATA: u16 = 2;
}

/// `NFTA_SET_*` and `NFT_SET_*`
pub(super) mod set {
    pub(crate) const NAME: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const KEY_TYPE: u16 = 4;
    pub(crate) const KEY_LEN: u16 = 5;
    pub(crate) const DESC: u16 = 9;
    pub(crate) const ID: u16 = 10;
    pub(crate) const USERDATA: u16 = 13;
    /// What every element of the set carries, e.g. a counter.
    pub(crate) const EXPRESSION: u16 = 17;
    pub(crate) const DESC_SIZE: u16 = 1;
    /// The lengths of the parts of a concatenation.
    pub(crate) const DESC_CONCAT: u16 = 2;
    pub(crate) const FIELD_LEN: u16 = 1;

    pub(crate) const ANONYMOUS: u32 = 1;
    pub(crate) const CONSTANT: u32 = 2;
    pub(crate) const INTERVAL: u32 = 4;
    pub(crate) const TIMEOUT: u32 = 0x10;
    /// Written by rules (`dynamic`).
    pub(crate) const EVAL: u32 = 0x20;
    /// A concatenation of intervals.
    pub(crate) const CONCAT: u32 = 0x80;
}

/// `NFTA_SET_ELEM_LIST_*` and `NFTA_SET_ELEM_*`
pub(super) mod element {
    pub(crate) const SET: u16 = 2;
    pub(crate) const ELEMENTS: u16 = 3;
    pub(crate) const SET_ID: u16 = 4;

    pub(crate) const KEY: u16 = 1;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const TIMEOUT: u16 = 4;
    pub(crate) const EXPIRATION: u16 = 5;
    pub(crate) const USERDATA: u16 = 6;
    pub(crate) const EXPRESSION: u16 = 7;
    pub(crate) const KEY_END: u16 = 10;
    /// `NFT_SET_ELEM_INTERVAL_END`
    pub(crate) const INTERVAL_END: u32 = 1;
}

/// `NFTA_COUNTER_*`
pub(super) mod counter {
    pub(crate) const BYTES: u16 = 1;
    pub(crate) const PACKETS: u16 = 2;
}

/// Verdicts: `NF_DROP`, `NF_ACCEPT`, `NFT_JUMP`, `NFT_RETURN`
pub(super) const DROP: i32 = 0;
pub(super) const ACCEPT: i32 = 1;
pub(super) const JUMP: i32 = -3;
pub(super) const RETURN: i32 = -5;

/// Hooks: `NF_INET_PRE_ROUTING`, `NF_INET_LOCAL_IN`, `NF_INET_FORWARD`, `NF_INET_LOCAL_OUT`
pub(super) const PREROUTING: u32 = 0;
pub(super) const INPUT: u32 = 1;
pub(super) const FORWARD: u32 = 2;
pub(super) const OUTPUT: u32 = 3;

/// Refusals of a change to a table whose layout is not ours of today.
pub(super) const REFUSALS: [i32; 6] =
    [libc::EEXIST, libc::EINVAL, libc::EOPNOTSUPP, libc::EBUSY, libc::ENOENT, libc::ENOTEMPTY];
