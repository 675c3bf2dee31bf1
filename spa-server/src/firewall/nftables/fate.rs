//! Fate of the first packet to a port in other people's chains.
//!
//! Only what is certain counts: a rule that asks something we cannot know beforehand (a source, an
//! interface) is passed over, whatever it would do. Behind one that cannot be read, and may have
//! spared the packet, nothing is certain any more.

use std::collections::HashMap;
use std::net::IpAddr;

use super::abi::{self, cmp, nat, range};
use super::expression::{Decoded, Expression, RuleVerdict};
use super::first_packet::{FirstPacket, load_known};
use super::foreign::{BaseChain, ForeignRules, ObjectName};
use super::set_keys::contains;
use super::xtables::{match_first_packet, read_dnat};

/// Most jumps that are followed; the kernel's own bound (`NFT_JUMP_STACK_SIZE`).
const MAX_JUMPS: usize = 16;
/// Most rules that one packet is run through. Chains that several rules jump to, in each of 16
/// levels, would be walked for hours.
const MAX_STEPS: u32 = 100_000;

/// Targets of iptables behind which the next rule is asked.
const PASSING_TARGETS: [&str; 5] = ["LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS"];

/// End of a packet in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Accepted,
    /// By this rule; by the policy when there is none.
    Dropped(Option<RuleLocation>),
    /// By this rule, and the sender is told.
    Refused(RuleLocation),
    Undecided,
}

/// Effect of a rule on a packet.
enum Step {
    /// It does not match, or has no verdict.
    Passes,
    Refuses,
    /// Sends it to this address, if that can be read.
    Translates(Option<IpAddr>),
    Decides(RuleVerdict),
}

/// Effect of an expression on its rule.
enum Effect {
    Holds,
    Fails,
    Ends(Step),
}

/// State of a walk through chains.
struct Walk {
    /// A rule that cannot be read may have spared the packet.
    spared: bool,
    /// Rules that it may still be run through.
    steps: u32,
}

impl Walk {
    fn new() -> Self {
        Self { spared: false, steps: MAX_STEPS }
    }

    /// Counts a rule; false when there were too many. What was not read may have spared it too.
    fn take_step(&mut self) -> bool {
        let left = self.steps.checked_sub(1);
        self.spared |= left.is_none();
        self.steps = left.unwrap_or(0);
        left.is_some()
    }
}

/// Values by the numbers of their registers.
type Registers = HashMap<u32, Vec<u8>>;

/// Location of a rule, as `nft -a list ruleset` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RuleLocation {
    /// Name of the chain.
    pub(super) chain: String,
    /// Number of the rule within its table.
    pub(super) handle: u64,
}

impl ForeignRules {
    /// Follows a packet through a base chain, its policy included, as far as that is certain: a
    /// rule that cannot be read may have spared it before.
    pub(super) fn certain_fate(&self, base: &BaseChain, packet: FirstPacket) -> Fate {
        let mut walk = Walk::new();
        match self.follow(base, packet, &mut walk) {
            Fate::Dropped(_) | Fate::Refused(_) if walk.spared => Fate::Undecided,
            fate => fate,
        }
    }

    /// The same for a packet that nobody expects: no rule that cannot be read is meant for it.
    pub(super) fn likely_fate(&self, base: &BaseChain, packet: FirstPacket) -> Fate {
        self.follow(base, packet, &mut Walk::new())
    }

    fn follow(&self, base: &BaseChain, packet: FirstPacket, walk: &mut Walk) -> Fate {
        if base.name.family != abi::NFPROTO_INET && base.name.family != packet.family {
            return Fate::Undecided;
        }
        match self.walk_chain(&base.name, packet, MAX_JUMPS, walk) {
            Fate::Undecided if base.drops => Fate::Dropped(None),
            fate => fate,
        }
    }

    fn walk_chain(
        &self,
        chain: &ObjectName,
        packet: FirstPacket,
        jumps: usize,
        walk: &mut Walk,
    ) -> Fate {
        for (handle, rule) in self.rules.get(chain).into_iter().flatten() {
            if !walk.take_step() {
                return Fate::Undecided;
            }
            let here = || RuleLocation { chain: chain.name.clone(), handle: *handle };
            let (to, returns) = match self.run_rule(chain, rule, packet, false) {
                None => {
                    walk.spared |= may_spare(rule);
                    continue;
                }
                Some(Step::Passes | Step::Decides(RuleVerdict::Continue)) => continue,
                Some(Step::Refuses) => return Fate::Refused(here()),
                Some(Step::Translates(_) | Step::Decides(RuleVerdict::Accept)) => {
                    return Fate::Accepted;
                }
                Some(Step::Decides(RuleVerdict::Drop)) => return Fate::Dropped(Some(here())),
                Some(Step::Decides(RuleVerdict::Return)) => return Fate::Undecided,
                Some(Step::Decides(RuleVerdict::Jump(to))) => (to, true),
                Some(Step::Decides(RuleVerdict::Goto(to))) => (to, false),
            };
            let Some(jumps) = jumps.checked_sub(1) else { return Fate::Undecided };
            let fate = self.walk_chain(&chain.beside(&to), packet, jumps, walk);
            if fate != Fate::Undecided || !returns {
                return fate;
            }
        }
        Fate::Undecided
    }

    /// Runs a rule's expressions; `None` when it asks what we do not know, unless that counts as
    /// true.
    fn run_rule(
        &self,
        chain: &ObjectName,
        rule: &[Option<Decoded>],
        packet: FirstPacket,
        unknown_holds: bool,
    ) -> Option<Step> {
        let mut registers = Registers::new();
        for decoded in rule {
            let effect = decoded
                .as_ref()
                .and_then(|decoded| self.run_expression(chain, decoded, packet, &mut registers));
            match effect {
                Some(Effect::Holds) => {}
                Some(Effect::Fails) => return Some(Step::Passes),
                Some(Effect::Ends(step)) => return Some(step),
                None if unknown_holds => registers.clear(),
                None => return None,
            }
        }
        Some(Step::Passes)
    }

    fn run_expression(
        &self,
        chain: &ObjectName,
        Decoded { expression, exact }: &Decoded,
        packet: FirstPacket,
        registers: &mut Registers,
    ) -> Option<Effect> {
        let holds = match expression {
            Expression::Counter { .. } | Expression::Log { .. } => true,
            Expression::Load { into, value } => {
                registers.insert(*into, value.clone());
                true
            }
            Expression::Bitwise { into, from, mask, xor, .. } => {
                let from: &Vec<u8> = registers.get(from)?;
                let bytes = from.iter().zip(mask).zip(xor);
                let bytes = bytes.map(|((b, m), x)| b & m ^ x).collect();
                registers.insert(*into, bytes);
                true
            }
            Expression::Cmp { register, op, value } => {
                let order = registers.get(register)?.cmp(value);
                match *op {
                    cmp::EQ => order.is_eq(),
                    cmp::NEQ => order.is_ne(),
                    cmp::LT => order.is_lt(),
                    cmp::LTE => order.is_le(),
                    cmp::GT => order.is_gt(),
                    _ => order.is_ge(),
                }
            }
            Expression::Range { register, op, first, last } => {
                let within = (first..=last).contains(&registers.get(register)?);
                within == (*op == range::EQ)
            }
            // With a destination it is a map, whose values we do not read.
            Expression::Lookup { register, set, inverted, .. } if *exact => {
                let keys = self.sets.get(&chain.beside(set))?;
                contains(keys, registers.get(register)?) != *inverted
            }
            Expression::Match { name, revision, info } => {
                match_first_packet(name, *revision, &info.0)?
            }
            Expression::Target { name, info, .. } => match name.as_str() {
                passing if PASSING_TARGETS.contains(&passing) => true,
                "REJECT" => return Some(Effect::Ends(Step::Refuses)),
                "DNAT" => {
                    let to = read_dnat(chain.family, &info.0);
                    return Some(Effect::Ends(Step::Translates(to)));
                }
                _ => return None,
            },
            Expression::Nat { kind: nat::DNAT, address, .. } => {
                let to = registers.get(address).and_then(|bytes| read_address(bytes));
                return Some(Effect::Ends(Step::Translates(to)));
            }
            Expression::Reject { .. } => return Some(Effect::Ends(Step::Refuses)),
            Expression::Decide { verdict, .. } => {
                return Some(Effect::Ends(Step::Decides(verdict.clone())));
            }
            load => {
                let (into, value) = load_known(load, packet)?;
                registers.insert(into, value);
                true
            }
        };
        Some(if holds { Effect::Holds } else { Effect::Fails })
    }

    /// Where a chain that translates addresses may send a packet on to, conditions that we do not
    /// know taken for true: `Some(None)` is an address that cannot be read.
    pub(super) fn find_translation(
        &self,
        chain: &ObjectName,
        packet: FirstPacket,
    ) -> Option<Option<IpAddr>> {
        self.walk_translations(chain, packet, MAX_JUMPS, &mut Walk::new())
    }

    fn walk_translations(
        &self,
        chain: &ObjectName,
        packet: FirstPacket,
        jumps: usize,
        walk: &mut Walk,
    ) -> Option<Option<IpAddr>> {
        let jumps = jumps.checked_sub(1)?;
        for (_, rule) in self.rules.get(chain).into_iter().flatten() {
            if !walk.take_step() {
                return None;
            }
            match self.run_rule(chain, rule, packet, true) {
                Some(Step::Translates(to)) => return Some(to),
                Some(Step::Decides(RuleVerdict::Jump(to) | RuleVerdict::Goto(to))) => {
                    let found = self.walk_translations(&chain.beside(&to), packet, jumps, walk);
                    if found.is_some() {
                        return found;
                    }
                }
                // Its condition may not hold.
                _ => {}
            }
        }
        None
    }
}

/// An address as it is in a register.
fn read_address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok().or_else(v4)
}

/// Tells whether a rule may save a packet from the rules behind it, and cannot be read whole: an
/// iptables match, or a map of verdicts.
fn may_spare(rule: &[Option<Decoded>]) -> bool {
    let unread = |decoded: &Option<Decoded>| match decoded {
        None => true,
        Some(Decoded { expression: Expression::Lookup { .. }, exact }) => !exact,
        Some(Decoded { expression: Expression::Match { name, revision, info }, .. }) => {
            match_first_packet(name, *revision, &info.0).is_none()
        }
        Some(_) => false,
    };
    let spares = rule.iter().rev().flatten().find_map(|decoded| match &decoded.expression {
        Expression::Decide { verdict, .. } => {
            Some(!matches!(verdict, RuleVerdict::Drop | RuleVerdict::Continue))
        }
        Expression::Reject { .. } | Expression::Log { .. } => Some(false),
        Expression::Target { name, .. } => {
            Some(name != "REJECT" && !PASSING_TARGETS.contains(&name.as_str()))
        }
        _ => None,
    });
    rule.iter().any(unread) && spares.unwrap_or(true)
}
