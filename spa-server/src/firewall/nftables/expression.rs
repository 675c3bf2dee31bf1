//! Expressions of a rule: the kernel's small machine of registers, loads, comparisons and acts.
//!
//! One type with one encoding and one decoding, used by whoever writes rules (`compile.rs`), reads
//! ours back (`verify.rs`) and reads other people's (`foreign.rs`). `nft --debug=netlink` shows the
//! same expressions.

use super::abi::{
    self, bitwise, cmp, counter, ct, data, dynset, fib, immediate, log, lookup, meta, nat, payload,
    range, reject, rule,
};
use crate::firewall::netlink::Nla;

/// Number of a register, `abi::register`.
pub(super) type Register = u32;

/// One expression. Keys, operators and bases are the constants of `abi`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// Loads something about the packet that is not in it.
    Meta { into: Register, key: u32 },
    /// Loads bytes of a header.
    Payload { into: Register, base: u32, offset: u32, len: u32 },
    /// Writes bytes of a header, and mends the IPv4 checksum at this offset.
    SetPayload { from: Register, base: u32, offset: u32, len: u32, checksum: Option<u32> },
    /// Loads something that conntrack knows of the flow.
    Ct { into: Register, key: u32, direction: Option<u8> },
    /// Loads what the routing tables say.
    Fib { into: Register, result: u32, flags: u32 },
    /// Loads a constant.
    Load { into: Register, value: Vec<u8> },
    /// Masks a register: `into = from & mask ^ xor`.
    Bitwise { into: Register, from: Register, mask: Vec<u8>, xor: Vec<u8> },
    /// Ends the rule unless the comparison holds.
    Cmp { register: Register, op: u32, value: Vec<u8> },
    /// Ends the rule unless the register is within, or with `range::NEQ` outside.
    Range { register: Register, op: u32, first: Vec<u8>, last: Vec<u8> },
    /// Ends the rule unless the register is in the set, or inverted not in it.
    Lookup { register: Register, set: String, id: Option<u32>, inverted: bool },
    /// Puts the register into the set for a time.
    Update { register: Register, set: String, timeout_ms: u64 },
    /// Translates the destination of the flow; one that has a port register gets a new port.
    Nat { kind: u32, family: u32, address: Register, port: Option<Register> },
    /// Counts packets and bytes, from these on.
    Counter(Count),
    /// Copies the packet to an NFLOG group, or to the kernel's log.
    Log { group: Option<u16>, prefix: String, threshold: u16 },
    /// Keeps the packet out of conntrack.
    Notrack,
    /// Refuses the packet and tells its sender.
    Reject { kind: u32, code: u8 },
    /// Ends the rule.
    Verdict(Verdict),
}

/// Verdict of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    /// Next rule, or next expression.
    Continue,
}

/// Figures of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Count {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl std::iter::Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, count| Self {
            packets: sum.packets.saturating_add(count.packets),
            bytes: sum.bytes.saturating_add(count.bytes),
        })
    }
}

impl Expression {
    /// Writes name and attributes into a nest that is the expression.
    pub(super) fn encode(&self, n: &mut Nla) {
        n.put_str(rule::EXPR_NAME, self.name());
        n.nest(rule::EXPR_DATA, |n| self.encode_attributes(n));
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Meta { .. } => meta::EXPR,
            Self::Payload { .. } | Self::SetPayload { .. } => payload::EXPR,
            Self::Ct { .. } => ct::EXPR,
            Self::Fib { .. } => fib::EXPR,
            Self::Load { .. } | Self::Verdict(_) => immediate::EXPR,
            Self::Bitwise { .. } => bitwise::EXPR,
            Self::Cmp { .. } => cmp::EXPR,
            Self::Range { .. } => range::EXPR,
            Self::Lookup { .. } => lookup::EXPR,
            Self::Update { .. } => dynset::EXPR,
            Self::Nat { .. } => nat::EXPR,
            Self::Counter(_) => counter::EXPR,
            Self::Log { .. } => log::EXPR,
            Self::Notrack => abi::NOTRACK_EXPR,
            Self::Reject { .. } => reject::EXPR,
        }
    }

    fn encode_attributes(&self, n: &mut Nla) {
        let put_value =
            |n: &mut Nla, kind, value: &[u8]| n.nest(kind, |n| n.put(data::VALUE, value));
        match self {
            Self::Meta { into, key } => {
                n.put_u32(meta::DREG, *into);
                n.put_u32(meta::KEY, *key);
            }
            Self::Payload { into, base, offset, len } => {
                n.put_u32(payload::DREG, *into);
                n.put_u32(payload::BASE, *base);
                n.put_u32(payload::OFFSET, *offset);
                n.put_u32(payload::LEN, *len);
            }
            Self::SetPayload { from, base, offset, len, checksum } => {
                n.put_u32(payload::SREG, *from);
                n.put_u32(payload::BASE, *base);
                n.put_u32(payload::OFFSET, *offset);
                n.put_u32(payload::LEN, *len);
                n.put_u32(payload::CSUM_TYPE, checksum.map_or(0, |_| payload::CSUM_INET));
                n.put_u32(payload::CSUM_OFFSET, checksum.unwrap_or(0));
            }
            Self::Ct { into, key, direction } => {
                n.put_u32(ct::DREG, *into);
                n.put_u32(ct::KEY, *key);
                if let Some(direction) = direction {
                    n.put_u8(ct::DIRECTION, *direction);
                }
            }
            Self::Fib { into, result, flags } => {
                n.put_u32(fib::DREG, *into);
                n.put_u32(fib::RESULT, *result);
                n.put_u32(fib::FLAGS, *flags);
            }
            Self::Load { into, value } => {
                n.put_u32(immediate::DREG, *into);
                put_value(n, immediate::DATA, value);
            }
            Self::Bitwise { into, from, mask, xor } => {
                n.put_u32(bitwise::SREG, *from);
                n.put_u32(bitwise::DREG, *into);
                n.put_u32(bitwise::LEN, length(mask));
                put_value(n, bitwise::MASK, mask);
                put_value(n, bitwise::XOR, xor);
            }
            Self::Cmp { register, op, value } => {
                n.put_u32(cmp::SREG, *register);
                n.put_u32(cmp::OP, *op);
                put_value(n, cmp::DATA, value);
            }
            Self::Range { register, op, first, last } => {
                n.put_u32(range::SREG, *register);
                n.put_u32(range::OP, *op);
                put_value(n, range::FROM_DATA, first);
                put_value(n, range::TO_DATA, last);
            }
            Self::Lookup { register, set, id, inverted } => {
                n.put_str(lookup::SET, set);
                n.put_u32(lookup::SREG, *register);
                if let Some(id) = id {
                    n.put_u32(lookup::SET_ID, *id);
                }
                if *inverted {
                    n.put_u32(lookup::FLAGS, lookup::INVERTED);
                }
            }
            Self::Update { register, set, timeout_ms } => {
                n.put_str(dynset::SET_NAME, set);
                n.put_u32(dynset::OP, dynset::UPDATE);
                n.put_u32(dynset::SREG_KEY, *register);
                n.put_u64(dynset::TIMEOUT, *timeout_ms);
            }
            Self::Nat { kind, family, address, port } => {
                n.put_u32(nat::TYPE, *kind);
                n.put_u32(nat::FAMILY, *family);
                n.put_u32(nat::REG_ADDR_MIN, *address);
                if let Some(port) = port {
                    n.put_u32(nat::REG_PROTO_MIN, *port);
                }
            }
            Self::Counter(count) => {
                n.put_u64(counter::BYTES, count.bytes);
                n.put_u64(counter::PACKETS, count.packets);
            }
            Self::Log { group, prefix, threshold } => {
                if let Some(group) = group {
                    n.put_u16(log::GROUP, *group);
                }
                if !prefix.is_empty() {
                    n.put_str(log::PREFIX, prefix);
                }
                if *threshold != 0 {
                    n.put_u16(log::QTHRESHOLD, *threshold);
                }
            }
            Self::Notrack => (),
            Self::Reject { kind, code } => {
                n.put_u32(reject::TYPE, *kind);
                n.put_u8(reject::ICMP_CODE, *code);
            }
            Self::Verdict(verdict) => {
                n.put_u32(immediate::DREG, abi::register::VERDICT);
                n.nest(immediate::DATA, |n| n.nest(data::VERDICT, |n| verdict.encode(n)));
            }
        }
    }
}

impl Verdict {
    fn encode(&self, n: &mut Nla) {
        let (code, chain) = match self {
            Self::Drop => (data::DROP, None),
            Self::Accept => (data::ACCEPT, None),
            Self::Return => (data::RETURN, None),
            Self::Jump(chain) => (data::JUMP, Some(chain)),
            Self::Goto(chain) => (data::GOTO, Some(chain)),
            Self::Continue => (data::CONTINUE, None),
        };
        n.put_u32(data::VERDICT_CODE, code.cast_unsigned());
        if let Some(chain) = chain {
            n.put_str(data::VERDICT_CHAIN, chain);
        }
    }
}

/// Length of a value in bytes.
pub(super) fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
