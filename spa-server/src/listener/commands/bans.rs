//! `bans`, `ban`, `unban`.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use spa_keys::{Failure, exit};
use spa_proto::HostAddr;

use super::limits::UserLimits;
use crate::config::LONGEST_BAN;
use crate::control::rows::{BanList, BanRow, Banned, BansLifted};
use crate::engine::Now;
use crate::firewall::Firewall as _;
use crate::listener::firewall_access::FirewallAccess;
use crate::log::{self, Level};
use spa_keys::duration;

/// Time of a ban when nobody says.
const DEFAULT_BAN_TIME: Duration = Duration::from_secs(3600);

/// Network that a ban of this source covers: one IPv4 address, the /64 of an IPv6 one.
fn ban_network(source: IpAddr) -> IpNet {
    IpNet::new(source, if source.is_ipv4() { 32 } else { 64 })
        .unwrap_or_else(|_| source.into())
        .trunc()
}

/// An address, or a network of the size that bans have.
fn parse_ban_source(text: &str) -> Result<IpAddr, Failure> {
    let address = || text.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    let net = || {
        text.parse::<IpNet>()
            .ok()
            .filter(|net| ban_network(net.addr()).prefix_len() == net.prefix_len())
    };
    address().or_else(|| net().map(|net| net.addr())).ok_or_else(|| {
        let text = format!(
            "`{}` cannot be banned: name one address; of IPv6, the /64 around it is meant",
            text.escape_debug()
        );
        Failure::new(exit::USAGE, text)
    })
}

/// Lists a page of the live bans.
pub(in crate::listener) fn list_bans(
    firewall: &mut FirewallAccess,
    limit: usize,
    after: Option<IpNet>,
) -> Result<BanList, Failure> {
    let mut bans = firewall.broker.bans()?;
    bans.sort_by_key(|ban| ban.network);
    let from = after.map_or(0, |after| bans.partition_point(|ban| ban.network <= after));
    let rest = bans.get(from..).unwrap_or_default();
    let page = rest.get(..limit).unwrap_or(rest);
    let next = if rest.len() > limit { page.last().map(|ban| ban.network) } else { None };
    let (page, all) = (page.iter().map(BanRow::from).collect(), bans.len() as u64);
    Ok(BanList { bans: page, all, next })
}

/// Bans an address, or an IPv6 /64.
pub(in crate::listener) fn ban_source(
    firewall: &mut FirewallAccess,
    limits: &mut UserLimits,
    text: &str,
    time_s: Option<u64>,
    by: u32,
    now: Now,
) -> Result<Banned, Failure> {
    let source = parse_ban_source(text)?;
    if HostAddr::new_remote(source).is_none() {
        return Err(Failure::new(exit::USAGE, format!("{source} cannot be a host's address")));
    }
    limits.check_bans(by, now)?;
    let time = time_s.map_or(DEFAULT_BAN_TIME, Duration::from_secs);
    if time.is_zero() || time > LONGEST_BAN {
        let text = format!(
            "a ban cannot last {}: it lasts 1s to {}",
            duration::format(time),
            duration::format(LONGEST_BAN)
        );
        return Err(Failure::new(exit::USAGE, text));
    }
    let network = ban_network(source);
    // Also a /64 around somebody who is never banned: what is written must be what happens.
    let overlaps = |net: &&IpNet| net.contains(&network) || network.contains(*net);
    if let Some(never) = firewall.rules.never_ban.iter().find(overlaps) {
        return Err(Failure::failed(format!(
            "{network} overlaps {never}, which is never banned ([ban] never); nothing was \
             changed"
        )));
    }
    firewall.broker.ban(source, time)?;
    limits.note_ban(by, source, time, now);
    let spared: Vec<String> = firewall
        .broker
        .grants()?
        .iter()
        .filter(|live| network.contains(&live.grant.source))
        .map(|live| live.grant.id.to_string())
        .collect();
    log::event(Level::Info, "banned")
        .with("source", source)
        .with("network", network)
        .with("time", format_args!("{}s", time.as_secs()))
        .number("by", by)
        .emit();
    let authenticated = firewall.rules.authenticated;
    Ok(Banned { network, time_s: time.as_secs(), grants: spared, authenticated })
}

/// Lifts the ban of an address, or all.
pub(in crate::listener) fn lift_bans(
    firewall: &mut FirewallAccess,
    limits: &mut UserLimits,
    text: Option<&str>,
    all: bool,
    by: u32,
) -> Result<BansLifted, Failure> {
    let bans = firewall.broker.bans()?;
    let mut chosen: Vec<IpNet> = match (text, all) {
        (Some(text), false) => {
            let network = ban_network(parse_ban_source(text)?);
            bans.iter().map(|ban| ban.network).filter(|net| *net == network).collect()
        }
        (None, true) => bans.iter().map(|ban| ban.network).collect(),
        _ => return Err(Failure::new(exit::USAGE, "say which: an address, or all")),
    };
    // Strangers decide how many there are, and each is a transaction of its own: knocks must
    // get their turn.
    let left = chosen.len().saturating_sub(super::MAX_PAGE_ROWS);
    chosen.truncate(super::MAX_PAGE_ROWS);
    for (done, network) in chosen.iter().enumerate() {
        if let Err(error) = firewall.broker.unban(network.addr()) {
            return Err(Failure::failed(format!("{done} of {} lifted: {error}", chosen.len())));
        }
        if !all {
            log::event(Level::Info, "unbanned").with("network", network).number("by", by).emit();
        }
    }
    if all {
        log::event(Level::Info, "unbanned")
            .number("networks", chosen.len() as u64)
            .number("by", by)
            .emit();
    }
    limits.note_lifted(|source| chosen.iter().any(|network| network.contains(&source)));
    Ok(BansLifted { lifted: chosen, left: left as u64 })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_can_be_banned() {
        for (text, net) in [
            ("192.0.2.1", "192.0.2.1/32"),
            ("192.0.2.1/32", "192.0.2.1/32"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("2001:db8:5::66", "2001:db8:5::/64"),
            ("2001:db8:5::/64", "2001:db8:5::/64"),
        ] {
            assert_eq!(ban_network(parse_ban_source(text).unwrap()).to_string(), net, "{text}");
        }
        for text in ["", "here", "192.0.2.0/24", "2001:db8::/48", "2001:db8::1/128", "\u{1b}[2J"] {
            let failure = parse_ban_source(text).unwrap_err();
            assert!(
                failure.code == exit::USAGE && !failure.to_string().contains('\u{1b}'),
                "{failure}"
            );
        }
    }
}
