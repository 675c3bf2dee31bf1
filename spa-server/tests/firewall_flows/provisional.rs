//! Provisional grants: what they let in ends with them, unless somebody confirms.

use std::time::{Duration, Instant};

use spa_server::domain::grant::{Grant, GrantId};
use spa_server::domain::ports::Protocol::{Tcp, Udp};
use spa_server::firewall::{Firewall, Hide, Mode, Rules};

use crate::namespace::{grant, rules, sh};
use crate::net::{FAMILIES, Flow, Net};

/// Longer than any grant here.
const MAX_WAIT: Duration = Duration::from_secs(15);

fn provisional(id: u64, source: &str, scope: &str, ttl: u64) -> Grant {
    Grant { provisional: true, ..grant(id, source, scope, ttl) }
}

fn open(net: &Net, grant: Grant) {
    net.with(move |f| f.open(&grant).unwrap());
}

fn wait_dead(flow: &mut Flow, about: &str) {
    let start = Instant::now();
    while flow.alive() {
        assert!(start.elapsed() < MAX_WAIT, "lives on: {about}");
    }
}

#[test]
fn what_nobody_confirms_ends_with_its_flows() {
    for mode in [Mode::Guard, Mode::Standalone] {
        for hide in [Hide::Drop, Hide::Closed] {
            let net = Net::new(&Rules { mode, hide, ..rules() });
            for (server, source, other) in FAMILIES {
                for scope in ["tcp/22,udp/5000", "all"] {
                    let about = format!("{mode:?} {hide:?} {server} {scope}");
                    open(&net, provisional(1, source, scope, 2));
                    open(&net, grant(2, other, scope, 600));
                    let mut tcp = net.reach(Tcp, source, server, 22);
                    let mut udp = net.reach(Udp, source, server, 5000);
                    let mut others = net.reach(Tcp, other, server, 22);
                    // By the kernel's own timers: nobody of ours is needed.
                    net.crash();
                    wait_dead(&mut tcp, &about);
                    wait_dead(&mut udp, &about);
                    // The server repeats what it has sent: nothing may come of that.
                    assert!(!tcp.alive() && !udp.alive(), "{about}");
                    assert!(others.alive(), "another source, {about}");
                    assert!(net.flow(Tcp, source, server, 22).is_err(), "{about}");
                    net.with(|f| f.close(GrantId(2)).unwrap());
                }
            }
        }
    }
}

#[test]
fn what_is_confirmed_stays_as_any_other() {
    let net = Net::new(&rules());
    for (server, source, _) in FAMILIES {
        open(&net, provisional(1, source, "tcp/22,udp/5000", 2));
        let mut before = net.reach(Tcp, source, server, 22);
        open(&net, grant(1, source, "tcp/22,udp/5000", 2));
        let mut after = net.reach(Tcp, source, server, 22);
        assert!(before.alive() && after.alive(), "{server}");
        let start = Instant::now();
        while net.flow(Tcp, source, server, 22).is_ok() {
            assert!(start.elapsed() < MAX_WAIT);
        }
        // `established = "keep"`: a flow outlives its grant.
        assert!(before.alive() && after.alive(), "{server}");
    }
}

#[test]
fn a_confirmation_elsewhere_cuts() {
    let net = Net::new(&rules());
    for (server, source, other) in FAMILIES {
        open(&net, provisional(1, source, "tcp/22,udp/5000", 600));
        let mut tcp = net.reach(Tcp, source, server, 22);
        let mut udp = net.reach(Udp, source, server, 5000);
        let confirmed = grant(2, other, "tcp/22,udp/5000", 600);
        net.with(move |f| f.replace(&confirmed, &[GrantId(1)]).unwrap());
        assert!(!tcp.alive() && !udp.alive(), "{server}");
        assert!(!tcp.alive() && !udp.alive(), "{server}");
        // The client moves on: what was confirmed for the first address ends as well.
        let mut tcp = net.reach(Tcp, other, server, 22);
        let third = grant(3, source, "tcp/22,udp/5000", 600);
        net.with(move |f| f.replace(&third, &[GrantId(2)]).unwrap());
        assert!(!tcp.alive() && !tcp.alive(), "{server}");
        assert!(net.reach(Tcp, source, server, 22).alive(), "{server}");
        net.with(|f| f.close(GrantId(3)).unwrap());
    }
}

/// Two clients behind one address: one has a grant, the other knocks and never confirms.
#[test]
fn a_neighbours_flows_stay() {
    let net = Net::new(&rules());
    for (server, source, _) in FAMILIES {
        open(&net, grant(1, source, "tcp/22", 2));
        let mut kept = net.reach(Tcp, source, server, 22);
        let start = Instant::now();
        while net.flow(Tcp, source, server, 22).is_ok() {
            assert!(start.elapsed() < MAX_WAIT);
        }
        open(&net, provisional(2, source, "tcp/22", 2));
        assert!(kept.alive(), "{server}");
        let mut copied = net.reach(Tcp, source, server, 22);
        wait_dead(&mut copied, server);
        assert!(kept.alive(), "{server}");
    }
}

/// A restarted server and a table that is put back know what is provisional.
#[test]
fn adopted_and_restored() {
    let net = Net::new(&rules());
    for (server, source, _) in FAMILIES {
        open(&net, provisional(1, source, "tcp/22", 4));
        net.crash();
        let rules = rules();
        net.with(move |f| f.install(&rules).unwrap());
        net.server.run(|| sh("nft flush ruleset"));
        net.with(|f| f.restore().unwrap());
        let mut tcp = net.reach(Tcp, source, server, 22);
        wait_dead(&mut tcp, server);
    }
}
