//! Grants for a network instead of an address, and what becomes of those that lie in one another.

use std::time::{Duration, Instant};

use spa_server::domain::grant::{Grant, GrantId};
use spa_server::domain::ports::Protocol::{Tcp, Udp};
use spa_server::firewall::{Firewall, Rules};

use crate::namespace::{bait, grant, ip, rules, sh};
use crate::net::Net;

/// Of one family: the server; a source, a neighbour in the smaller network, another in the larger
/// one only; the prefixes.
const FAMILIES: [([&str; 4], u8, u8); 2] = [
    (["10.9.1.1", "10.9.1.2", "10.9.1.3", "10.9.1.200"], 26, 24),
    (["fd09:1::1", "fd09:1::2", "fd09:1::3", "fd09:1:0:0:7::3"], 96, 64),
];

fn wide(id: u64, source: &str, prefix: u8, ports: &str, ttl: u64) -> Grant {
    Grant { prefix, ..grant(id, source, ports, ttl) }
}

fn open(net: &Net, grant: Grant) {
    net.with(move |f| f.open(&grant).unwrap());
}

fn close(net: &Net, id: u64) {
    net.with(move |f| f.close(GrantId(id)).unwrap());
}

/// Number and use of each grant.
fn used(net: &Net) -> Vec<(u64, u64)> {
    let live = net.with(|f| f.grants().unwrap());
    live.iter().map(|g| (g.grant.id.0, g.used.unwrap())).collect()
}

/// Which of the sources get through.
fn pass(net: &Net, server: &str, sources: [&str; 3]) -> [bool; 3] {
    sources.map(|source| net.flow(Tcp, source, server, 22).is_ok())
}

#[test]
fn the_network_may_pass_and_nobody_else() {
    let net = Net::new(&rules());
    for ([server, a, b, c], small, large) in FAMILIES {
        open(&net, wide(1, a, small, "tcp/22,udp/5000", 600));
        assert_eq!(pass(&net, server, [a, b, c]), [true, true, false], "{server}");
        assert!(net.flow(Udp, b, server, 5000).is_ok() && net.flow(Udp, b, server, 5001).is_err());
        assert_eq!(used(&net), [(1, 3)]);
        open(&net, wide(1, a, small, "tcp/22,udp/5000", 900));
        assert_eq!(used(&net), [(1, 3)], "renewed");
        assert_eq!(pass(&net, server, [a, b, c]), [true, true, false]);
        // Renewed for a larger network, and for a smaller.
        open(&net, wide(1, a, large, "tcp/22", 900));
        assert_eq!(pass(&net, server, [a, b, c]), [true; 3]);
        open(&net, wide(1, a, small, "tcp/22", 900));
        assert_eq!(pass(&net, server, [a, b, c]), [true, true, false]);
        open(&net, grant(1, a, "tcp/22", 900));
        assert_eq!(pass(&net, server, [a, b, c]), [true, false, false], "renewed for one address");
        open(&net, wide(1, a, small, "tcp/22", 900));
        close(&net, 1);
        assert_eq!(pass(&net, server, [a, b, c]), [false; 3]);

        open(&net, wide(2, a, small, "all", 600));
        assert!(net.flow(Tcp, b, server, 22).is_ok());
        assert_eq!(used(&net), [(2, 1)]);
        assert_eq!(pass(&net, server, [a, b, c]), [true, true, false], "everything");
        close(&net, 2);
        assert_eq!(pass(&net, server, [a, b, c]), [false; 3]);
        let sets = net.server.run(|| sh("nft list table inet spa"));
        assert!(
            !sets.contains("elements = { 10.") && !sets.contains("elements = { fd09:1"),
            "{sets}"
        );
    }
}

#[test]
fn networks_within_one_another() {
    let net = Net::new(&rules());
    for ([server, a, b, c], small, large) in FAMILIES {
        // Every order of opening, of ends and of closing.
        for (outer, inner) in [(600, 900), (900, 600)] {
            for outer_first in [true, false] {
                for close_outer in [true, false] {
                    let what = format!("{server} {outer} {inner} {outer_first} {close_outer}");
                    let both =
                        [wide(1, a, large, "tcp/22", outer), wide(2, b, small, "tcp/22", inner)];
                    let order = if outer_first { [0, 1] } else { [1, 0] };
                    for n in order {
                        open(&net, both[n].clone());
                    }
                    open(&net, grant(3, a, "tcp/22", 60));
                    assert_eq!(pass(&net, server, [a, b, c]), [true; 3], "{what}");
                    let live = net.with(|f| f.grants().unwrap());
                    assert_eq!(
                        live.iter().map(|g| g.grant.id.0).collect::<Vec<_>>(),
                        [1, 2, 3],
                        "{what}"
                    );
                    assert!(
                        live[0].left > Duration::from_secs(outer - 9)
                            && live[0].left <= Duration::from_secs(outer)
                    );
                    // Flushed and put back.
                    net.server.run(|| sh("nft flush ruleset"));
                    net.with(|f| f.restore().unwrap());
                    assert_eq!(pass(&net, server, [a, b, c]), [true; 3], "{what}, restored");
                    if close_outer {
                        close(&net, 1);
                        assert_eq!(pass(&net, server, [a, b, c]), [true, true, false], "{what}");
                        close(&net, 2);
                    } else {
                        close(&net, 2);
                        assert_eq!(pass(&net, server, [a, b, c]), [true; 3], "{what}");
                        close(&net, 1);
                    }
                    assert_eq!(
                        pass(&net, server, [a, b, c]),
                        [true, false, false],
                        "{what}: the narrow one"
                    );
                    close(&net, 3);
                    assert_eq!(pass(&net, server, [a, b, c]), [false; 3], "{what}");
                }
            }
        }
    }
}

#[test]
fn the_count_stays_whole_when_intervals_are_cut_and_joined() {
    let net = Net::new(&rules());
    for ([server, a, b, c], small, large) in FAMILIES {
        open(&net, wide(1, a, large, "tcp/22", 600));
        assert_eq!(pass(&net, server, [a, b, c]), [true; 3]);
        assert_eq!(used(&net), [(1, 3)]);
        open(&net, wide(2, b, small, "tcp/22", 900));
        assert_eq!(pass(&net, server, [a, b, c]), [true; 3]);
        assert_eq!(used(&net)[0], (1, 6), "cut in pieces");
        close(&net, 2);
        assert_eq!(used(&net), [(1, 6)], "joined again");
        close(&net, 1);
    }
}

#[test]
fn the_kernel_ends_each_at_its_time_without_us() {
    let net = Net::new(&rules());
    for ([server, a, b, c], small, large) in FAMILIES {
        let start = Instant::now();
        open(&net, wide(1, a, large, "tcp/22", 2));
        open(&net, wide(2, b, small, "tcp/22", 600));
        assert_eq!(pass(&net, server, [a, b, c]), [true; 3]);
        net.crash();
        while net.flow(Tcp, c, server, 22).is_ok() {
            assert!(start.elapsed() < Duration::from_secs(6));
        }
        assert!(start.elapsed() >= Duration::from_secs(2));
        assert_eq!(pass(&net, server, [a, b, c]), [true, true, false]);
        // A new server finds what is left, to the address and prefix.
        let live = net.with(|f| f.grants().unwrap());
        assert_eq!(live.len(), 1);
        assert_eq!(live[0].grant, wide(2, b, small, "tcp/22", 600));
        close(&net, 2);
    }
}

#[test]
fn a_restarted_server_finds_networks_within_one_another() {
    let net = Net::new(&rules());
    for ([server, a, b, c], small, large) in FAMILIES {
        let both = [wide(1, a, large, "tcp/22,udp/5000", 600), wide(2, b, small, "tcp/22", 900)];
        for grant in both.clone() {
            open(&net, grant);
        }
        net.crash();
        net.install(&Rules { ban_limit: 77, ..rules() });
        let live = net.with(|f| f.grants().unwrap());
        assert_eq!(live.iter().map(|g| g.grant.clone()).collect::<Vec<_>>(), both, "{server}");
        assert_eq!(pass(&net, server, [a, b, c]), [true; 3]);
        close(&net, 2);
        assert_eq!(pass(&net, server, [a, b, c]), [true; 3]);
        close(&net, 1);
        assert_eq!(pass(&net, server, [a, b, c]), [false; 3]);
        net.install(&rules());
    }
}

#[test]
fn a_live_wide_grant_protects_from_bans() {
    let mut soft = bait("soft", "tcp/21", 600);
    soft.unless_secured = true;
    let net = Net::new(&Rules { baits: vec![soft], ..rules() });
    for ([server, a, b, c], small, _) in FAMILIES {
        open(&net, wide(1, a, small, "tcp/22", 600));
        assert!(net.flow(Tcp, b, server, 21).is_err());
        assert!(net.with(|f| f.bans().unwrap()).is_empty(), "the whole network is excused");
        let stranger = ip(c);
        net.with(move |f| f.ban(stranger, Duration::from_secs(60)).unwrap());
        assert!(net.flow(Tcp, c, server, 80).is_err());
        assert!(net.flow(Tcp, b, server, 22).is_ok(), "a ban of its /64 does not cut it off");
        net.with(move |f| f.unban(stranger).unwrap());
        close(&net, 1);
    }
}
