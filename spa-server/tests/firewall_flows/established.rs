//! `established = "drop"`: a flow lives only while a grant does.

use std::time::{Duration, Instant};

use spa_server::domain::grant::{Grant, GrantId};
use spa_server::domain::ports::Protocol::{Tcp, Udp};
use spa_server::firewall::{Firewall, Hide, Mode, Rules};

use crate::namespace::{grant, load, rules, sh};
use crate::net::{FAMILIES, Net, Seen};

/// Of two UDP ports one is bound.
fn drop(mode: Mode, hide: Hide) -> Rules {
    Rules {
        mode,
        hide,
        bound: vec!["tcp/22".parse().unwrap(), "udp/5000".parse().unwrap()],
        ..rules()
    }
}

fn open(net: &Net, grant: Grant) {
    net.with(move |f| f.open(&grant).unwrap());
}

fn close(net: &Net, id: u64) {
    net.with(move |f| f.close(GrantId(id)).unwrap());
}

/// Conntrack's entries with this port at either end.
fn entries(net: &Net, port: u16) -> usize {
    let text = net.server.run(|| sh("cat /proc/thread-self/net/nf_conntrack"));
    let word = [format!("sport={port} "), format!("dport={port} ")];
    text.lines().filter(|line| word.iter().any(|w| line.contains(w))).count()
}

#[test]
fn closing_cuts_what_it_let_in() {
    for mode in [Mode::Guard, Mode::Standalone] {
        for hide in [Hide::Drop, Hide::Closed] {
            let net = Net::new(&drop(mode, hide));
            for (server, source, other) in FAMILIES {
                for scope in ["tcp/22,udp/5000-5001", "all"] {
                    let what = format!("{mode:?} {hide:?} {server} {scope}");
                    open(&net, grant(1, source, scope, 600));
                    open(&net, grant(2, other, scope, 600));
                    let mut tcp = net.reach(Tcp, source, server, 22);
                    let mut udp = net.reach(Udp, source, server, 5000);
                    let mut kept = net.reach(Udp, source, server, 5001);
                    let mut others = net.reach(Tcp, other, server, 22);
                    // Renewed, for longer and for shorter: nobody notices.
                    open(&net, grant(1, source, scope, 900));
                    open(&net, grant(1, source, scope, 100));
                    assert!(tcp.alive() && udp.alive() && kept.alive(), "renewed, {what}");
                    assert_ne!(entries(&net, 5000), 0, "{what}");

                    let before = entries(&net, 22);
                    close(&net, 1);
                    assert_eq!(entries(&net, 5000), 0, "{what}");
                    // On a busy machine a connection may have been tried twice: then there are two
                    // entries of it.
                    assert!((1..before).contains(&entries(&net, 22)), "the other's stays, {what}");
                    assert!(!tcp.alive() && !udp.alive(), "{what}");
                    assert!(kept.alive(), "a port that is not bound, {what}");
                    assert!(others.alive(), "another source, {what}");
                    // The server repeats what it has sent: nothing may come of that.
                    assert!(!tcp.alive() && !udp.alive(), "{what}");
                    let refusal = if hide == Hide::Drop { Seen::Silent } else { Seen::Refused };
                    assert_eq!(net.flow(Tcp, source, server, 22).unwrap_err(), refusal, "{what}");
                    close(&net, 2);
                }
            }
        }
    }
}

#[test]
fn the_end_of_its_time_cuts_without_us() {
    let net = Net::new(&drop(Mode::Guard, Hide::Drop));
    for (server, source, _) in FAMILIES {
        let start = Instant::now();
        open(&net, grant(1, source, "tcp/22,udp/5000", 2));
        let mut tcp = net.reach(Tcp, source, server, 22);
        let mut udp = net.reach(Udp, source, server, 5000);
        net.crash();
        while udp.alive() {
            assert!(start.elapsed() < Duration::from_secs(6));
        }
        assert!(start.elapsed() >= Duration::from_secs(2));
        assert!(!tcp.alive());
        // Not only the answers are cut: nothing of the flow comes in, as a chain behind ours sees
        // it.
        net.server.run(|| {
            load(
                "table inet behind { chain c { type filter hook input priority 10; udp dport 5000 \
                counter; }\n}\n",
            );
        });
        assert!(!udp.alive());
        let seen =
            net.server.run(|| sh("nft list table inet behind; nft delete table inet behind"));
        assert!(seen.contains("counter packets 0 "), "{seen}");
        // Granted again while TCP is still patient: the same connection goes on.
        open(&net, grant(2, source, "tcp/22", 600));
        let again = Instant::now();
        while !tcp.alive() {
            assert!(again.elapsed() < Duration::from_secs(10), "it does not come back");
        }
        close(&net, 2);
    }
}

/// The server sends after the entry is gone: conntrack would take its packet for a new flow of the
/// server's, and the client's packets for welcome answers.
#[test]
fn an_entry_that_the_service_makes_anew_opens_nothing() {
    let net = Net::new(&drop(Mode::Guard, Hide::Drop));
    for (server, source, _) in FAMILIES {
        open(&net, grant(1, source, "tcp/22,udp/5000", 600));
        let mut tcp = net.reach(Tcp, source, server, 22);
        let mut udp = net.reach(Udp, source, server, 5000);
        // Somebody else empties conntrack, while answers are under way that cannot arrive.
        net.client.run(|| {
            load("table inet deaf { chain in { type filter hook input priority 0; drop; }\n}\n")
        });
        assert!(!tcp.alive() && !udp.alive());
        close(&net, 1);
        net.server.run(|| sh("conntrack -F 2>/dev/null"));
        // Longer than TCP's first repetitions.
        assert!(!tcp.alive() && !tcp.alive() && !tcp.alive());
        net.client.run(|| sh("nft delete table inet deaf"));
        assert_eq!((entries(&net, 22), entries(&net, 5000)), (0, 0), "{server}");
        assert!(!tcp.alive() && !udp.alive(), "{server}");
        assert_eq!((entries(&net, 22), entries(&net, 5000)), (0, 0), "{server}");
        let counted = net.server.run(|| sh("nft list chain inet spa answers"));
        assert!(!counted.contains("counter packets 0 "), "the server did try: {counted}");
        net.server.run(|| sh("nft flush ruleset"));
        net.with(|f| f.restore().unwrap());
    }
}

#[test]
fn another_grant_keeps_the_flow() {
    let net = Net::new(&drop(Mode::Guard, Hide::Drop));
    for (server, source, _) in FAMILIES {
        let prefix = if server.contains(':') { 64 } else { 24 };
        let wide = Grant { prefix, ..grant(2, source, "tcp/22", 300) };
        for second in [grant(2, source, "tcp/22", 300), grant(2, source, "all", 300), wide] {
            open(&net, grant(1, source, "tcp/22", 600));
            let mut tcp = net.reach(Tcp, source, server, 22);
            open(&net, second.clone());
            close(&net, 1);
            assert!(tcp.alive(), "{second:?}");
            assert_ne!(entries(&net, 22), 0, "{second:?}");
            close(&net, 2);
            assert!(!tcp.alive(), "{second:?}");
            assert_eq!(entries(&net, 22), 0, "{second:?}");
        }
    }
}

#[test]
fn flows_of_before_the_rules_are_looked_up_as_well() {
    let net = Net::new(&rules());
    for (server, source, _) in FAMILIES {
        open(&net, grant(1, source, "tcp/22,udp/5000", 600));
        let mut tcp = net.reach(Tcp, source, server, 22);
        let mut udp = net.reach(Udp, source, server, 5000);
        net.install(&drop(Mode::Guard, Hide::Drop));
        assert!(tcp.alive() && udp.alive());
        net.crash();
        net.install(&drop(Mode::Guard, Hide::Drop));
        assert!(tcp.alive() && udp.alive(), "a restart cuts nobody off");
        close(&net, 1);
        assert!(!tcp.alive() && !udp.alive());
        net.install(&rules());
    }
}
