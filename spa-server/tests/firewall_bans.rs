//! Bans of the nftables backend, read back from the real kernel.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod namespace;

use std::time::Duration;

use namespace::{about, alone, elements, grant, ids, installed, ip, rules, sh};
use spa_server::domain::grant::GrantId;
use spa_server::firewall::nftables::Nftables;
use spa_server::firewall::observe::Observe;
use spa_server::firewall::{Authenticated, Firewall, FirewallError, Rules};

#[test]
fn bans_that_no_longer_fit_do_not_stop_the_rules() {
    alone(|| {
        let mut firewall = installed(&Rules { ban_limit: 4, ..rules() });
        for last in 1..=4 {
            firewall
                .ban(ip(&format!("198.51.100.{last}")), Duration::from_secs(60 * last))
                .unwrap();
        }
        // The kernel's set holds others now than we remember, and is full.
        sh("nft flush set inet spa ban4");
        sh("nft add element inet spa ban4 '{ 203.0.113.1 timeout 1h, 203.0.113.2 timeout 1h, \
             203.0.113.3 timeout 1h }'");
        firewall.install(&Rules { ban_limit: 4, ..rules() }).unwrap();
        firewall.restore().unwrap();
        // Fewer than there are: the longest stay.
        firewall.install(&Rules { ban_limit: 2, ..rules() }).unwrap();
        assert_eq!(elements("ban4").len(), 2);
        assert!(firewall.bans().unwrap().iter().all(|ban| ban.left > Duration::from_secs(3000)));
    });
}

/// What every backend must answer alike.
fn bans_of(firewall: &mut dyn Firewall) {
    let strict = Rules { authenticated: Authenticated::Strict, ..rules() };
    firewall.install(&rules()).unwrap();
    firewall.ban(ip("192.0.2.1"), Duration::from_secs(600)).unwrap();
    firewall.ban(ip("2001:db8:1:2:3:4:5:6"), Duration::from_secs(60)).unwrap();
    let bans = firewall.bans().unwrap();
    let networks: Vec<_> = bans.iter().map(|b| b.network.to_string()).collect();
    assert_eq!(networks, ["192.0.2.1/32", "2001:db8:1:2::/64"], "{}", firewall.name());
    assert!(about(bans[0].left, 600) && about(bans[1].left, 60));
    // Again: the new time counts.
    firewall.ban(ip("192.0.2.1"), Duration::from_secs(5)).unwrap();
    assert!(about(firewall.bans().unwrap()[0].left, 5));

    // Strict: banned is banned, any address of the /64.
    firewall.install(&strict).unwrap();
    for source in ["192.0.2.1", "2001:db8:1:2::99"] {
        let error = firewall.open(&grant(1, source, "tcp/22", 60)).unwrap_err();
        assert!(matches!(error, FirewallError::Banned(a) if a == ip(source)), "{error}");
    }
    assert!(firewall.grants().unwrap().is_empty());
    firewall.open(&grant(1, "2001:db8:1:3::99", "tcp/22", 60)).unwrap();
    // Pardon: it opens and lifts the ban.
    firewall.install(&rules()).unwrap();
    firewall.open(&grant(2, "192.0.2.1", "tcp/22", 60)).unwrap();
    firewall.open(&grant(3, "2001:db8:1:2::99", "tcp/22", 60)).unwrap();
    assert!(firewall.bans().unwrap().is_empty());
    assert_eq!(ids(&firewall.grants().unwrap()), [1, 2, 3]);

    firewall.ban(ip("2001:db8:1:2::5"), Duration::from_secs(60)).unwrap();
    firewall.unban(ip("2001:db8:1:2:ffff::1")).unwrap();
    firewall.unban(ip("2001:db8:1:2:ffff::1")).unwrap();
    assert!(firewall.bans().unwrap().is_empty());
    for source in ["192.0.2.1", "2001:db8::1"] {
        firewall.in_sequence(ip(source), Duration::from_secs(30)).unwrap();
        firewall.in_sequence(ip(source), Duration::from_secs(10)).unwrap();
    }
    firewall.close(GrantId(2)).unwrap();
    assert_eq!(ids(&firewall.grants().unwrap()), [1, 3]);
    firewall.remove().unwrap();
    assert!(firewall.grants().unwrap().is_empty());
}

#[test]
fn bans_pardon_and_strict() {
    alone(|| {
        bans_of(&mut Nftables::new().unwrap());
        assert_eq!(sh("nft list ruleset"), "");
        bans_of(&mut Observe::new());
        assert_eq!(sh("nft list ruleset"), "", "observe changes nothing");
        let mut firewall = installed(&rules());
        firewall.in_sequence(ip("192.0.2.1"), Duration::from_secs(10)).unwrap();
        assert_eq!(elements("sequence4")[0].1, 10);
    });
}

#[test]
fn a_network_that_is_never_banned_is_not() {
    alone(|| {
        let never = Rules { never_ban: vec!["192.0.2.0/24".parse().unwrap()], ..rules() };
        let error = installed(&never).ban(ip("192.0.2.5"), Duration::from_secs(9)).unwrap_err();
        assert!(error.to_string().contains("192.0.2.0/24"), "{error}");
    });
}
