//! Effect of one of other people's rules on a packet, as far as it can be read.

use std::cmp::Ordering;
use std::net::IpAddr;

use super::packet::{Doubt, Packet, known_bytes};
use super::registers::{Registers, Truth, compare, doubt_of, equals, known_value};
use super::rules::{ForeignRules, ObjectName};
use super::sets::MapValue;
use super::step::{NewDestination, Step};
use super::xtables::{TargetEffect, match_packet, read_target};
use crate::firewall::nftables::abi::{self, cmp, nat, objref, payload, range};
use crate::firewall::nftables::compile::{DESTINATION_PORT, PORT_LEN};
use crate::firewall::nftables::expression::{Decoded, Expression, NamedExpression, RuleVerdict};

/// Those that compare, or write a register.
const LOADS: [&str; 19] = [
    "bitwise",
    "byteorder",
    "cmp",
    "ct",
    "exthdr",
    "fib",
    "hash",
    "immediate",
    "inner",
    "lookup",
    "match",
    "meta",
    "numgen",
    "osf",
    "range",
    "rt",
    "socket",
    "tunnel",
    "xfrm",
];
/// Expressions that let every packet pass on to the next one.
const WITHOUT_EFFECT: [&str; 5] = ["counter", "log", "last", "dup", "flow_offload"];
/// Those that hand the packet to somebody else.
const HANDS_OVER: [&str; 4] = ["queue", "fwd", "synproxy", "tproxy"];
/// Those that are true or not, for a reason that we do not read, and write no register.
const CONDITIONS: [&str; 4] = ["limit", "connlimit", "quota", "dynset"];

/// Name of a rewritten address or port, which conntrack does not know of.
const CHANGED_HEADER: &str = "a changed header";

/// Result of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RuleRun {
    /// Ends that it may come to; none: it does not match, or has no verdict.
    pub(super) steps: Vec<Step>,
    /// Why that is not certain, and what could not be read.
    pub(super) doubt: Option<(Doubt, String)>,
    /// It keeps the packet out of conntrack.
    pub(super) untracks: bool,
}

impl RuleRun {
    fn doubt(&mut self, doubt: Doubt, what: &str) {
        if self.doubt.as_ref().is_none_or(|(known, _)| *known < doubt) {
            self.doubt = Some((doubt, what.to_owned()));
        }
    }

    fn ends(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl ForeignRules {
    /// Runs the expressions of a rule.
    pub(super) fn run_rule(
        &self,
        chain: &ObjectName,
        rule: &[NamedExpression],
        packet: &Packet,
    ) -> RuleRun {
        let mut registers = Registers::new();
        let mut run = RuleRun::default();
        for NamedExpression { name, decoded } in rule {
            let expression = match decoded {
                _ if WITHOUT_EFFECT.contains(&&**name) => continue,
                Some(Decoded { expression, exact: true }) => expression,
                // A translation whose flags we do not know is one.
                Some(Decoded {
                    expression:
                        expression @ (Expression::Nat { .. } | Expression::SetPayload { .. }),
                    ..
                }) => expression,
                _ if HANDS_OVER.contains(&&**name) => {
                    return run.ends(Step::HandsOver(name.clone()));
                }
                _ if name == "nat" => {
                    let to = NewDestination { address: None, here: false, port: Some(None) };
                    return run.ends(Step::Translates(to));
                }
                // Of the source, which nobody asks for here.
                _ if name == "masq" => return run.ends(Step::Decides(RuleVerdict::Accept)),
                _ if CONDITIONS.contains(&&**name) => {
                    run.doubt(Doubt::Unread, name);
                    continue;
                }
                _ if LOADS.contains(&&**name) => {
                    run.doubt(Doubt::Unread, name);
                    registers.forget();
                    continue;
                }
                _ => return run.ends(Step::HandsOver(name.clone())),
            };
            let truth = match self.run_expression(chain, expression, packet, &mut registers) {
                Effect::Truth(truth) => truth,
                Effect::Untracks => {
                    run.untracks = true;
                    Truth::Holds
                }
                Effect::Ends(step) => return run.ends(step),
                Effect::Maps(truth, verdicts) => {
                    let doubt = match truth {
                        Truth::Fails => return RuleRun::default(),
                        Truth::Holds => None,
                        Truth::Doubted(doubt) => Some(doubt),
                    };
                    if let Some(doubt) = doubt {
                        run.doubt(doubt, "vmap");
                    } else if verdicts.len() > 1 {
                        run.doubt(Doubt::Unread, "vmap");
                    }
                    run.steps.extend(verdicts.into_iter().map(Step::Decides));
                    return run;
                }
            };
            match truth {
                Truth::Holds => {}
                Truth::Fails => return RuleRun::default(),
                Truth::Doubted(doubt) => run.doubt(doubt, said(name, expression)),
            }
        }
        run
    }

    fn run_expression(
        &self,
        chain: &ObjectName,
        expression: &Expression,
        packet: &Packet,
        registers: &mut Registers,
    ) -> Effect {
        let holds = Effect::Truth(Truth::Holds);
        match expression {
            Expression::Load { into, value } => {
                registers.write(*into, &known_bytes(value));
                holds
            }
            Expression::Bitwise { into, from, len, mask, xor } => {
                let mut value = registers.read(*from, *len as usize);
                for ((byte, mask), xor) in value.iter_mut().zip(mask).zip(xor) {
                    byte.known |= !mask;
                    byte.value = (byte.value & mask ^ xor) & byte.known;
                }
                registers.write(*into, &value);
                holds
            }
            Expression::Cmp { register, op, value } => {
                let found = registers.read(*register, value.len());
                let ordered = |wanted: fn(Ordering) -> bool| match compare(&found, value) {
                    Ok(order) => Truth::of(wanted(order)),
                    Err(doubt) => Truth::Doubted(doubt),
                };
                Effect::Truth(match *op {
                    cmp::EQ => equals(&found, value),
                    cmp::NEQ => equals(&found, value).inverted(true),
                    cmp::LT => ordered(Ordering::is_lt),
                    cmp::LTE => ordered(Ordering::is_le),
                    cmp::GT => ordered(Ordering::is_gt),
                    _ => ordered(Ordering::is_ge),
                })
            }
            Expression::Range { register, op, first, last } => {
                let found = registers.read(*register, first.len());
                let within = match (compare(&found, first), compare(&found, last)) {
                    (Ok(low), Ok(high)) => Truth::of(low.is_ge() && high.is_le()),
                    (Err(doubt), _) | (_, Err(doubt)) => Truth::Doubted(doubt),
                };
                Effect::Truth(within.inverted(*op != range::EQ))
            }
            Expression::Lookup { set, register, inverted, .. } => {
                Effect::Truth(match self.sets.get(&chain.beside(set)) {
                    Some(set) => {
                        let key = registers.read(*register, set.key_len());
                        set.find(&key).truth.inverted(*inverted)
                    }
                    // Sets that are looked up for nothing that is known are not read.
                    None => {
                        let key = registers.read(*register, 4);
                        Truth::Doubted(doubt_of(&key).unwrap_or(Doubt::Unread))
                    }
                })
            }
            Expression::Map { set, register, into, .. } => {
                self.run_map(chain, set, *register, *into, registers)
            }
            Expression::Match { name, revision, info } => {
                Effect::Truth(match_packet(name, *revision, &info.0, packet))
            }
            Expression::Target { name, info, .. } => {
                match read_target(name, chain.family, &info.0) {
                    TargetEffect::Nothing => holds,
                    TargetEffect::Untracks => Effect::Untracks,
                    TargetEffect::Ends(step) => Effect::Ends(step),
                }
            }
            Expression::Nat { kind: nat::DNAT, address, port, .. } => {
                let len = if packet.family == abi::NFPROTO_IPV4 { 4 } else { 16 };
                let address = address
                    .and_then(|register| known_value(&registers.read(register, len)))
                    .and_then(|bytes| read_address(&bytes));
                let port = port.map(|register| read_port(registers, register));
                Effect::Ends(Step::Translates(NewDestination { address, here: false, port }))
            }
            // Of the source.
            Expression::Nat { .. } => Effect::Ends(Step::Decides(RuleVerdict::Accept)),
            Expression::Redirect { port, .. } => {
                let port = port.map(|register| read_port(registers, register));
                let to = NewDestination { address: None, here: true, port };
                Effect::Ends(Step::Translates(to))
            }
            Expression::SetPayload { base, offset, len, .. } => {
                let end = offset.saturating_add(*len);
                let addresses = if packet.family == abi::NFPROTO_IPV4 { 12 } else { 8 };
                let moves = match *base {
                    payload::NETWORK_HEADER => end > addresses,
                    payload::TRANSPORT_HEADER => *offset < DESTINATION_PORT + PORT_LEN,
                    _ => true,
                };
                match moves {
                    true => Effect::Ends(Step::HandsOver(CHANGED_HEADER.to_owned())),
                    false => holds,
                }
            }
            Expression::Reject { .. } => Effect::Ends(Step::Refuses),
            Expression::Decide { verdict, .. } => Effect::Ends(Step::Decides(verdict.clone())),
            Expression::Notrack {} => Effect::Untracks,
            // Full, a set does not take it; nobody relies on that.
            Expression::Update { .. }
            | Expression::SetCt { .. }
            | Expression::SetMeta { .. }
            | Expression::SetOption { .. } => holds,
            Expression::Object { kind, .. } => match *kind {
                objref::QUOTA | objref::LIMIT | objref::CONNLIMIT => {
                    Effect::Truth(Truth::Doubted(Doubt::Unread))
                }
                objref::SYNPROXY => Effect::Ends(Step::HandsOver("synproxy".to_owned())),
                _ => holds,
            },
            // Conntrack has nothing to say of what it does not know, but for the state.
            Expression::Ct { key, .. } if !packet.tracked && *key != abi::ct::STATE => {
                Effect::Truth(Truth::Fails)
            }
            load => {
                if let Some((into, value)) = packet.load(load) {
                    registers.write(into, &value);
                }
                holds
            }
        }
    }

    fn run_map(
        &self,
        chain: &ObjectName,
        set: &str,
        register: u32,
        into: u32,
        registers: &mut Registers,
    ) -> Effect {
        let Some(set) = self.sets.get(&chain.beside(set)) else {
            registers.forget();
            return match into {
                abi::register::VERDICT => {
                    Effect::Ends(Step::HandsOver("a map of verdicts".to_owned()))
                }
                _ => Effect::Truth(Truth::Doubted(Doubt::Source)),
            };
        };
        let found = set.find(&registers.read(register, set.key_len()));
        if into == abi::register::VERDICT {
            let verdict = |value: &Option<&MapValue>| match value {
                Some(MapValue::Verdict(verdict)) => Some(verdict.clone()),
                _ => None,
            };
            return Effect::Maps(found.truth, found.values.iter().filter_map(verdict).collect());
        }
        match found.values.as_slice() {
            [Some(MapValue::Bytes(bytes))] => registers.write(into, &known_bytes(bytes)),
            _ => registers.forget(),
        }
        Effect::Truth(found.truth)
    }
}

/// Words of an expression.
enum Effect {
    Truth(Truth),
    Untracks,
    Ends(Step),
    /// Verdicts of a map for the keys that it may be.
    Maps(Truth, Vec<RuleVerdict>),
}

/// Name of what could not be read, in a word.
fn said<'e>(name: &'e str, expression: &'e Expression) -> &'e str {
    match expression {
        Expression::Match { name, .. } | Expression::Target { name, .. } => name,
        Expression::Lookup { set, .. } if !set.starts_with("__") => set,
        _ => name,
    }
}

fn read_port(registers: &Registers, register: u32) -> Option<u16> {
    let bytes = known_value(&registers.read(register, PORT_LEN as usize))?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

/// An address as it is in a register.
fn read_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok().or_else(v4)
}
