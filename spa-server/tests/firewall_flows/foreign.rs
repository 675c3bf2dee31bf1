//! Another process of root changes what is in our sets.

use std::time::Duration;

use spa_server::domain::ports::Protocol::Tcp;
use spa_server::firewall::nftables::Noticed;
use spa_server::firewall::{Firewall, Mode, Rules};

use crate::namespace::{elements, grant, ids, rules, sh};
use crate::net::{FAMILIES, Net, Seen};

/// Elements that open tcp/22 or everything to the stranger, or excuse from something.
const FOREIGN: [(&str, &str); 14] = [
    ("grant4", "10.9.1.3 . tcp . 22 timeout 1h"),
    ("grant4", "10.9.1.3 . tcp . 22"),
    ("grant4", "10.9.1.3 . tcp . 22 timeout 1h comment \"g1 alice ssh ttl=600\""),
    ("grant4", "10.9.1.2 . tcp . 22 timeout 9h comment \"g1 alice ssh ttl=600\""),
    ("grant6", "fd09:1:0:0:7::3 . tcp . 22 timeout 1h"),
    ("grant_wide4", "10.9.1.0/24 . tcp . 22 timeout 1h"),
    ("grant_wide6", "fd09:1::/64 . tcp . 22 timeout 1h"),
    ("all4", "10.9.1.3 timeout 1h"),
    ("all6", "fd09:1:0:0:7::3 timeout 1h"),
    ("all_wide4", "10.9.1.0/24 . tcp timeout 1h"),
    ("all_wide6", "fd09:1::/64 . tcp timeout 1h"),
    ("flow4", "10.9.1.3 . tcp . 22 timeout 1h"),
    ("inside6", "fd09:1:0:0:7::3 . tcp . 22 timeout 1h"),
    ("live4", "10.9.1.3 timeout 1h"),
];

/// Keys and comments in the sets, without times and counts.
fn set_content(net: &Net) -> Vec<String> {
    let sets = "grant4 grant6 grant_wide4 grant_wide6 all4 all6 all_wide4 all_wide6 flow4 inside6 \
                live4";
    let text = sets.split_whitespace().map(|set| {
        let listed = net.server.run(move || sh(&format!("nft -j list set inet spa {set}")));
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let elements = listed["nftables"][1]["set"]["elem"].as_array().cloned();
        let mut elements: Vec<_> = elements
            .unwrap_or_default()
            .iter()
            .map(|e| format!("{set} {} {}", e["elem"]["val"], e["elem"]["comment"]))
            .collect();
        elements.sort();
        elements
    });
    text.flatten().collect()
}

#[test]
fn f12_a_foreign_element_is_seen_and_taken_away() {
    for mode in [Mode::Guard, Mode::Standalone] {
        let wanted = Rules { mode, ..rules() };
        let net = Net::new(&wanted);
        let difference = |rules: Rules| net.with(move |f| f.difference(&rules).unwrap());
        let hidden = |what: &str| {
            for (server, source, other) in FAMILIES {
                let seen = net.flow(Tcp, other, server, 22).map(drop);
                assert_eq!(seen, Err(Seen::Silent), "{mode:?} {what}: the stranger, {server}");
                assert!(net.flow(Tcp, source, server, 22).is_ok(), "{what}: the client, {server}");
            }
        };
        for (id, (_, source, _)) in (1..).zip(FAMILIES) {
            net.with(move |f| f.open(&grant(id, source, "tcp/22", 600)).unwrap());
        }
        hidden("before");
        let content = set_content(&net);
        for (set, element) in FOREIGN {
            let what = format!("{set} {element}");
            let add = || {
                let line = format!("nft delete element inet spa {set} '{{ 10.9.1.2 . tcp . 22 }}'");
                if element.starts_with("10.9.1.2") {
                    net.server.run(move || sh(&line));
                }
                let line = format!("nft add element inet spa {set} '{{ {element} }}'");
                net.server.run(move || sh(&line));
            };
            add();
            let found = difference(wanted.clone());
            assert!(found.is_some(), "{mode:?} {what}: not noticed");
            net.with(|f| f.restore().unwrap());
            assert_eq!(difference(wanted.clone()), None, "{what}");
            hidden(&what);
            assert_eq!(set_content(&net), content, "{what}: restored");
            // While no server runs: what is no grant is taken away by the first install.
            if !element.contains("comment") {
                add();
                net.crash();
                net.install(&wanted);
                hidden(&format!("{what}: restarted"));
                assert_eq!(set_content(&net), content, "{what}: restarted");
            }
        }
        assert_eq!(net.with(|f| ids(&f.grants().unwrap())), [1, 2]);
        // A grant that somebody took away comes back.
        net.server.run(|| sh("nft flush set inet spa grant6"));
        assert!(difference(wanted.clone()).is_some());
        net.with(|f| f.restore().unwrap());
        hidden("taken away");
        let time = net.server.run(|| elements("grant6")[0].clone());
        assert!(time.1 == 600 && time.2 <= 600, "{time:?}");
    }
}

#[test]
fn f4_a_large_restore_is_no_foreign_change() {
    for (grants, ports) in [(10_000u32, "tcp/22,udp/5000-5001"), (200, "tcp/100-355")] {
        let net = Net::new(&rules());
        let mut watcher = net.with(move |f| {
            let watcher = f.watcher().unwrap();
            for number in 0..grants {
                let [_, a, b, c] = number.to_be_bytes();
                let source = format!("172.{}.{b}.{c}", 16 + a);
                f.open(&grant(number.into(), &source, ports, 900)).unwrap();
            }
            watcher
        });
        assert_eq!(watcher.drain().unwrap(), Noticed::Nothing);
        let mut restores = 0;
        let start = std::time::Instant::now();
        net.server.run(|| sh("nft flush ruleset"));
        while watcher.drain().unwrap() != Noticed::Nothing && restores < 5 {
            net.with(|f| f.restore().unwrap());
            restores += 1;
        }
        assert_eq!(restores, 1, "{grants} grants of {ports}, {:?}", start.elapsed());
        let live = net.with(|f| f.grants().unwrap());
        assert_eq!(live.len(), usize::try_from(grants).unwrap());
        assert!(live.iter().all(|one| one.left <= Duration::from_secs(900)));
    }
}
