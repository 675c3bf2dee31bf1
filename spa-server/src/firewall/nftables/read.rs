//! What the kernel has: layout of our sets, their elements, and grants made of them again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::abi::{self, chain, msg, set};
use super::comment::{self, Comment};
use super::key::{Key, What};
use super::ledger::{Ledger, keys, whats};
use super::model::{COUNTED, Chain, Family, Pair, Set};
use super::ruleset::merged;
use super::elements::{self, Found};
use super::expression::Count;
use super::wide::is_wide;
use super::{ABOUT_TABLE, TABLE};
use crate::firewall::LiveGrant;
use crate::firewall::netlink::message::{ACK, DUMP, single};
use crate::firewall::netlink::{NetlinkError, NetlinkSocket};
use crate::grant::{Grant, GrantId, Scope};
use crate::ports::{PortRange, ProtoPorts, Protocol};

/// How our table stands in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// There is no table.
    Missing,
    /// All sets that it has are as wanted, and nothing else is in it.
    Fits,
    /// It can only be made anew: a set has another key, other flags or another size, a chain or a
    /// set is somebody else's, or the table sleeps.
    Differs,
}

/// Compares chains and sets in the kernel with the wanted ones. Kernels before 6.3 or so take an
/// `add` of a different set for a success, so we look ourselves. What is not ours in our table
/// would outlive every repair: a chain that drops or accepts, or the flag `dormant`, which takes
/// all hooks away.
pub(super) fn layout(
    netlink: &mut NetlinkSocket,
    wanted: &[Set],
    chains: &[Chain],
) -> Result<Layout, NetlinkError> {
    let request = single(msg::GET_TABLE, 0, abi::INET, 0, |n| n.put_str(abi::TABLE, TABLE));
    let mut flags = None;
    let found = netlink.request(ABOUT_TABLE, &request, &mut |m| {
        if m.kind == msg::NEW_TABLE {
            flags = m.attrs().u32(abi::TABLE_FLAGS).or(Some(0));
        }
    });
    match (found, flags) {
        (Err(e), _) if e.errno() != libc::ENOENT => return Err(e),
        (Err(_), _) | (Ok(()), None) => return Ok(Layout::Missing),
        (Ok(()), Some(0)) => (),
        (Ok(()), Some(_)) => return Ok(Layout::Differs),
    }
    let request = single(msg::GET_CHAIN, DUMP, abi::INET, 0, |n| n.put_str(abi::TABLE, TABLE));
    let foreign = netlink.dump(ABOUT_TABLE, &request, |m, out: &mut Vec<()>| {
        let attrs = m.attrs();
        let ours = attrs.text(abi::TABLE) == Some(TABLE);
        if ours && !chains.iter().any(|c| attrs.text(chain::NAME) == Some(c.name)) {
            out.push(());
        }
    })?;
    if !foreign.is_empty() {
        return Ok(Layout::Differs);
    }
    let request = single(msg::GET_SET, DUMP, abi::INET, 0, |n| n.put_str(abi::TABLE, TABLE));
    let fits = netlink.dump(ABOUT_TABLE, &request, |m, out: &mut Vec<bool>| {
        let attrs = m.attrs();
        let anonymous = attrs.u32(set::FLAGS).is_some_and(|flags| flags & set::ANONYMOUS != 0);
        let Some(want) = wanted.iter().find(|w| attrs.text(set::NAME) == Some(w.name)) else {
            return out.push(anonymous);
        };
        let size = attrs.nested(set::DESC).and_then(|d| d.u32(set::DESC_SIZE));
        out.push(
            attrs.u32(set::KEY_LEN) == Some(want.keyed.len())
                && attrs.u32(set::FLAGS) == Some(want.flags)
                && size.filter(|s| *s != 0) == want.size
                && attrs.get(set::EXPRESSION).is_some() == want.counted,
        );
    })?;
    Ok(if fits.into_iter().all(|fit| fit) { Layout::Fits } else { Layout::Differs })
}

/// All elements of a pair of sets. A missing table has none.
pub(super) fn elements(
    netlink: &mut NetlinkSocket,
    pair: Pair,
) -> Result<Vec<Found>, NetlinkError> {
    let mut found = Vec::new();
    for family in Family::BOTH {
        let name = pair.of(family);
        let request = single(msg::GET_ELEMENT, DUMP, abi::INET, 0, |n| {
            n.put_str(abi::TABLE, TABLE);
            n.put_str(abi::element::SET, name);
        });
        match netlink
            .dump(name, &request, |m, out| elements::read(pair, m.attrs(), &mut |f| out.push(f)))
        {
            Ok(more) => found.extend(more),
            Err(e) if e.errno() == libc::ENOENT => (),
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// Whether one element is there.
pub(super) fn holds(netlink: &mut NetlinkSocket, key: Key) -> Result<bool, NetlinkError> {
    let request = single(msg::GET_ELEMENT, ACK, abi::INET, 0, |n| elements::these(n, &[key]));
    let mut there = false;
    match netlink.request(key.set(), &request, &mut |m| there |= m.kind == msg::NEW_ELEMENT) {
        Ok(()) => Ok(there),
        Err(e) if e.errno() == libc::ENOENT => Ok(false),
        Err(e) => Err(e),
    }
}

/// The counters of some elements, as far as they are there.
pub(super) fn counts(
    netlink: &mut NetlinkSocket,
    keys: &[Key],
) -> Result<Vec<Found>, NetlinkError> {
    let mut found = Vec::new();
    for run in elements::runs(keys, |key| key.set()) {
        let Some(first) = run.first() else { continue };
        let request = single(msg::GET_ELEMENT, ACK, abi::INET, 0, |n| elements::these(n, run));
        let before = found.len();
        let told = netlink.request(first.set(), &request, &mut |m| {
            elements::read(first.pair(), m.attrs(), &mut |f| found.push(f));
        });
        match told {
            Ok(()) => (),
            // One is missing and the kernel stopped there: the others are asked one by one.
            Err(e) if e.errno() == libc::ENOENT => {
                found.truncate(before);
                if run.len() > 1 {
                    for key in run {
                        found.extend(counts(netlink, &[*key])?);
                    }
                }
            }
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// What the elements under one number have in common.
struct Gathered<'a> {
    comment: Comment<'a>,
    source: IpAddr,
    left: Duration,
    whats: BTreeSet<What>,
}

/// Grants as the elements tell them. A grant that the ledger knows keeps its scope as it was given;
/// one that holds no element of its own, because others hold them longer, counts as long as those
/// elements are there. Beside them every counter.
pub(super) fn grants(
    netlink: &mut NetlinkSocket,
    ledger: &Ledger,
    now: Instant,
) -> Result<(Vec<LiveGrant>, BTreeMap<Key, Count>), NetlinkError> {
    let mut found = Vec::new();
    for pair in COUNTED {
        found.extend(elements(netlink, pair)?);
    }
    let mut gathered: BTreeMap<GrantId, Gathered<'_>> = BTreeMap::new();
    for f in &found {
        let Some(comment) = comment::read(&f.comment) else { continue };
        let source = comment.from.map_or(f.key.first, |(source, _)| source);
        let entry = gathered.entry(comment.id).or_insert(Gathered {
            comment,
            source,
            left: f.left,
            whats: BTreeSet::new(),
        });
        entry.left = entry.left.max(f.left);
        entry.whats.insert(f.key.what);
    }
    let there: BTreeMap<Key, Count> = found.iter().map(|f| (f.key, f.count)).collect();
    let wide: Vec<_> = there.iter().filter(|(key, _)| key.pair().wide).collect();
    let used = |grant: &Grant| {
        let counts: Count = if is_wide(grant) {
            let (net, whats) = (grant.network(), whats(grant));
            let within =
                |key: &Key| net.contains(&key.first) && whats.contains(&(key.what, key.flow));
            wide.iter().filter(|(key, _)| within(key)).map(|(_, count)| **count).sum()
        } else {
            keys(grant).into_iter().filter_map(|key| there.get(&key).copied()).sum()
        };
        Some(counts.packets)
    };
    let mut out: Vec<LiveGrant> = gathered
        .into_iter()
        .map(|(id, g)| {
            let left = g.left;
            let known = ledger.grant(id).filter(|held| held.grant.source == g.source);
            let grant = known.map_or_else(|| rebuilt(&g), |held| held.grant.clone());
            LiveGrant { left, used: used(&grant), grant }
        })
        .collect();
    for held in ledger.grants().filter(|held| held.deadline > now) {
        let covered = || {
            let held = &held.grant;
            whats(held).into_iter().filter(|(what, flow)| !flow && *what != What::Live).all(
                |(what, _)| {
                    let key = Key::new(what, held.source);
                    if is_wide(held) {
                        wide.iter().any(|(w, _)| w.what == what && w.covers(key.first, key.last))
                    } else {
                        there.contains_key(&key)
                    }
                },
            )
        };
        if out.binary_search_by_key(&held.grant.id, |g| g.grant.id).is_err() && covered() {
            let at = out.partition_point(|g| g.grant.id < held.grant.id);
            let left = held.deadline.saturating_duration_since(now);
            out.insert(at, LiveGrant { grant: held.grant.clone(), left, used: used(&held.grant) });
        }
    }
    Ok((out, there))
}

fn rebuilt(g: &Gathered<'_>) -> Grant {
    let ports = |inside: bool| {
        let of = |protocol| {
            let ports = g.whats.iter().filter_map(move |what| match what {
                What::Port(p, port) if *p == protocol && !inside => Some(PortRange::one(*port)),
                What::Inside(p, port) if *p == protocol && inside => Some(PortRange::one(*port)),
                _ => None,
            });
            merged(ports).into_iter().map(move |range| ProtoPorts { protocol, range })
        };
        of(Protocol::Tcp).chain(of(Protocol::Udp)).collect::<Arc<[_]>>()
    };
    let scope = match g.whats.first() {
        Some(What::Inside(..)) => Scope::Inside(ports(true)),
        _ if g.whats.contains(&What::All) => Scope::All,
        _ => Scope::Ports(ports(false)),
    };
    Grant {
        id: g.comment.id,
        client: g.comment.client.into(),
        service: g.comment.service.into(),
        source: g.source,
        prefix: g.comment.from.map_or_else(|| crate::grant::alone(g.source), |(_, prefix)| prefix),
        scope,
        ttl: g.comment.ttl.max(g.left),
    }
}
