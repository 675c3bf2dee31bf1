//! The ruleset, on the real kernel: every combination is accepted, and what is printed is what is
//! installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod namespace;

use namespace::{alone, bait, grant, listing, load, rules, same, sh};
use spa_server::firewall::nftables::{Nftables, print};
use spa_server::firewall::{Authenticated, Established, Firewall, Forward, Hide, Mode, Rules};

/// Every combination of the switches, with little and with much in the lists.
fn combinations() -> Vec<Rules> {
    let mut out = Vec::new();
    for mode in [Mode::Guard, Mode::Standalone] {
        for hide in [Hide::Drop, Hide::Closed] {
            for authenticated in [Authenticated::Pardon, Authenticated::Strict] {
                for (knock_accept, knock_nflog) in
                    [(false, None), (true, None), (false, Some(8)), (true, Some(8))]
                {
                    let bare =
                        Rules { mode, hide, authenticated, knock_accept, knock_nflog, ..rules() };
                    let mut hard = bait("hard", "tcp/666", 60_000);
                    hard.ports.push("udp/666".parse().unwrap());
                    let mut soft =
                        bait("soft", "tcp/21,tcp/22,tcp/23,tcp/8291,tcp/10000-60000", 60);
                    (soft.unless_secured, soft.unless_in_sequence) = (true, true);
                    let mut range = bait("a-range", "udp/40000-65535,tcp/1-2", 1);
                    range.unless_secured = true;
                    let full = Rules {
                        baits: vec![hard, soft, range],
                        interfaces: vec!["eth0".into(), "wlan-outside".into()],
                        never_ban: [
                            "10.0.0.0/8",
                            "10.4.0.0/16",
                            "11.0.0.0/24",
                            "11.0.1.0/25",
                            "255.255.255.255/32",
                            "fd00::/8",
                            "2001:db8::1/128",
                            "ffff::/16",
                        ]
                        .map(|n| n.parse().unwrap())
                        .to_vec(),
                        ..bare.clone()
                    };
                    let bound = Rules { bound: rules().protected, ..full.clone() };
                    let one = Rules { interfaces: vec!["eth0".into()], ..bare.clone() };
                    let forward = |ports: &str, to: Option<&str>, established| Forward {
                        ports: ports.split(',').map(|p| p.parse().unwrap()).collect(),
                        to: to.map(|to| to.parse().unwrap()),
                        established,
                    };
                    let routed = Rules {
                        forward: vec![forward(
                            "tcp/443,tcp/8000-8010,udp/53",
                            None,
                            Established::Keep,
                        )],
                        ..one.clone()
                    };
                    let gateway = Rules {
                        forward: vec![
                            forward("tcp/443,tcp/8000-8010,udp/53", None, Established::Drop),
                            forward("tcp/2222", Some("10.0.0.5:22"), Established::Keep),
                            forward("tcp/2223,udp/2223", Some("[fd00::5]:22"), Established::Drop),
                            forward("tcp/80,tcp/443,udp/443", Some("10.0.0.6"), Established::Drop),
                            forward("udp/1-2", Some("fd00::6"), Established::Keep),
                        ],
                        ..bound.clone()
                    };
                    out.extend([bare, full, one, bound, routed, gateway]);
                }
            }
        }
    }
    out
}

#[test]
fn what_is_installed_is_read_back() {
    alone(|| {
        let mut firewall = Nftables::new().unwrap();
        let all = combinations();
        assert!(firewall.difference(&all[0]).unwrap().unwrap().contains("missing"));
        for (at, rules) in all.iter().enumerate() {
            firewall.install(rules).unwrap();
            assert_eq!(firewall.difference(rules).unwrap(), None, "{rules:?}");
            let other = &all[(at + 1) % all.len()];
            assert!(
                firewall.difference(other).unwrap().is_some(),
                "{rules:?} passes for {other:?}"
            );
        }
        // Grants, bans and what is counted are no difference; anything else is.
        let rules = Rules { mode: Mode::Standalone, ..all[1].clone() };
        firewall.install(&rules).unwrap();
        firewall.open(&grant(1, "192.0.2.7", "tcp/22", 60)).unwrap();
        firewall.ban("192.0.2.8".parse().unwrap(), std::time::Duration::from_secs(9)).unwrap();
        assert_eq!(firewall.difference(&rules).unwrap(), None);
        for (change, words) in [
            ("add element inet spa protected_tcp { 9 }", "set protected_tcp"),
            ("delete element inet spa never6 { fd00::/8 }", "set never6"),
            ("flush set inet spa knock", "set knock"),
            ("add rule inet spa input accept", "of chain input"),
            ("insert rule inet spa pre accept", "rule 1 of chain pre"),
            ("flush chain inet spa bait", "rule 1 of chain bait"),
            ("chain inet spa input { policy accept; }", "chain input"),
            ("add chain inet spa other", "differ"),
            ("table inet spa { flags dormant; }", "differ"),
            ("delete table inet spa", "missing"),
        ] {
            sh(&format!("nft '{change}'"));
            let found = firewall.difference(&rules).unwrap();
            assert!(
                found.as_ref().is_some_and(|found| found.contains(words)),
                "{change}: {found:?}"
            );
            firewall.restore().unwrap();
            assert_eq!(firewall.difference(&rules).unwrap(), None, "{change}");
        }
    });
}

#[test]
fn what_is_printed_is_what_is_installed() {
    for rules in combinations() {
        let text = print(&rules);
        let printed = alone(move || {
            load(&text);
            listing()
        });
        let wanted = rules.clone();
        let installed = alone(move || {
            Nftables::new().unwrap().install(&wanted).unwrap();
            listing()
        });
        same(&printed, &installed, &format!("{rules:?}"));
    }
}

#[test]
fn from_every_combination_to_the_next_and_by_text() {
    alone(|| {
        let mut firewall = Nftables::new().unwrap();
        let held = grant(1, "192.0.2.1", "tcp/22", 600);
        for (count, rules) in combinations().into_iter().enumerate() {
            firewall.install(&rules).unwrap();
            if count == 0 {
                firewall.open(&held).unwrap();
            }
            let before = listing();
            load(&print(&rules));
            same(&before, &listing(), &format!("{rules:?}"));
            assert_eq!(firewall.grants().unwrap().len(), 1);
        }
    });
}

#[test]
fn foreign_tables_are_not_touched() {
    alone(|| {
        load(
            "table inet other { set s { type ipv4_addr; elements = { 192.0.2.9 } }\nchain c { type \
             filter hook input priority 0; policy accept; tcp dport 22 accept; }\n}\ntable ip spa \
             { chain c { accept; }\n}\n",
        );
        let before = sh("nft list ruleset");
        let mut firewall = Nftables::new().unwrap();
        firewall.remove().unwrap();
        firewall.install(&rules()).unwrap();
        firewall.install(&Rules { mode: Mode::Standalone, ..rules() }).unwrap();
        assert!(sh("nft list ruleset").len() > before.len());
        firewall.remove().unwrap();
        firewall.remove().unwrap();
        assert_eq!(sh("nft list ruleset"), before);
    });
}

#[test]
fn a_table_of_another_layout_is_made_anew_and_keeps_grants_and_bans() {
    alone(|| {
        let mut firewall = Nftables::new().unwrap();
        firewall.install(&rules()).unwrap();
        firewall.open(&grant(4, "192.0.2.1", "tcp/22,tcp/80-82", 600)).unwrap();
        firewall.ban("198.51.100.7".parse().unwrap(), std::time::Duration::from_secs(99)).unwrap();
        // Another size of the ban sets.
        let larger = Rules { ban_limit: 2000, ..rules() };
        Nftables::new().unwrap().install(&larger).unwrap();
        assert_eq!(sh("nft list set inet spa ban4").matches("size 2000").count(), 1);
        let mut again = Nftables::new().unwrap();
        assert_eq!(again.grants().unwrap().len(), 1);
        assert_eq!(again.bans().unwrap().len(), 1);
        // Another key, and a chain at another hook.
        sh("nft delete table inet spa");
        load(
            "table inet spa { set grant4 { type ipv4_addr; }\nchain input { type filter hook \
             output priority 0; }\n}\n",
        );
        firewall.install(&rules()).unwrap();
        assert_eq!(firewall.grants().unwrap().len(), 1);
        // Only a chain at another hook.
        sh("nft flush chain inet spa input");
        sh("nft delete chain inet spa input");
        load("table inet spa { chain input { type filter hook output priority 0; }\n}\n");
        firewall.install(&rules()).unwrap();
        assert_eq!(firewall.grants().unwrap().len(), 1);
        assert!(sh("nft list chain inet spa input").contains("hook input"));
    });
}
