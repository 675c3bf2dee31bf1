//! Other people's chains, rules and sets, as the kernel lists them. What becomes of a packet in
//! them is in `walk.rs`.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt;

use super::packet::{Packet, known_bytes};
use super::registers::Registers;
use super::sets::{ForeignSet, read_set};
use crate::firewall::netlink::message::{NLM_F_DUMP, single};
use crate::firewall::netlink::{NetlinkError, NetlinkMessage, NetlinkSocket};
use crate::firewall::nftables::abi::{self, chain, msg, rule};
use crate::firewall::nftables::expression::{Expression, NamedExpression, decode_named};
use crate::firewall::nftables::model::{NAT_TABLE_NAME, TABLE_NAME};

/// Name of a table of a device, in a list of those of a hook.
const DEVICE_NAME: u16 = 1;
/// Most bytes of a set's key.
const MAX_KEY_BYTES: usize = 64;

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
    pub(super) fn beside(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    /// Name of the family, as nft writes it.
    pub(super) fn family_name(&self) -> &'static str {
        match self.family {
            abi::NFPROTO_IPV4 => "ip",
            abi::NFPROTO_IPV6 => "ip6",
            abi::NFPROTO_NETDEV => "netdev",
            abi::NFPROTO_BRIDGE => "bridge",
            _ => "inet",
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.family_name(), self.table, self.name)
    }
}

/// Chain that the kernel hands packets to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BaseChain {
    /// Family, table and chain.
    pub(super) name: ObjectName,
    /// Set when the policy is `drop`.
    pub(super) drops: bool,
    /// Number of the hook, of the family.
    pub(super) hook: u32,
    /// Place among the chains of the hook; lower ones see a packet first.
    pub(super) priority: i32,
    /// It translates addresses, of first packets only.
    pub(super) translates: bool,
    /// Devices whose packets it sees; empty: those of all.
    pub(super) devices: Vec<String>,
}

/// Rule with its handle.
pub(super) type ForeignRule = (u64, Vec<NamedExpression>);

/// All foreign rules of the families that meet IP packets.
#[derive(Clone, Debug, Default)]
pub(super) struct ForeignRules {
    /// Chains that the kernel hands packets to, by their priority.
    pub(super) base_chains: Vec<BaseChain>,
    /// Rules by their chains, in order.
    pub(super) rules: HashMap<ObjectName, Vec<ForeignRule>>,
    /// Sets and maps that are looked up for what is known of a packet.
    pub(super) sets: HashMap<ObjectName, ForeignSet>,
}

impl ForeignRules {
    /// Reads them from the kernel, with the sets that tell something about one of these packets.
    pub(super) fn read(
        netlink: &mut NetlinkSocket,
        packets: &[Packet],
    ) -> Result<Self, NetlinkError> {
        let ask = |kind| single(kind, NLM_F_DUMP, 0, 0, |_| ());
        let dormant: HashSet<(u8, String)> = netlink
            .dump("tables", &ask(msg::GET_TABLE), |m, out| {
                let flags = m.attrs().u32(abi::TABLE_FLAGS).unwrap_or_default();
                let name = m.attrs().text(abi::TABLE_ATTRIBUTE).unwrap_or_default();
                let sleeps = flags & abi::TABLE_DORMANT != 0;
                out.extend(sleeps.then(|| (m.family(), name.to_owned())));
            })?
            .into_iter()
            .collect();
        let mut base_chains = netlink
            .dump("chains", &ask(msg::GET_CHAIN), |m, out| out.extend(read_base_chain(m)))?;
        base_chains.retain(|base| !dormant.contains(&(base.name.family, base.name.table.clone())));
        let mut this = Self { base_chains, ..Self::default() };
        if this.base_chains.is_empty() {
            return Ok(this);
        }
        this.base_chains.sort_by_key(|base| base.priority);
        let rules =
            netlink.dump("rules", &ask(msg::GET_RULE), |m, out| out.extend(read_rule(m)))?;
        for (chain, rule) in rules {
            for set in packets.iter().flat_map(|packet| looked_up(&rule.1, packet)) {
                let name = chain.beside(set);
                if let Entry::Vacant(place) = this.sets.entry(name) {
                    let name = place.key();
                    let set = read_set(netlink, name.family, &name.table, &name.name)?;
                    place.insert(set);
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
        let mut this = Self { base_chains, ..Self::default() };
        for (chain, rule) in messages.filter_map(|m| read_rule(&m)) {
            this.rules.entry(chain).or_default().push(rule);
        }
        this
    }
}

/// Family and name, unless it is in a table of ours or of no IP packets.
fn read_name(message: &NetlinkMessage<'_>, kind: u16) -> Option<ObjectName> {
    let attrs = message.attrs();
    let table = attrs.text(abi::TABLE_ATTRIBUTE)?.to_owned();
    let family = message.family();
    let own = family == abi::NFPROTO_INET && [TABLE_NAME, NAT_TABLE_NAME].contains(&&*table);
    let name = attrs.text(kind).unwrap_or_default().to_owned();
    let meets_ip = matches!(
        family,
        abi::NFPROTO_INET
            | abi::NFPROTO_IPV4
            | abi::NFPROTO_IPV6
            | abi::NFPROTO_NETDEV
            | abi::NFPROTO_BRIDGE
    );
    (meets_ip && !own).then_some(ObjectName { family, table, name })
}

fn read_rule(message: &NetlinkMessage<'_>) -> Option<(ObjectName, ForeignRule)> {
    let attrs = message.attrs();
    let expressions = attrs.get(rule::EXPRESSIONS).unwrap_or_default();
    let handle = attrs.u64(rule::HANDLE).unwrap_or_default();
    Some((read_name(message, rule::CHAIN)?, (handle, decode_named(expressions))))
}

fn read_base_chain(message: &NetlinkMessage<'_>) -> Option<BaseChain> {
    let attrs = message.attrs();
    let hook = attrs.nested(chain::HOOK)?;
    let device = hook.text(chain::HOOK_DEVICE).map(str::to_owned);
    let listed = hook.nested(chain::HOOK_DEVICES).into_iter().flatten();
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned()
    };
    let listed = listed.filter(|(kind, _)| *kind == DEVICE_NAME).map(|(_, name)| text(name));
    Some(BaseChain {
        name: read_name(message, chain::NAME)?,
        drops: attrs.u32(chain::POLICY) == Some(chain::POLICY_DROP),
        hook: hook.u32(chain::HOOK_NUMBER)?,
        priority: hook.u32(chain::HOOK_PRIORITY)?.cast_signed(),
        translates: attrs.text(chain::TYPE) == Some("nat"),
        devices: device.into_iter().chain(listed).collect(),
    })
}

/// Sets that a rule looks up with something that is known of a packet; sets of addresses may be
/// huge, and tell nothing about anybody.
fn looked_up<'r>(rule: &'r [NamedExpression], packet: &Packet) -> Vec<&'r str> {
    let mut registers = Registers::new();
    let mut out = Vec::new();
    for decoded in rule.iter().filter_map(|named| named.decoded.as_ref()) {
        match &decoded.expression {
            Expression::Lookup { set, register, .. } | Expression::Map { set, register, .. } => {
                let key = registers.read(*register, MAX_KEY_BYTES);
                if key.iter().any(|byte| byte.known != 0) {
                    out.push(set.as_str());
                }
            }
            Expression::Load { into, value } => {
                registers.write(*into, &known_bytes(value));
            }
            expression => {
                if let Some((into, value)) = packet.load(expression) {
                    registers.write(into, &value);
                }
            }
        }
    }
    out
}
