//! Fate of a packet in one of other people's base chains: every end that it may come to.
//!
//! A rule that asks what we cannot know beforehand (a source, a limit) may hold or not, so both
//! ways are followed. One end only is certain; of several, the one without a doubt is where a
//! packet goes that no such rule is meant for.

use super::packet::{Doubt, Packet};
use super::rules::{BaseChain, ForeignRules, ObjectName};
use super::step::{NewDestination, Step};
use crate::firewall::nftables::expression::RuleVerdict;

/// Most jumps that are followed; the kernel's own bound (`NFT_JUMP_STACK_SIZE`).
const MAX_JUMPS: usize = 16;
/// Most rules that one packet is run through. Chains that several rules jump to, in each of 16
/// levels, would be walked for hours.
const MAX_STEPS: u32 = 100_000;
/// Most different ends that are kept; the ways behind are one that cannot be read.
const MAX_ENDS: usize = 32;

/// Location of a rule, as `nft -a list ruleset` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RuleLocation {
    /// Name of the chain.
    pub(super) chain: ObjectName,
    /// Number of the rule within its table; `None`: the policy of the chain.
    pub(super) handle: Option<u64>,
}

impl std::fmt::Display for RuleLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.handle {
            Some(handle) => write!(f, "rule with handle {handle} in {}", self.chain),
            None => write!(f, "policy of {}", self.chain),
        }
    }
}

/// Rule that could not be followed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubted {
    /// Reason.
    pub(super) doubt: Doubt,
    /// Match that the rule asks for, in a word.
    pub(super) what: String,
    /// The rule.
    pub(super) rule: RuleLocation,
}

/// End of a packet in a base chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChainEnd {
    /// The next chain has it.
    Passes,
    /// It is gone without a word.
    Drops,
    /// It is gone, and the sender is told.
    Refuses,
    /// It goes on to there.
    Translates(NewDestination),
    /// Handed to something that cannot be read.
    HandsOver(String),
}

/// End with what decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WalkEnd {
    /// The end.
    pub(super) end: ChainEnd,
    /// Rule or policy that decides it.
    pub(super) by: RuleLocation,
    /// Set when it comes only if a rule matches of which we do not know.
    pub(super) doubt: Option<Doubted>,
}

/// Ends of a packet in one base chain, and whether conntrack has been kept out.
#[derive(Clone, Debug, Default)]
pub(super) struct Walk {
    /// Every end that it may come to.
    pub(super) ends: Vec<WalkEnd>,
    /// A rule has kept the packet out of conntrack.
    pub(super) untracked: bool,
    steps: u32,
    truncated: bool,
}

/// Tells whether a packet may leave a chain at its end.
enum Falls {
    No,
    Yes(Option<Doubted>),
}

impl ForeignRules {
    /// Follows a packet through a base chain.
    pub(super) fn walk(&self, base: &BaseChain, packet: &Packet) -> Walk {
        let mut walk = Walk { steps: MAX_STEPS, ..Walk::default() };
        let falls = self.walk_chain(&base.name, packet, MAX_JUMPS, None, &mut walk);
        if let Falls::Yes(doubt) = falls {
            let end = if base.drops { ChainEnd::Drops } else { ChainEnd::Passes };
            walk.push(end, RuleLocation { chain: base.name.clone(), handle: None }, doubt);
        }
        if walk.truncated {
            let by = RuleLocation { chain: base.name.clone(), handle: None };
            walk.ends.push(WalkEnd {
                end: ChainEnd::HandsOver(TOO_LONG.to_owned()),
                by,
                doubt: None,
            });
        }
        walk
    }

    fn walk_chain(
        &self,
        chain: &ObjectName,
        packet: &Packet,
        jumps: usize,
        mut doubt: Option<Doubted>,
        walk: &mut Walk,
    ) -> Falls {
        // Rules of which we do not know may end this chain before its end.
        let mut leaves: Option<Doubted> = None;
        for (handle, rule) in self.rules.get(chain).into_iter().flatten() {
            let Some(steps) = walk.steps.checked_sub(1) else {
                walk.truncated = true;
                return Falls::Yes(doubt);
            };
            walk.steps = steps;
            let run = self.run_rule(chain, rule, packet);
            let here = || RuleLocation { chain: chain.clone(), handle: Some(*handle) };
            walk.untracked |= run.untracks && run.doubt.is_none();
            let certain = run.doubt.is_none();
            let why = match run.doubt {
                Some((kind, what)) => {
                    graver(&doubt, Some(Doubted { doubt: kind, what, rule: here() }))
                }
                None => doubt.clone(),
            };
            let mut ends = certain && !run.steps.is_empty();
            for step in run.steps {
                let (to, returns) = match step {
                    Step::Decides(RuleVerdict::Accept) => {
                        walk.push(ChainEnd::Passes, here(), why.clone());
                        continue;
                    }
                    Step::Decides(RuleVerdict::Drop) => {
                        walk.push(ChainEnd::Drops, here(), why.clone());
                        continue;
                    }
                    Step::Refuses => {
                        walk.push(ChainEnd::Refuses, here(), why.clone());
                        continue;
                    }
                    Step::Translates(to) => {
                        walk.push(ChainEnd::Translates(to), here(), why.clone());
                        continue;
                    }
                    Step::HandsOver(to) => {
                        walk.push(ChainEnd::HandsOver(to), here(), why.clone());
                        continue;
                    }
                    Step::Decides(RuleVerdict::Continue) => {
                        ends = false;
                        continue;
                    }
                    Step::Decides(RuleVerdict::Return) if certain => {
                        return Falls::Yes(doubt);
                    }
                    Step::Decides(RuleVerdict::Return) => {
                        leaves = graver(&leaves, why.clone());
                        continue;
                    }
                    Step::Decides(RuleVerdict::Jump(to)) => (to, true),
                    Step::Decides(RuleVerdict::Goto(to)) => (to, false),
                };
                let Some(jumps) = jumps.checked_sub(1) else {
                    walk.truncated = true;
                    continue;
                };
                let to = chain.beside(&to);
                match self.walk_chain(&to, packet, jumps, why.clone(), walk) {
                    Falls::No => {}
                    Falls::Yes(back) if returns => {
                        ends = false;
                        if certain {
                            doubt = graver(&doubt, back);
                        }
                    }
                    Falls::Yes(back) if certain => return Falls::Yes(graver(&leaves, back)),
                    Falls::Yes(back) => leaves = graver(&leaves, back),
                }
            }
            if ends {
                return leaves.map_or(Falls::No, |leaves| Falls::Yes(Some(leaves)));
            }
        }
        Falls::Yes(doubt)
    }
}

impl Walk {
    fn push(&mut self, end: ChainEnd, by: RuleLocation, doubt: Option<Doubted>) {
        let known = |kept: &WalkEnd| kept.end == end && kept.doubt.is_some() == doubt.is_some();
        if self.ends.iter().any(known) {
            return;
        }
        if self.ends.len() >= MAX_ENDS {
            self.truncated = true;
            return;
        }
        self.ends.push(WalkEnd { end, by, doubt });
    }

    /// The end of a packet that no rule is meant for of which we do not know.
    pub(super) fn usual_end(&self) -> Option<&WalkEnd> {
        self.ends.iter().find(|end| end.doubt.is_none())
    }
}

/// Target that a walk that was not followed to its end is said to lead to.
const TOO_LONG: &str = "more rules than are followed";

/// The graver of two doubts; the first one when they weigh the same.
pub(super) fn graver(one: &Option<Doubted>, other: Option<Doubted>) -> Option<Doubted> {
    match (one, other) {
        (Some(one), Some(other)) if other.doubt > one.doubt => Some(other),
        (Some(one), _) => Some(one.clone()),
        (None, other) => other,
    }
}
