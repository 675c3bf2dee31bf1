//! Other people's chains, read well enough to say what becomes of the first packet to a port.
//!
//! Only what is certain counts: a rule that asks something we cannot know beforehand (a source, an
//! interface, an iptables match) is passed over, whatever it would do.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::abi::{self, chain, cmp, ct, meta, msg, payload, range, rule};
use super::compile::{DESTINATION_PORT, PORT_LEN, TCP_FLAGS, TCP_SYN};
use super::expression::{Decoded, Expression, RuleVerdict, decode_rule};
use super::model::TABLE_NAME;
use super::set_keys::{SetKey, contains, read_keys};
use crate::domain::ports::Protocol;
use crate::firewall::netlink::message::{NLM_F_DUMP, single};
use crate::firewall::netlink::{NetlinkError, NetlinkMessage, NetlinkSocket};

/// Most jumps that are followed; the kernel's own bound (`NFT_JUMP_STACK_SIZE`).
const MAX_JUMPS: usize = 16;
/// Most rules that one packet is run through. Chains that several rules jump to, in each of 16
/// levels, would be walked for hours.
const MAX_STEPS: u32 = 100_000;

/// Name of a chain or set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ObjectName {
    /// `NFPROTO_*`
    pub(super) family: u8,
    /// Table that it belongs to.
    pub(super) table: String,
    /// Name within the table.
    pub(super) name: String,
}

impl ObjectName {
    /// Another object of the same table.
    fn beside(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }
}

/// Base chain that packets for this host, or for those behind it, meet.
#[derive(Debug, Clone)]
pub(super) struct BaseChain {
    /// Family, table and chain.
    pub(super) name: ObjectName,
    /// Set when the policy is `drop`.
    pub(super) drops: bool,
    /// `NF_INET_*`
    pub(super) hook: u32,
}

/// First packet of a flow to one of our ports.
#[derive(Debug, Clone, Copy)]
pub(super) struct FirstPacket {
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`
    pub(super) family: u8,
    /// TCP or UDP.
    pub(super) protocol: Protocol,
    /// Destination port.
    pub(super) port: u16,
}

/// End of a packet in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Accepted,
    /// By this rule; by the policy when there is none.
    Dropped(Option<RuleLocation>),
    Undecided,
}

/// Location of a rule, as `nft -a list ruleset` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RuleLocation {
    /// Name of the chain.
    pub(super) chain: String,
    /// Number of the rule within its table.
    pub(super) handle: u64,
}

/// Rule with its handle. An expression that we do not know is `None`.
type ForeignRule = (u64, Vec<Option<Decoded>>);

/// All foreign rules of the families that meet incoming IP packets.
#[derive(Debug)]
pub(super) struct ForeignRules {
    /// Chains that the kernel hands packets to.
    pub(super) base_chains: Vec<BaseChain>,
    rules: HashMap<ObjectName, Vec<ForeignRule>>,
    /// Sets that are looked up, ascending.
    sets: HashMap<ObjectName, Vec<SetKey>>,
}

impl ForeignRules {
    /// Reads them from the kernel.
    pub(super) fn read(netlink: &mut NetlinkSocket) -> Result<Self, NetlinkError> {
        let request = single(msg::GET_CHAIN, NLM_F_DUMP, 0, 0, |_| ());
        let base_chains =
            netlink.dump("chains", &request, |m, out| out.extend(read_base_chain(m)))?;
        let mut this = Self { base_chains, rules: HashMap::new(), sets: HashMap::new() };
        if this.base_chains.is_empty() {
            return Ok(this);
        }
        let request = single(msg::GET_RULE, NLM_F_DUMP, 0, 0, |_| ());
        let rules = netlink.dump("rules", &request, |m, out| out.extend(read_rule(m)))?;
        for (chain, rule) in rules {
            for set in looked_up(&rule.1) {
                if let Entry::Vacant(entry) = this.sets.entry(chain.beside(set)) {
                    let name = entry.key();
                    // One that is missing is gone since the rules were read.
                    let keys = read_keys(netlink, name.family, &name.table, &name.name)?;
                    let mut keys = keys.unwrap_or_default();
                    keys.retain(|key| !key.is_catch_all());
                    entry.insert(keys);
                }
            }
            this.rules.entry(chain).or_default().push(rule);
        }
        Ok(this)
    }

    /// The same from messages of chains and rules; sets are not known then.
    pub(super) fn from_messages<'m>(
        messages: impl Iterator<Item = NetlinkMessage<'m>> + Clone,
    ) -> Self {
        let base_chains = messages.clone().filter_map(|m| read_base_chain(&m)).collect();
        let mut this = Self { base_chains, rules: HashMap::new(), sets: HashMap::new() };
        for (chain, rule) in messages.filter_map(|m| read_rule(&m)) {
            this.rules.entry(chain).or_default().push(rule);
        }
        this
    }

    /// Follows a packet through a base chain, its policy included.
    pub(super) fn fate(&self, base: &BaseChain, packet: FirstPacket) -> Fate {
        if base.name.family != abi::NFPROTO_INET && base.name.family != packet.family {
            return Fate::Undecided;
        }
        match self.walk_chain(&base.name, packet, MAX_JUMPS, &mut { MAX_STEPS }) {
            Fate::Undecided if base.drops => Fate::Dropped(None),
            fate => fate,
        }
    }

    fn walk_chain(
        &self,
        chain: &ObjectName,
        packet: FirstPacket,
        jumps: usize,
        steps: &mut u32,
    ) -> Fate {
        for (handle, rule) in self.rules.get(chain).into_iter().flatten() {
            let Some(left) = steps.checked_sub(1) else { return Fate::Undecided };
            *steps = left;
            let (to, returns) = match self.run_rule(chain, rule, packet) {
                None | Some(RuleVerdict::Continue) => continue,
                Some(RuleVerdict::Accept) => return Fate::Accepted,
                Some(RuleVerdict::Drop) => {
                    let chain = chain.name.clone();
                    return Fate::Dropped(Some(RuleLocation { chain, handle: *handle }));
                }
                Some(RuleVerdict::Return) => return Fate::Undecided,
                Some(RuleVerdict::Jump(to)) => (to, true),
                Some(RuleVerdict::Goto(to)) => (to, false),
            };
            let Some(jumps) = jumps.checked_sub(1) else { return Fate::Undecided };
            let fate = self.walk_chain(&chain.beside(&to), packet, jumps, steps);
            if fate != Fate::Undecided || !returns {
                return fate;
            }
        }
        Fate::Undecided
    }

    /// Runs a rule's expressions; `None` when it does not match, or asks what we do not know.
    fn run_rule(
        &self,
        chain: &ObjectName,
        rule: &[Option<Decoded>],
        packet: FirstPacket,
    ) -> Option<RuleVerdict> {
        let mut registers = HashMap::new();
        for decoded in rule {
            let Decoded { expression, exact } = decoded.as_ref()?;
            let holds = match expression {
                Expression::Counter { .. } | Expression::Log { .. } => true,
                Expression::Bitwise { into, from, mask, xor, .. } => {
                    let from: &Vec<u8> = registers.get(from)?;
                    let bytes = from.iter().zip(mask).zip(xor);
                    registers.insert(*into, bytes.map(|((b, m), x)| b & m ^ x).collect());
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
                Expression::Reject { .. } => return Some(RuleVerdict::Drop),
                Expression::Decide { verdict, .. } => return Some(verdict.clone()),
                load => {
                    let (into, value) = load_known(load, packet)?;
                    registers.insert(into, value);
                    true
                }
            };
            if !holds {
                return None;
            }
        }
        None
    }
}

/// Register and value of a load, if we know it.
fn load_known(load: &Expression, packet: FirstPacket) -> Option<(u32, Vec<u8>)> {
    match *load {
        Expression::Meta { into, key: meta::NFPROTO } => Some((into, vec![packet.family])),
        Expression::Meta { into, key: meta::L4PROTO } => {
            Some((into, vec![packet.protocol.number()]))
        }
        Expression::Payload { into, base: payload::TRANSPORT_HEADER, offset, len } => {
            match (offset, len) {
                (DESTINATION_PORT, PORT_LEN) => Some((into, packet.port.to_be_bytes().to_vec())),
                (TCP_FLAGS, 1) if packet.protocol == Protocol::Tcp => Some((into, vec![TCP_SYN])),
                _ => None,
            }
        }
        Expression::Ct { into, key: ct::STATE, .. } => Some((into, ct::NEW.to_ne_bytes().to_vec())),
        _ => None,
    }
}

fn read_name(message: &NetlinkMessage<'_>, kind: u16) -> Option<ObjectName> {
    let attrs = message.attrs();
    let table = attrs.text(abi::TABLE_ATTRIBUTE)?.to_owned();
    let family = message.family();
    let own = family == abi::NFPROTO_INET && table == TABLE_NAME;
    let name = attrs.text(kind).unwrap_or_default().to_owned();
    (matches!(family, abi::NFPROTO_INET | abi::NFPROTO_IPV4 | abi::NFPROTO_IPV6) && !own)
        .then_some(ObjectName { family, table, name })
}

fn read_rule(message: &NetlinkMessage<'_>) -> Option<(ObjectName, ForeignRule)> {
    let attrs = message.attrs();
    let expressions = attrs.get(rule::EXPRESSIONS).unwrap_or_default();
    let handle = attrs.u64(rule::HANDLE).unwrap_or_default();
    Some((read_name(message, rule::CHAIN)?, (handle, decode_rule(expressions))))
}

fn read_base_chain(message: &NetlinkMessage<'_>) -> Option<BaseChain> {
    let attrs = message.attrs();
    let hook = attrs.nested(chain::HOOK)?.u32(chain::HOOK_NUMBER)?;
    let name = read_name(message, chain::NAME)?;
    let drops = attrs.u32(chain::POLICY) == Some(chain::POLICY_DROP);
    matches!(hook, abi::HOOK_PREROUTING | abi::HOOK_INPUT | abi::HOOK_FORWARD)
        .then_some(BaseChain { name, drops, hook })
}

/// Sets that a rule looks a port or protocol up in; sets of addresses may be huge and tell us
/// nothing.
fn looked_up(rule: &[Option<Decoded>]) -> Vec<&str> {
    const ANY_FIRST_PACKET: FirstPacket =
        FirstPacket { family: abi::NFPROTO_IPV4, protocol: Protocol::Tcp, port: 1 };
    let mut known = HashMap::new();
    let mut out = Vec::new();
    for Decoded { expression, exact } in rule.iter().flatten() {
        match expression {
            Expression::Meta { into, .. }
            | Expression::Payload { into, .. }
            | Expression::Ct { into, .. } => {
                known.insert(into, load_known(expression, ANY_FIRST_PACKET).is_some());
            }
            Expression::Lookup { register, set, .. }
                if *exact && known.get(register) == Some(&true) =>
            {
                out.push(set.as_str());
            }
            _ => (),
        }
    }
    out
}
