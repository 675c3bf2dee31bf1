//! Connection tracking, on which "established connections stay" rests.

use std::fs;

use crate::sockets::{Socket, SocketState};
use spa_keys::Severity;

use super::{HostFinding, HostSubject};
use crate::config::Config;

/// Relative to this: the values are those of the caller's network namespace.
const CONNTRACK_FOLDER: &str = "/proc/sys/net/netfilter";

/// Checks that the conntrack table has room, and finds connections that it does not know.
pub(super) fn check_conntrack(config: &Config, sockets: &[Socket]) -> Vec<HostFinding> {
    let read = |name: &str| {
        fs::read_to_string(format!("{CONNTRACK_FOLDER}/{name}")).ok()?.trim().parse::<u64>().ok()
    };
    let count = read("nf_conntrack_count");
    let mut found = judge_conntrack(count, read("nf_conntrack_max"));
    found.extend(untracked(count.unwrap_or(0), count_kept_sessions(config, sockets)));
    found
}

/// Connections from outside to ports that the table hides.
fn count_kept_sessions(config: &Config, sockets: &[Socket]) -> u64 {
    let hidden = |s: &Socket| {
        let mut ports = config.services.iter().flat_map(|service| &service.ports);
        ports.any(|p| p.protocol == s.protocol && p.range.contains(s.local.port()))
    };
    let from_outside =
        |s: &Socket| s.state == SocketState::Connected && !s.remote.ip().is_loopback();
    sockets.iter().filter(|s| from_outside(s) && hidden(s)).count() as u64
}

/// Of a connection that the kernel did not track, the next packet from outside looks like a first
/// one. The install tells the kernel of them (`firewall/nftables/older.rs`).
fn untracked(tracked: u64, kept: u64) -> Option<HostFinding> {
    (kept > tracked).then(|| {
        HostFinding::new(
            Severity::Note,
            HostSubject::Conntrack,
            format!(
                "{} of {kept} connections to hidden ports began before the kernel tracked \
                 connections: installing the table makes them known to it, so they stay",
                kept - tracked
            ),
        )
    })
}

fn judge_conntrack(count: Option<u64>, max: Option<u64>) -> Vec<HostFinding> {
    let say = |weight, text: String| HostFinding::new(weight, HostSubject::Conntrack, text);
    let (Some(count), Some(max)) = (count, max) else {
        return vec![say(
            Severity::Note,
            "the kernel tracks no connections yet: installing the table loads nf_conntrack, and \
             fails where the kernel does not have it (modprobe nf_conntrack)"
                .to_owned(),
        )];
    };
    let mut found = Vec::new();
    // A full table drops first packets, granted or not.
    if max > 0 && count.saturating_mul(10) >= max.saturating_mul(9) {
        found.push(say(
            Severity::Warning,
            format!(
                "{count} of {max} tracked connections are in use, and a full table drops granted \
                 connections too: sysctl -w net.netfilter.nf_conntrack_max={}",
                max.saturating_mul(2)
            ),
        ));
    }
    if found.is_empty() {
        found.push(say(Severity::Ok, format!("connections are tracked: {count} of {max}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_of_it() {
        let weights = |count, max| -> Vec<Severity> {
            judge_conntrack(count, max).iter().map(|found| found.severity).collect()
        };
        assert_eq!(weights(Some(10), Some(1000)), [Severity::Ok]);
        assert_eq!(weights(Some(900), Some(1000)), [Severity::Warning]);
        assert_eq!(weights(None, Some(1000)), [Severity::Note]);
        assert_eq!(untracked(2, 2), None);
        assert!(
            untracked(1, 3).is_some_and(|found| found.problem.starts_with("2 of 3 connections"))
        );
    }
}
