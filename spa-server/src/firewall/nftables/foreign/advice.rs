//! Commands that let a port pass, in the words of who owns the rules: a rule of ours in a table of
//! theirs would be lost, or stay for ever, when its owner writes it anew.

use std::net::IpAddr;

use super::rules::{ForeignRules, ObjectName};
use crate::domain::ports::ProtoPorts;
use crate::firewall::nftables::abi;

/// The command that takes a ban back, where the rule that drops a source is of a tool that bans.
pub(super) fn advise_unban(chain: &ObjectName, source: IpAddr) -> Option<String> {
    let begins = |word: &str| chain.name.starts_with(word) || chain.table.starts_with(word);
    if begins("f2b-") {
        Some(format!("fail2ban-client unban {source}"))
    } else if begins("crowdsec") {
        Some(format!("cscli decisions delete --ip {source}"))
    } else {
        None
    }
}

impl ForeignRules {
    /// The command for a base chain that drops packets to these ports.
    pub(super) fn advise_accept(&self, base: &ObjectName, ports: &ProtoPorts) -> String {
        let ObjectName { table, name, .. } = base;
        let (family, ProtoPorts { protocol, range }) = (base.family_name(), ports);
        let of_ufw = |chain: &ObjectName| chain.table == *table && chain.name.starts_with("ufw");
        let hook =
            self.base_chains.iter().find(|chain| chain.name == *base).map(|chain| chain.hook);
        let base_of_answers = matches!(hook, Some(abi::HOOK_OUTPUT | abi::HOOK_POSTROUTING));
        let dashed = range.to_string().replace('-', ":");
        if table.starts_with("firewalld") {
            format!(
                "firewall-cmd --permanent --add-port={range}/{protocol} && firewall-cmd --reload"
            )
        } else if self.rules.keys().any(of_ufw) && name == "INPUT" {
            format!("ufw allow {dashed}/{protocol}")
        } else if self.rules.keys().any(of_ufw) && name == "FORWARD" {
            format!("ufw route allow proto {protocol} to any port {dashed}")
        } else if base_of_answers {
            format!("nft insert rule {family} {table} {name} ct state established,related accept")
        } else if name == "INPUT" && base.family != abi::NFPROTO_INET {
            let tool = if family == "ip6" { "ip6tables" } else { "iptables" };
            format!("{tool} -I INPUT -p {protocol} --dport {dashed} -j ACCEPT")
        } else {
            format!("nft insert rule {family} {table} {name} {protocol} dport {range} accept")
        }
    }
}
