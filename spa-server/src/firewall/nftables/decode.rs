//! Expressions read from the kernel.

use super::abi::{
    self, bitwise, cmp, counter, ct, data, dynset, fib, immediate, log, lookup, meta, nat, payload,
    range, reject, rule,
};
use super::expression::{Count, Expression, Verdict, length};
use crate::firewall::netlink::Attrs;

/// Expression read from the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) expression: Expression,
    /// No attribute beyond those of the type says anything: each is zero.
    pub(super) exact: bool,
}

/// Reads the expressions of a rule, in order.
pub(super) fn decode_rule(expressions: &[u8]) -> Vec<Option<Decoded>> {
    Attrs(expressions).map(|(_, element)| Expression::decode(Attrs(element))).collect()
}

impl Expression {
    /// Reads name and attributes; `None` for an expression that is not of the type.
    pub(super) fn decode(element: Attrs<'_>) -> Option<Decoded> {
        // The kernel sends no attributes where it knows none.
        let attrs = element.nested(rule::EXPR_DATA).unwrap_or(Attrs(&[]));
        let mut f = Fields { attrs, read: 0, exact: true };
        let expression = match element.text(rule::EXPR_NAME)? {
            meta::EXPR => Self::Meta { into: f.u32(meta::DREG)?, key: f.u32(meta::KEY)? },
            payload::EXPR => decode_payload(&mut f)?,
            ct::EXPR => Self::Ct {
                into: f.u32(ct::DREG)?,
                key: f.u32(ct::KEY)?,
                direction: f.u8(ct::DIRECTION),
            },
            fib::EXPR => Self::Fib {
                into: f.u32(fib::DREG)?,
                result: f.u32(fib::RESULT)?,
                flags: f.u32(fib::FLAGS)?,
            },
            immediate::EXPR => decode_immediate(&mut f)?,
            bitwise::EXPR => {
                let (mask, xor) = (f.value(bitwise::MASK)?, f.value(bitwise::XOR)?);
                let len = f.u32(bitwise::LEN);
                f.require(len == Some(length(&mask)));
                Self::Bitwise {
                    from: f.u32(bitwise::SREG)?,
                    into: f.u32(bitwise::DREG)?,
                    mask,
                    xor,
                }
            }
            cmp::EXPR => Self::Cmp {
                register: f.u32(cmp::SREG)?,
                op: f.u32(cmp::OP)?,
                value: f.value(cmp::DATA)?,
            },
            range::EXPR => Self::Range {
                register: f.u32(range::SREG)?,
                op: f.u32(range::OP)?,
                first: f.value(range::FROM_DATA)?,
                last: f.value(range::TO_DATA)?,
            },
            // With a destination it is a map, whose values nobody here reads.
            lookup::EXPR if attrs.get(lookup::DREG).is_none() => {
                let flags = f.u32(lookup::FLAGS).unwrap_or_default();
                f.require(flags & !lookup::INVERTED == 0);
                Self::Lookup {
                    register: f.u32(lookup::SREG)?,
                    set: f.text(lookup::SET)?,
                    id: f.u32(lookup::SET_ID),
                    inverted: flags & lookup::INVERTED != 0,
                }
            }
            dynset::EXPR if f.u32(dynset::OP) == Some(dynset::UPDATE) => Self::Update {
                register: f.u32(dynset::SREG_KEY)?,
                set: f.text(dynset::SET_NAME)?,
                timeout_ms: f.u64(dynset::TIMEOUT)?,
            },
            nat::EXPR => decode_nat(&mut f)?,
            counter::EXPR => Self::Counter(Count {
                packets: f.u64(counter::PACKETS).unwrap_or_default(),
                bytes: f.u64(counter::BYTES).unwrap_or_default(),
            }),
            log::EXPR => Self::Log {
                group: f.u16(log::GROUP),
                prefix: f.text(log::PREFIX).unwrap_or_default(),
                threshold: f.u16(log::QTHRESHOLD).unwrap_or_default(),
            },
            abi::NOTRACK_EXPR => Self::Notrack,
            reject::EXPR => Self::Reject {
                kind: f.u32(reject::TYPE)?,
                code: f.u8(reject::ICMP_CODE).unwrap_or_default(),
            },
            _ => return None,
        };
        Some(Decoded { expression, exact: f.is_exact() })
    }
}

impl Verdict {
    fn decode(attrs: Attrs<'_>) -> Option<Self> {
        let chain = || attrs.text(data::VERDICT_CHAIN).map(str::to_owned);
        Some(match attrs.u32(data::VERDICT_CODE)?.cast_signed() {
            data::DROP => Self::Drop,
            data::ACCEPT => Self::Accept,
            data::RETURN => Self::Return,
            data::JUMP => Self::Jump(chain()?),
            data::GOTO => Self::Goto(chain()?),
            _ => Self::Continue,
        })
    }
}

fn decode_payload(f: &mut Fields<'_>) -> Option<Expression> {
    let (base, offset, len) =
        (f.u32(payload::BASE)?, f.u32(payload::OFFSET)?, f.u32(payload::LEN)?);
    if let Some(into) = f.u32(payload::DREG) {
        return Some(Expression::Payload { into, base, offset, len });
    }
    let kind = f.u32(payload::CSUM_TYPE).unwrap_or_default();
    let at = f.u32(payload::CSUM_OFFSET).unwrap_or_default();
    let checksum = (kind != 0).then_some(at);
    f.require(kind == payload::CSUM_INET || (kind == 0 && at == 0));
    let from = f.u32(payload::SREG)?;
    Some(Expression::SetPayload { from, base, offset, len, checksum })
}

fn decode_immediate(f: &mut Fields<'_>) -> Option<Expression> {
    let into = f.u32(immediate::DREG)?;
    if let Some(value) = f.value(immediate::DATA) {
        return Some(Expression::Load { into, value });
    }
    f.require(into == abi::register::VERDICT);
    let verdict = f.attrs.nested(immediate::DATA)?.nested(data::VERDICT)?;
    Verdict::decode(verdict).map(Expression::Verdict)
}

/// The kernel fills a maximum that was not told with the minimum, and adds flags for what there is.
fn decode_nat(f: &mut Fields<'_>) -> Option<Expression> {
    let (kind, family) = (f.u32(nat::TYPE)?, f.u32(nat::FAMILY)?);
    let (address, port) = (f.u32(nat::REG_ADDR_MIN)?, f.u32(nat::REG_PROTO_MIN));
    let last = f.u32(nat::REG_ADDR_MAX);
    f.require(last.is_none_or(|last| last == address));
    let last = f.u32(nat::REG_PROTO_MAX);
    f.require(last.is_none() || last == port);
    let flags = f.u32(nat::FLAGS).unwrap_or_default();
    f.require(flags & !(nat::MAP_IPS | nat::PROTO_SPECIFIED) == 0);
    Some(Expression::Nat { kind, family, address, port })
}

/// Attributes of one expression, with what was read of them.
struct Fields<'a> {
    attrs: Attrs<'a>,
    /// Bit n: attribute n was asked for.
    read: u64,
    exact: bool,
}

impl Fields<'_> {
    fn mark(&mut self, kind: u16) {
        self.read |= 1 << kind;
    }

    fn u8(&mut self, kind: u16) -> Option<u8> {
        self.mark(kind);
        self.attrs.get(kind)?.first().copied()
    }

    fn u16(&mut self, kind: u16) -> Option<u16> {
        self.mark(kind);
        self.attrs.u16(kind)
    }

    fn u32(&mut self, kind: u16) -> Option<u32> {
        self.mark(kind);
        self.attrs.u32(kind)
    }

    fn u64(&mut self, kind: u16) -> Option<u64> {
        self.mark(kind);
        self.attrs.u64(kind)
    }

    fn text(&mut self, kind: u16) -> Option<String> {
        self.mark(kind);
        self.attrs.text(kind).map(str::to_owned)
    }

    fn value(&mut self, kind: u16) -> Option<Vec<u8>> {
        self.mark(kind);
        self.attrs.nested(kind)?.get(data::VALUE).map(<[u8]>::to_vec)
    }

    /// Notes that an attribute says what the type does not.
    fn require(&mut self, holds: bool) {
        self.exact &= holds;
    }

    /// Whether nothing that was not read says anything.
    fn is_exact(&self) -> bool {
        let unread = |kind: u16| 1u64.checked_shl(kind.into()).is_none_or(|b| self.read & b == 0);
        self.exact
            && self.attrs.into_iter().all(|(k, value)| !unread(k) || value.iter().all(|b| *b == 0))
    }
}
