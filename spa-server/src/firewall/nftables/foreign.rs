//! Other people's chains, read well enough to say what becomes of the first packet to a port
//! (`fate.rs`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::abi::{self, chain, msg, rule};
use super::expression::{Decoded, Expression, decode_rule};
use super::first_packet::{FirstPacket, load_known};
use super::model::TABLE_NAME;
use super::set_keys::{SetKey, read_keys};
use crate::domain::ports::{ProtoPorts, Protocol};
use crate::firewall::netlink::message::{NLM_F_DUMP, single};
use crate::firewall::netlink::{NetlinkError, NetlinkMessage, NetlinkSocket};

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

/// Rule with its handle. An expression that we do not know is `None`.
pub(super) type ForeignRule = (u64, Vec<Option<Decoded>>);

/// All foreign rules of the families that meet incoming IP packets.
#[derive(Debug)]
pub(super) struct ForeignRules {
    /// Chains that the kernel hands packets to.
    pub(super) base_chains: Vec<BaseChain>,
    /// Rules of each chain, in their order.
    pub(super) rules: HashMap<ObjectName, Vec<ForeignRule>>,
    /// Sets that are looked up, ascending.
    pub(super) sets: HashMap<ObjectName, Vec<SetKey>>,
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

    /// The command that lets a port pass, in the words of who owns the table: a rule of ours in it
    /// would be lost, or stay for ever, when its owner writes it anew.
    pub(super) fn advise_accept(
        &self,
        base: &ObjectName,
        family: &str,
        ports: &ProtoPorts,
    ) -> String {
        let ObjectName { table, name, .. } = base;
        let ProtoPorts { protocol, range } = ports;
        let of_ufw = |chain: &ObjectName| chain.table == *table && chain.name.starts_with("ufw");
        if table.starts_with("firewalld") {
            format!(
                "firewall-cmd --permanent --add-port={range}/{protocol} && firewall-cmd --reload"
            )
        } else if self.rules.keys().any(of_ufw) {
            format!("ufw allow {}/{protocol}", range.to_string().replace('-', ":"))
        } else if name == "INPUT" && family != "inet" {
            let tool = if family == "ip6" { "ip6tables" } else { "iptables" };
            let ports = range.to_string().replace('-', ":");
            format!("{tool} -I INPUT -p {protocol} --dport {ports} -j ACCEPT")
        } else {
            format!("nft insert rule {family} {table} {name} {protocol} dport {range} accept")
        }
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
