//! Grants and bans of the nftables backend, read back from the real kernel in two ways.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod namespace;

use std::time::{Duration, Instant};

use namespace::{about, alone, elements, grant, ids, installed, ip, rules, sh};
use spa_server::domain::grant::GrantId;
use spa_server::firewall::nftables::{Nftables, Noticed};
use spa_server::firewall::{Firewall, FirewallError, Rules};

#[test]
fn a_grant_is_opened_renewed_and_closed() {
    alone(|| {
        let mut firewall = installed(&rules());
        for (source, set, live) in
            [("192.0.2.1", "grant4", "live4"), ("2001:db8::1", "grant6", "live6")]
        {
            let first = grant(42, source, "tcp/22,udp/5000-5001", 1800);
            firewall.open(&first).unwrap();
            let grants = firewall.grants().unwrap();
            assert_eq!(grants[0].grant, first);
            assert!(about(grants[0].left, 1800));
            let listed = elements(set);
            assert_eq!(listed.len(), 3);
            assert!(
                listed.iter().any(|e| e.0 == format!("{{\"concat\":[\"{source}\",\"tcp\",22]}}")),
                "{listed:?}"
            );
            assert!(
                listed.iter().all(|e| e.1 == 1800 && e.3 == "g42 alice ssh ttl=1800"),
                "{listed:?}"
            );
            assert_eq!(elements(live).len(), 1);

            // Renewed, to longer and to shorter and to fewer ports.
            firewall.open(&grant(42, source, "tcp/22,udp/5000-5001", 7200)).unwrap();
            assert!(about(firewall.grants().unwrap()[0].left, 7200));
            firewall.open(&grant(42, source, "tcp/22", 60)).unwrap();
            assert!(about(firewall.grants().unwrap()[0].left, 60));
            assert_eq!(elements(set).len(), 1);
            assert_eq!(elements(set)[0].1, 60);

            firewall.close(GrantId(42)).unwrap();
            firewall.close(GrantId(42)).unwrap();
            assert!(firewall.grants().unwrap().is_empty());
            assert!(elements(set).is_empty() && elements(live).is_empty());
        }
    });
}

#[test]
fn everything_may_be_granted() {
    alone(|| {
        let mut firewall = installed(&rules());
        firewall.open(&grant(1, "192.0.2.1", "all", 1800)).unwrap();
        firewall.open(&grant(2, "2001:db8::1", "all", 1800)).unwrap();
        assert_eq!((elements("all4").len(), elements("all6").len()), (1, 1));
        assert_eq!(ids(&Nftables::new().unwrap().grants().unwrap()), [1, 2]);
        assert_eq!(
            Nftables::new().unwrap().grants().unwrap()[1].grant,
            grant(2, "2001:db8::1", "all", 1800)
        );
        firewall.close(GrantId(1)).unwrap();
        assert_eq!((elements("all4").len(), elements("all6").len()), (0, 1));
    });
}

#[test]
fn the_kernel_ends_a_grant() {
    alone(|| {
        let mut firewall = installed(&rules());
        let start = Instant::now();
        firewall.open(&grant(1, "192.0.2.1", "tcp/22", 1)).unwrap();
        firewall.open(&grant(2, "192.0.2.2", "tcp/22", 600)).unwrap();
        assert_eq!(firewall.grants().unwrap().len(), 2);
        while firewall.grants().unwrap().len() == 2 {
            assert!(start.elapsed() < Duration::from_secs(5), "the grant does not end");
        }
        assert!(start.elapsed() > Duration::from_millis(950));
        assert_eq!(ids(&firewall.grants().unwrap()), [2]);
        assert_eq!(elements("grant4").len(), 1);
        // Its number is free to be closed, and its place to be taken again.
        firewall.close(GrantId(1)).unwrap();
        firewall.open(&grant(1, "192.0.2.1", "tcp/22", 60)).unwrap();
        assert_eq!(ids(&firewall.grants().unwrap()), [1, 2]);
    });
}

#[test]
fn a_restarted_server_finds_its_grants() {
    alone(|| {
        let wide = grant(7, "192.0.2.1", "tcp/22,tcp/80-90,udp/53", 1800);
        let six = grant(9, "2001:db8::1", "tcp/443", 90);
        {
            let mut firewall = installed(&rules());
            firewall.open(&wide).unwrap();
            firewall.open(&six).unwrap();
        }
        let mut firewall = installed(&rules());
        let grants = firewall.grants().unwrap();
        assert_eq!(grants.iter().map(|g| &g.grant).collect::<Vec<_>>(), [&wide, &six]);
        assert!(about(grants[0].left, 1800) && about(grants[1].left, 90));
        firewall.close(GrantId(7)).unwrap();
        assert_eq!(ids(&firewall.grants().unwrap()), [9]);
        assert_eq!(elements("grant4").len(), 0);
    });
}

#[test]
fn two_grants_share_an_element() {
    alone(|| {
        let mut firewall = installed(&rules());
        let mut bob = grant(2, "192.0.2.1", "tcp/22,tcp/80", 3600);
        bob.client = "bob".into();
        firewall.open(&grant(1, "192.0.2.1", "tcp/22", 60)).unwrap();
        firewall.open(&bob).unwrap();
        assert_eq!(elements("grant4").len(), 2);
        assert!(elements("grant4").iter().all(|e| e.1 == 3600), "the later end wins");
        // A shorter one that comes later does not shorten it.
        firewall.open(&grant(3, "192.0.2.1", "tcp/22", 30)).unwrap();
        assert!(elements("grant4").iter().all(|e| e.1 == 3600));
        let grants = firewall.grants().unwrap();
        assert_eq!(ids(&grants), [1, 2, 3]);
        assert!(
            about(grants[0].left, 60) && about(grants[1].left, 3600) && about(grants[2].left, 30)
        );
        // Closing the longest leaves the other two their time.
        firewall.close(GrantId(2)).unwrap();
        let left = elements("grant4");
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].1, left[0].3.as_str()), (60, "g1 alice ssh ttl=60"));
        assert_eq!(elements("live4").len(), 1);
        firewall.close(GrantId(3)).unwrap();
        assert_eq!(ids(&firewall.grants().unwrap()), [1]);
        assert_eq!(elements("grant4").len(), 1);
        firewall.close(GrantId(1)).unwrap();
        assert!(elements("grant4").is_empty() && elements("live4").is_empty());
    });
}

#[test]
fn closing_cannot_be_stopped_by_an_element_that_ended_first() {
    alone(|| {
        let mut firewall = installed(&rules());
        firewall.open(&grant(1, "192.0.2.1", "tcp/22,tcp/80", 600)).unwrap();
        sh("nft delete element inet spa grant4 '{ 192.0.2.1 . tcp . 22 }'");
        firewall.close(GrantId(1)).unwrap();
        assert!(elements("grant4").is_empty() && elements("live4").is_empty());
    });
}

#[test]
fn a_flushed_table_comes_back_with_its_time() {
    alone(|| {
        let mut firewall = installed(&Rules { ban_limit: 3, ..rules() });
        let mut watcher = firewall.watcher().unwrap();
        firewall.open(&grant(1, "192.0.2.1", "tcp/22", 600)).unwrap();
        firewall.open(&grant(2, "2001:db8::1", "all", 60)).unwrap();
        firewall.ban(ip("198.51.100.1"), Duration::from_secs(500)).unwrap();
        for last in 1..100 {
            // As a bait would: told by the log only, and more of them than there is room for.
            firewall.note_ban(ip(&format!("203.0.113.{last}")), Duration::from_secs(400));
        }
        firewall.note_ban(ip("2001:db8:1:2:3::4"), Duration::from_secs(400));
        firewall.install(&Rules { ban_limit: 3, ..rules() }).unwrap();
        firewall.close(GrantId(77)).unwrap();
        assert_eq!(watcher.drain().unwrap(), Noticed::Nothing, "our own changes are no alarm");
        sh("nft add table inet other");
        sh("nft add table ip spa");
        assert_eq!(watcher.drain().unwrap(), Noticed::Nothing, "other tables are no alarm");

        // Time passes, so that what comes back must be less than what was given.
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(1100) {
            assert_eq!(firewall.grants().unwrap().len(), 2);
        }
        sh("nft flush ruleset");
        assert_eq!(watcher.drain().unwrap(), Noticed::Change);
        assert_eq!(watcher.drain().unwrap(), Noticed::Nothing);
        firewall.restore().unwrap();
        assert_eq!(watcher.drain().unwrap(), Noticed::Nothing, "our own restore is no alarm");

        let listed = elements("grant4");
        assert_eq!(listed[0].1, 600);
        assert!((590..=598).contains(&listed[0].2), "{listed:?}");
        let grants = firewall.grants().unwrap();
        assert_eq!(ids(&grants), [1, 2]);
        assert!(grants[0].left < Duration::from_millis(598_950), "{grants:?}");
        assert_eq!(elements("ban4").len(), 3);
        assert_eq!(elements("ban6").len(), 1);
        assert!(sh("nft list chain inet spa input").contains("@grant4"));

        // One rule less is noticed as well, and a knock between flush and restore opens.
        sh("nft flush chain inet spa input");
        assert_eq!(watcher.drain().unwrap(), Noticed::Change);
        firewall.restore().unwrap();
        assert!(sh("nft list chain inet spa input").contains("@grant4"));
        sh("nft delete table inet spa");
        firewall.open(&grant(3, "192.0.2.3", "tcp/22", 60)).unwrap();
        assert_eq!(ids(&firewall.grants().unwrap()), [1, 2, 3]);
    });
}

#[test]
fn a_missing_table_is_named() {
    alone(|| {
        let mut firewall = Nftables::new().unwrap();
        assert!(firewall.grants().unwrap().is_empty());
        let error = firewall.open(&grant(1, "192.0.2.1", "tcp/22", 60)).unwrap_err();
        assert!(matches!(error, FirewallError::Missing(_)), "{error}");
        assert!(firewall.grants().unwrap().is_empty());
        firewall.close(GrantId(1)).unwrap();
        firewall.unban(ip("192.0.2.1")).unwrap();
        firewall.restore().unwrap();
    });
}

#[test]
fn without_capabilities_the_refusal_is_named() {
    alone(|| {
        installed(&rules());
        let me = std::env::current_exe().unwrap();
        let out = std::process::Command::new("setpriv")
            .args(["--bounding-set=-all", "--inh-caps=-all"])
            .arg(me)
            .args(["--exact", "unprivileged", "--ignored", "--nocapture"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && text.contains("CAP_NET_ADMIN"), "{text}");
    });
}

#[test]
#[ignore = "run by another test, without capabilities"]
fn unprivileged() {
    let error = Nftables::new().unwrap_err();
    assert!(matches!(error, FirewallError::Permission(_)), "{error}");
    println!("{error}");
}

#[test]
fn an_element_that_somebody_else_added_does_not_keep_its_timer() {
    alone(|| {
        let mut firewall = installed(&rules());
        sh("nft add element inet spa grant4 '{ 192.0.2.1 . tcp . 22 timeout 5s }'");
        sh("nft add element inet spa live4 '{ 192.0.2.1 timeout 5s }'");
        firewall.open(&grant(1, "192.0.2.1", "tcp/22", 600)).unwrap();
        assert_eq!(elements("grant4")[0].1, 600);
        assert_eq!(elements("live4")[0].1, 600);
    });
}

#[test]
fn a_full_set_is_named() {
    alone(|| {
        let mut firewall = installed(&Rules { ban_limit: 2, ..rules() });
        firewall.open(&grant(1, "192.0.2.1", "tcp/1-65535", 600)).unwrap();
        assert_eq!(firewall.grants().unwrap().len(), 1);
        firewall.open(&grant(2, "192.0.2.2", "tcp/22", 600)).unwrap();
        let error = firewall.open(&grant(3, "192.0.2.3", "tcp/22", 600)).unwrap_err();
        assert!(
            matches!(error, FirewallError::Full(set) if set.to_string() == "grant4"),
            "{error}"
        );
        assert_eq!(ids(&firewall.grants().unwrap()), [1, 2]);
        assert_eq!(elements("live4").len(), 2, "a refused grant leaves nothing behind");
        // What is in can be renewed, and all of it put back.
        firewall.open(&grant(1, "192.0.2.1", "tcp/1-65535", 900)).unwrap();
        sh("nft flush ruleset");
        firewall.restore().unwrap();
        // The new set grows to its size in the background, and a dump in between may miss an
        // element or tell it twice: asked again until the kernel is done, for ten seconds
        // at most.
        let end = Instant::now() + Duration::from_secs(10);
        while ids(&firewall.grants().unwrap()) != [1, 2] && Instant::now() < end {}
        assert_eq!(ids(&firewall.grants().unwrap()), [1, 2]);
        firewall.close(GrantId(1)).unwrap();
        firewall.open(&grant(3, "192.0.2.3", "tcp/22", 600)).unwrap();

        for last in 1..=2 {
            firewall.ban(ip(&format!("198.51.100.{last}")), Duration::from_secs(60)).unwrap();
        }
        let error = firewall.ban(ip("198.51.100.3"), Duration::from_secs(60)).unwrap_err();
        assert!(matches!(error, FirewallError::Full(set) if set.to_string() == "ban4"), "{error}");
        firewall.ban(ip("198.51.100.2"), Duration::from_secs(90)).unwrap();
        // Whoever fills the bans with forged addresses stops no grant.
        firewall.open(&grant(4, "198.51.100.9", "tcp/22", 600)).unwrap();
        firewall.open(&grant(5, "198.51.100.2", "tcp/22", 600)).unwrap();
        assert_eq!(firewall.bans().unwrap().len(), 1);
    });
}

/// Not a check: says what one grant costs. Run with `--nocapture`.
#[test]
fn cost_of_a_grant() {
    alone(|| {
        let mut firewall = installed(&rules());
        let count = 5000;
        let mut times = Vec::with_capacity(count);
        for n in 0..count {
            let source = format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
            let grant = grant(n as u64, &source, "tcp/22", 3600);
            let start = Instant::now();
            firewall.open(&grant).unwrap();
            times.push(start.elapsed());
        }
        let start = Instant::now();
        assert_eq!(firewall.grants().unwrap().len(), count);
        let read = start.elapsed();
        let start = Instant::now();
        firewall.install(&rules()).unwrap();
        let install = start.elapsed();
        sh("nft flush ruleset");
        let start = Instant::now();
        firewall.restore().unwrap();
        let restore = start.elapsed();
        assert_eq!(firewall.grants().unwrap().len(), count);
        times.sort();
        println!(
            "open: median {:?}, p99 {:?}, max {:?}; with {count} grants: grants() {read:?}, \
             install {install:?}, restore {restore:?}",
            times[count / 2],
            times[count * 99 / 100],
            times[count - 1]
        );
    });
}
