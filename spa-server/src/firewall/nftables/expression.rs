//! Expressions of a rule: the kernel's small machine of registers, loads, comparisons and acts.
//!
//! One table gives type, encoding and decoding, used by whoever writes rules (`compile.rs`), reads
//! ours back (`verify.rs`) and reads other people's (`foreign.rs`). `nft --debug=netlink` shows the
//! same expressions. Names and types of the attributes: linux/netfilter/nf_tables.h.

use super::abi::{
    bitwise, cmp, counter, ct, data, dynset, exthdr, fib, immediate, log, lookup, meta, nat,
    notrack, objref, payload, range, redir, reject, rule, xt_match, xt_target,
};
use super::attribute::{Attribute, Fields, RawBytes};
use crate::firewall::netlink::{Attrs, Nla};

/// Number of a register, `abi::register`.
pub(super) type Register = u32;

/// Expression read from the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// Expression with the attributes of its type.
    pub(super) expression: Expression,
    /// No attribute beyond those of the type says anything: each is zero.
    pub(super) exact: bool,
}

/// Makes the type of all expressions with its encoding and decoding from
/// `module::Variant { field: Type = ATTRIBUTE }`; the module in `abi` has the name of the
/// expression and its attributes.
macro_rules! expressions {
    ($(
        $(#[$doc:meta])*
        $module:ident::$variant:ident { $($field:ident: $type:ty = $attribute:ident),* }
    )+) => {
        /// Expression. Keys, operators and bases are the constants of `abi`.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(super) enum Expression {
            $($(#[$doc])* $variant { $($field: $type),* },)+
        }

        impl Expression {
            /// Writes name and attributes into a nest that is the expression.
            pub(super) fn encode(&self, n: &mut Nla) {
                match self {
                    $(Self::$variant { $($field),* } => {
                        n.put_str(rule::EXPR_NAME, $module::EXPRESSION_NAME);
                        n.nest(rule::EXPR_DATA, |n| {
                            let _ = &n;
                            $($field.put(n, $module::$attribute);)*
                        });
                    })+
                }
            }

            /// Reads name and attributes; `None` for an expression that is not of the type.
            pub(super) fn decode(element: Attrs<'_>) -> Option<Decoded> {
                let name = element.text(rule::EXPR_NAME)?;
                // The kernel sends no attributes where it knows none.
                let attrs = element.nested(rule::EXPR_DATA).unwrap_or(Attrs(&[]));
                $(
                    let decode = |fields: Fields<'_>| {
                        #[allow(unused_mut)]
                        let mut fields = fields;
                        let expression = Self::$variant {
                            $($field: Attribute::get(&mut fields, $module::$attribute)?),*
                        };
                        Some(Decoded { expression, exact: fields.all_read() })
                    };
                    if name == $module::EXPRESSION_NAME
                        && let Some(decoded) = decode(Fields::new(attrs))
                    {
                        return Some(decoded);
                    }
                )+
                None
            }
        }
    };
}

expressions! {
    /// Loads something about the packet that is not in it.
    meta::Meta { into: Register = DREG, key: u32 = KEY }
    /// Changes something about the packet that is not in it.
    meta::SetMeta { from: Register = SREG, key: u32 = KEY }
    /// Writes bytes of an option or extension header.
    exthdr::SetOption {
        from: Register = SREG, kind: Option<u8> = TYPE, offset: Option<u32> = OFFSET,
        len: Option<u32> = LEN, flags: Option<u32> = FLAGS, op: Option<u32> = OP
    }
    /// Hands the packet to a named object.
    objref::Object { kind: u32 = IMM_TYPE, name: String = IMM_NAME }
    /// Loads bytes of a header.
    payload::Payload {
        into: Register = DREG, base: u32 = BASE, offset: u32 = OFFSET, len: u32 = LEN
    }
    /// Writes bytes of a header, and mends its checksum.
    payload::SetPayload {
        from: Register = SREG, base: u32 = BASE, offset: u32 = OFFSET, len: u32 = LEN,
        checksum: u32 = CSUM_TYPE, checksum_offset: u32 = CSUM_OFFSET
    }
    /// Loads something that conntrack knows of the flow.
    ct::Ct { into: Register = DREG, key: u32 = KEY, direction: Option<u8> = DIRECTION }
    /// Changes something that conntrack keeps of the flow.
    ct::SetCt { from: Register = SREG, key: u32 = KEY }
    /// Loads what the routing tables say.
    fib::Fib { into: Register = DREG, result: u32 = RESULT, flags: u32 = FLAGS }
    /// Loads a constant.
    immediate::Load { into: Register = DREG, value: Vec<u8> = DATA }
    /// Ends the rule.
    immediate::Decide { into: Register = DREG, verdict: RuleVerdict = DATA }
    /// Masks a register: `into = from & mask ^ xor`.
    bitwise::Bitwise {
        from: Register = SREG, into: Register = DREG, len: u32 = LEN, mask: Vec<u8> = MASK,
        xor: Vec<u8> = XOR
    }
    /// Ends the rule unless the comparison holds.
    cmp::Cmp { register: Register = SREG, op: u32 = OP, value: Vec<u8> = DATA }
    /// Ends the rule unless the register is within, or with another operator outside.
    range::Range {
        register: Register = SREG, op: u32 = OP, first: Vec<u8> = FROM_DATA, last: Vec<u8> = TO_DATA
    }
    /// Loads what a map has for the register, or ends the rule: another register, or the verdict.
    lookup::Map {
        set: String = SET, register: Register = SREG, into: Register = DREG,
        id: Option<u32> = SET_ID
    }
    /// Ends the rule unless the register is in the set, or inverted not in it.
    lookup::Lookup {
        set: String = SET, register: Register = SREG, id: Option<u32> = SET_ID,
        inverted: bool = FLAGS
    }
    /// Writes the register into the set for a time.
    dynset::Update {
        set: String = SET_NAME, op: u32 = OP, register: Register = SREG_KEY,
        timeout_ms: u64 = TIMEOUT
    }
    /// Translates addresses and ports of the flow, those for which there is a register.
    nat::Nat {
        kind: u32 = TYPE, family: u32 = FAMILY, address: Option<Register> = REG_ADDR_MIN,
        last_address: Option<Register> = REG_ADDR_MAX, port: Option<Register> = REG_PROTO_MIN,
        last_port: Option<Register> = REG_PROTO_MAX, flags: Option<u32> = FLAGS
    }
    /// Sends the flow to this host itself, to another port if there is a register for it.
    redir::Redirect {
        port: Option<Register> = REG_PROTO_MIN, last_port: Option<Register> = REG_PROTO_MAX,
        flags: Option<u32> = FLAGS
    }
    /// Counts packets and bytes, from these on.
    counter::Counter { bytes: u64 = BYTES, packets: u64 = PACKETS }
    /// Copies the packet to an NFLOG group, or to the kernel's log.
    log::Log {
        group: Option<u16> = GROUP, prefix: Option<String> = PREFIX,
        threshold: Option<u16> = QTHRESHOLD
    }
    /// Keeps the packet out of conntrack.
    notrack::Notrack {}
    /// Ends the rule unless an extension of iptables says that it matches.
    xt_match::Match { name: String = NAME, revision: u32 = REVISION, info: RawBytes = INFO }
    /// Hands the packet to a target of iptables.
    xt_target::Target { name: String = NAME, revision: u32 = REVISION, info: RawBytes = INFO }
    /// Refuses the packet and tells its sender.
    reject::Reject { kind: u32 = TYPE, code: Option<u8> = ICMP_CODE }
}

/// Reads the expressions of a rule, in order.
pub(super) fn decode_rule(expressions: &[u8]) -> Vec<Option<Decoded>> {
    Attrs(expressions).map(|(_, element)| Expression::decode(Attrs(element))).collect()
}

/// Expression as far as it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedExpression {
    /// The kernel's name of its type.
    pub(super) name: String,
    /// `None` for a type that we do not know.
    pub(super) decoded: Option<Decoded>,
}

/// Reads the expressions of a rule with their names, in order.
pub(super) fn decode_named(expressions: &[u8]) -> Vec<NamedExpression> {
    let read = |(_, element)| NamedExpression {
        name: Attrs(element).text(rule::EXPR_NAME).unwrap_or_default().to_owned(),
        decoded: Expression::decode(Attrs(element)),
    };
    Attrs(expressions).map(read).collect()
}

/// Verdict of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RuleVerdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    /// Next rule, or next expression.
    Continue,
}

impl Attribute for RuleVerdict {
    fn put(&self, n: &mut Nla, kind: u16) {
        let (code, chain) = match self {
            Self::Drop => (data::DROP, None),
            Self::Accept => (data::ACCEPT, None),
            Self::Return => (data::RETURN, None),
            Self::Jump(chain) => (data::JUMP, Some(chain)),
            Self::Goto(chain) => (data::GOTO, Some(chain)),
            Self::Continue => (data::CONTINUE, None),
        };
        n.nest(kind, |n| {
            n.nest(data::VERDICT, |n| {
                n.put_u32(data::VERDICT_CODE, code.cast_unsigned());
                if let Some(chain) = chain {
                    n.put_str(data::VERDICT_CHAIN, chain);
                }
            });
        });
    }

    fn get(fields: &mut Fields<'_>, kind: u16) -> Option<Self> {
        let verdict = Attrs(fields.bytes(kind)?).nested(data::VERDICT)?;
        let chain = || verdict.text(data::VERDICT_CHAIN).map(str::to_owned);
        Some(match verdict.u32(data::VERDICT_CODE)?.cast_signed() {
            data::DROP => Self::Drop,
            data::ACCEPT => Self::Accept,
            data::RETURN => Self::Return,
            data::JUMP => Self::Jump(chain()?),
            data::GOTO => Self::Goto(chain()?),
            _ => Self::Continue,
        })
    }
}

/// Figures of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Count {
    /// Packets counted.
    pub(super) packets: u64,
    /// Bytes of those packets, IP headers included.
    pub(super) bytes: u64,
}

impl Count {
    /// Counter that begins here.
    pub(super) fn expression(self) -> Expression {
        Expression::Counter { bytes: self.bytes, packets: self.packets }
    }
}

impl std::iter::Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, count| Self {
            packets: sum.packets.saturating_add(count.packets),
            bytes: sum.bytes.saturating_add(count.bytes),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn decode(expression: &Expression, beyond: &[u8]) -> Option<Decoded> {
        let mut n = Nla::new();
        n.put_str(rule::EXPR_NAME, cmp::EXPRESSION_NAME);
        n.nest(rule::EXPR_DATA, |n| {
            let mut whole = Nla::new();
            expression.encode(&mut whole);
            n.raw(Attrs(whole.bytes()).get(rule::EXPR_DATA).unwrap());
            n.put(60, beyond);
        });
        Expression::decode(Attrs(n.bytes()))
    }

    #[test]
    fn what_is_encoded_is_decoded_and_more_is_noticed() {
        let expression = Expression::Cmp { register: 1, op: cmp::EQ, value: vec![7] };
        for (beyond, exact) in [(&[0u8; 4], true), (&[0, 0, 0, 1], false)] {
            let decoded = decode(&expression, beyond).unwrap();
            assert_eq!(decoded, Decoded { expression: expression.clone(), exact });
        }
        for expression in [
            Expression::Decide { into: 0, verdict: RuleVerdict::Jump("input".to_owned()) },
            Expression::Load { into: 1, value: vec![1, 2] },
            Expression::Notrack {},
            Expression::Reject { kind: reject::TCP_RST, code: None },
        ] {
            let mut n = Nla::new();
            expression.encode(&mut n);
            let decoded = Expression::decode(Attrs(n.bytes()));
            assert_eq!(decoded, Some(Decoded { expression, exact: true }));
        }
    }
}
