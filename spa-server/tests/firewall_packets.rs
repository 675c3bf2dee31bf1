//! Real packets through a cable between two network namespaces: who gets through, and how the
//! rest looks to whom it does not let in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod namespace;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use namespace::net::Seen::{Open, Refused, Silent};
use namespace::net::{FAMILIES, Net, PATIENCE, connect};
use namespace::{Host, bait, grant, ip, load, rules, sh};
use spa_server::domain::grant::GrantId;
use spa_server::domain::ports::Protocol;
use spa_server::firewall::baitlog::{BaitHit, BaitLog};
use spa_server::firewall::netlink::NflogSocket;
use spa_server::firewall::{Authenticated, Firewall, Hide, Mode, Rules};

#[test]
fn what_a_stranger_and_a_guest_see() {
    let hidden = |hide| if hide == Hide::Drop { Silent } else { Refused };
    let net = Net::new(&rules());
    for mode in [Mode::Guard, Mode::Standalone] {
        for hide in [Hide::Drop, Hide::Closed] {
            net.install(&Rules { mode, hide, ..rules() });
            let rest = if mode == Mode::Guard { Refused } else { hidden(hide) };
            let public = if mode == Mode::Guard { Open } else { hidden(hide) };
            for (server, source, other) in FAMILIES {
                let what = format!("{mode:?} {hide:?} {server}");
                assert_eq!(net.tcp(source, server, 22), hidden(hide), "protected, {what}");
                assert_eq!(net.tcp(source, server, 80), public, "not protected, {what}");
                assert_eq!(net.tcp(source, server, 81), rest, "closed, {what}");
                assert_eq!(net.udp(source, server, 5000), hidden(hide), "protected udp, {what}");
                assert_eq!(net.udp(source, server, 99), rest, "closed udp, {what}");
                assert_eq!(net.udp(source, server, 41001), hidden(hide), "knock port, {what}");
                assert_eq!(net.ping(server), mode == Mode::Guard, "ping, {what}");

                let given = grant(1, source, "tcp/22,udp/5000", 600);
                net.with(move |f| f.open(&given).unwrap());
                assert_eq!(net.tcp(source, server, 22), Open, "granted, {what}");
                assert_eq!(net.udp(source, server, 5000), Open, "granted udp, {what}");
                assert_eq!(net.tcp(source, server, 80), public, "another port, {what}");
                assert_eq!(net.tcp(other, server, 22), hidden(hide), "another source, {what}");
                assert_eq!(
                    net.udp(other, server, 5000),
                    hidden(hide),
                    "another source udp, {what}"
                );
                net.with(|f| f.close(GrantId(1)).unwrap());
                assert_eq!(net.tcp(source, server, 22), hidden(hide), "closed again, {what}");

                let given = grant(2, source, "all", 600);
                net.with(move |f| f.open(&given).unwrap());
                assert_eq!(net.tcp(source, server, 80), Open, "everything granted, {what}");
                assert_eq!(net.tcp(other, server, 80), public, "but to one, {what}");
                net.with(|f| f.close(GrantId(2)).unwrap());
            }
        }
    }
}

#[test]
fn a_connection_outlives_its_grant_and_the_server_may_call_out() {
    let net = Net::new(&Rules { mode: Mode::Standalone, ..rules() });
    for (server, source, _) in FAMILIES {
        let given = grant(1, source, "tcp/22", 600);
        net.with(move |f| f.open(&given).unwrap());
        let (from, to) = (ip(source), SocketAddr::new(ip(server), 22));
        let socket = net.client.run(move || connect(from, to).1.unwrap());
        net.with(|f| f.close(GrantId(1)).unwrap());
        assert_eq!(net.tcp(source, server, 22), Silent);
        // Bytes are acknowledged on the old connection: the send queue runs empty.
        let sent = socket.send(b"still here").unwrap();
        assert_eq!(sent, 10);
        let start = Instant::now();
        while unacknowledged(&net.client) {
            assert!(start.elapsed() < Duration::from_secs(3), "the open connection was cut");
        }

        let (near, far) = (ip(server), SocketAddr::new(ip(source), 7000));
        let listener = net.client.run(move || TcpListener::bind(far).unwrap());
        assert_eq!(net.server.run(move || connect(near, far).0), Open);
        drop(listener);
    }
}

/// Whether any connection in the namespace waits for an acknowledgement.
fn unacknowledged(host: &Host) -> bool {
    host.run(|| {
        sh("ss -Htn state established").lines().any(|l| l.split_whitespace().nth(1) != Some("0"))
    })
}

#[test]
fn knocks_stay_out_of_conntrack_and_reach_their_reader() {
    let net = Net::new(&Rules {
        knock_accept: true,
        knock_nflog: Some(8),
        mode: Mode::Standalone,
        ..rules()
    });
    let mut log = net.server.run(|| NflogSocket::bind(8, 2048).unwrap());
    let bound = net.server.run(|| {
        let socket = UdpSocket::bind("[::]:41001").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        socket
    });
    for (server, source, _) in FAMILIES {
        assert_eq!(net.udp(source, server, 41001), Silent);
        let mut buf = [0; 64];
        let (length, from) = bound.recv_from(&mut buf).unwrap();
        assert_eq!(&buf[..length], b"knock knock");
        bound.send_to(b"ack", from).unwrap();
        assert_eq!(logged(&mut log), [b"knock knock".to_vec()]);
        let tracked = net.server.run(|| sh("cat /proc/thread-self/net/nf_conntrack"));
        assert!(!tracked.contains("41001"), "{tracked}");
    }

    // Nobody listens: the log still hears it, behind a foreign default drop as well, at full
    // length.
    drop(bound);
    net.install(&Rules { knock_nflog: Some(8), ..rules() });
    net.server.run(|| {
        load(
            "table inet filter { chain in { type filter hook input priority -200; policy drop; \
            }\nchain pre { type filter hook prerouting priority -300; udp dport 41001 drop; \
            }\n}\n",
        );
    });
    for (server, source, _) in FAMILIES {
        assert_eq!(net.udp(source, server, 41001), Silent);
        assert_eq!(logged(&mut log).len(), 1);
        let (from, to) = (ip(source), SocketAddr::new(ip(server), 42003));
        net.client
            .run(move || UdpSocket::bind((from, 0)).unwrap().send_to(&[7; 1400], to).unwrap());
        assert_eq!(logged(&mut log), [vec![7; 1400]]);
    }
    assert_eq!(log.take_overflows(), 0);
}

/// The UDP payloads that wait in the log.
fn logged(log: &mut NflogSocket) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    log.drain(100, &mut |packet| {
        let headers = if packet.ethertype == 0x0800 { 28 } else { 48 };
        assert_eq!(packet.prefix, "");
        out.push(packet.payload[headers..].to_vec());
    })
    .unwrap();
    out
}

#[test]
fn a_bait_bans_and_tells() {
    let mut baits = [
        bait("hard", "tcp/666,udp/666", 60_000),
        bait("soft", "tcp/21,tcp/10000-60000,udp/40000-65535", 60),
    ];
    (baits[1].unless_secured, baits[1].unless_in_sequence) = (true, true);
    for hide in [Hide::Drop, Hide::Closed] {
        let hidden = if hide == Hide::Drop { Silent } else { Refused };
        let with = Rules { baits: baits.to_vec(), hide, ..rules() };
        let net = Net::new(&with);
        let mut log = net.server.run(|| BaitLog::open(7).unwrap());
        for (server, source, other) in FAMILIES {
            for (protocol, port, group, time) in [
                (Protocol::Tcp, 666, "hard", 60_000),
                (Protocol::Udp, 666, "hard", 60_000),
                (Protocol::Tcp, 21, "soft", 60),
                (Protocol::Tcp, 59_999, "soft", 60),
                (Protocol::Udp, 65_535, "soft", 60),
            ] {
                let what = format!("{hide:?} {server} {protocol}/{port}");
                let seen = match protocol {
                    Protocol::Tcp => net.tcp(source, server, port),
                    Protocol::Udp => net.udp(source, server, port),
                };
                assert_eq!(seen, hidden, "{what}");
                assert_eq!(
                    hits(&mut log),
                    [BaitHit { group: group.into(), source: ip(source), protocol, port }],
                    "{what}"
                );
                assert_eq!(net.tcp(source, server, 80), Silent, "banned at the top, {what}");
                assert!(!net.ping(server));
                let shared = if server.contains(':') { Silent } else { Open };
                assert_eq!(net.tcp(other, server, 80), shared, "IPv6 is banned by /64, {what}");
                let bans = net.with(|f| f.bans().unwrap());
                assert_eq!(bans.len(), 1, "{what}");
                assert!(bans[0].left <= Duration::from_secs(time), "{what}");
                assert!(bans[0].left > Duration::from_secs(time - 10), "{what}");
                let (from, other) = (ip(source), ip(other));
                net.with(move |f| f.unban(if other.is_ipv6() { other } else { from }).unwrap());
                assert_eq!(net.tcp(source, server, 80), Open, "unbanned, {what}");
            }
            // A sequence under way, and a grant, excuse from the soft bait only.
            let from = ip(source);
            net.with(move |f| f.in_sequence(from, Duration::from_secs(60)).unwrap());
            assert_eq!(net.tcp(source, server, 21), Refused, "in sequence");
            assert_eq!(net.tcp(source, server, 666), hidden, "no excuse from the hard one");
            assert_eq!(hits(&mut log).len(), 1);
            net.with(move |f| f.unban(from).unwrap());
            // The knock port lies within the range of baits.
            net.udp(source, server, 42_003);
            assert_eq!(net.tcp(source, server, 80), Open);
            assert!(hits(&mut log).is_empty());
        }
    }
}

fn hits(log: &mut BaitLog) -> Vec<BaitHit> {
    let mut out = Vec::new();
    log.drain(&mut |hit| out.push(hit)).unwrap();
    out
}

#[test]
fn a_live_grant_protects_by_pardon_and_not_by_strict() {
    let baits = vec![bait("hard", "tcp/666", 600)];
    let never = vec!["10.9.1.3/32".parse().unwrap(), "fd09:1:0:0:7::3/128".parse().unwrap()];
    let with = Rules { baits, never_ban: never, ..rules() };
    let net = Net::new(&with);
    for (server, source, never) in FAMILIES {
        let given = grant(1, source, "tcp/22", 600);
        net.with(move |f| f.open(&given).unwrap());
        assert_eq!(net.tcp(source, server, 666), Refused, "not tripped: a closed port");
        assert_eq!(net.tcp(source, server, 22), Open);
        assert_eq!(net.tcp(never, server, 666), Refused);
        // A ban of its /64 that a neighbour brings on does not cut it off.
        let from = ip(source);
        net.with(move |f| f.ban(from, Duration::from_secs(60)).unwrap());
        assert_eq!(net.tcp(source, server, 22), Open);
        assert_eq!(net.tcp(never, server, 80), Open, "never banned, not as a neighbour either");
        net.with(|f| f.close(GrantId(1)).unwrap());
        assert_eq!(net.tcp(source, server, 80), Silent, "without the grant the ban counts");
        net.with(move |f| f.unban(from).unwrap());
    }
    net.install(&Rules { authenticated: Authenticated::Strict, ..with });
    for (server, source, _) in FAMILIES {
        let given = grant(1, source, "tcp/22", 600);
        net.with(move |f| f.open(&given).unwrap());
        assert_eq!(net.tcp(source, server, 22), Open);
        assert_eq!(net.tcp(source, server, 666), Silent);
        assert_eq!(net.tcp(source, server, 22), Silent, "banned is banned");
        net.with(|f| f.close(GrantId(1)).unwrap());
    }
}

#[test]
fn a_knock_of_a_banned_source_is_heard_by_pardon_only() {
    for (authenticated, heard) in [(Authenticated::Pardon, 1), (Authenticated::Strict, 0)] {
        let net = Net::new(&Rules { authenticated, knock_nflog: Some(8), ..rules() });
        let mut log = net.server.run(|| NflogSocket::bind(8, 2048).unwrap());
        for (server, source, _) in FAMILIES {
            let from = ip(source);
            net.with(move |f| f.ban(from, Duration::from_secs(60)).unwrap());
            assert_eq!(net.udp(source, server, 41001), Silent);
            assert_eq!(logged(&mut log).len(), heard, "{authenticated:?} {server}");
        }
    }
}

#[test]
fn a_full_ban_set_opens_no_bait() {
    let net =
        Net::new(&Rules { baits: vec![bait("hard", "tcp/22", 600)], ban_limit: 1, ..rules() });
    net.with(|f| {
        f.ban(ip("192.0.2.1"), Duration::from_secs(600)).unwrap();
        f.ban(ip("2001:db8::1"), Duration::from_secs(600)).unwrap();
    });
    for (server, source, _) in FAMILIES {
        assert_eq!(net.tcp(source, server, 22), Silent);
        assert_eq!(net.tcp(source, server, 80), Open, "there was no room to ban it");
    }
}

#[test]
fn standalone_keeps_the_host_on_its_network() {
    for hide in [Hide::Drop, Hide::Closed] {
        let net = Net::new(&Rules { mode: Mode::Standalone, hide, ..rules() });
        // Neighbour discovery anew from both sides, with nothing known beforehand.
        for (server, source, _) in FAMILIES {
            let given = grant(1, source, "tcp/22", 600);
            net.with(move |f| f.open(&given).unwrap());
            net.server.run(|| sh("ip neigh flush all; ip -6 neigh flush all"));
            net.client.run(|| sh("ip neigh flush all; ip -6 neigh flush all"));
            assert_eq!(net.tcp(source, server, 22), Open, "{server}");
        }
        // The server's own loopback stays whole.
        net.server.run(|| {
            for address in ["127.0.0.1", "::1", "10.9.1.1", "fd09:1::1"] {
                let address = ip(address);
                assert_eq!(connect(address, SocketAddr::new(address, 80)).0, Open);
                assert_eq!(connect(address, SocketAddr::new(address, 81)).0, Refused);
            }
        });
        // DHCP: an offer by broadcast, an answer from a link-local address; from elsewhere neither.
        let leases =
            net.server.run(|| ["0.0.0.0:68", "[::]:546"].map(|a| UdpSocket::bind(a).unwrap()));
        for lease in &leases {
            lease.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        let heard = |n: usize| leases[n].recv(&mut [0; 8]).is_ok();
        net.client.run(|| {
            let offer = UdpSocket::bind("10.9.1.2:67").unwrap();
            offer.set_broadcast(true).unwrap();
            offer.send_to(b"offer", "10.9.1.255:68").unwrap();
        });
        assert!(heard(0));
        net.client.run(|| {
            UdpSocket::bind("10.9.1.2:1067").unwrap().send_to(b"no", "10.9.1.1:68").unwrap()
        });
        assert!(!heard(0));
        let (to, from) =
            (net.server.run(|| link_local("near1")), net.client.run(|| link_local("far1")));
        net.client.run(move || {
            let socket = UdpSocket::bind(from).unwrap();
            socket
                .send_to(
                    b"reply",
                    SocketAddr::V6(std::net::SocketAddrV6::new(*to.ip(), 546, 0, from.scope_id())),
                )
                .unwrap();
        });
        assert!(heard(1));
        net.client.run(|| {
            UdpSocket::bind("[fd09:1::2]:547").unwrap().send_to(b"no", "[fd09:1::1]:546").unwrap()
        });
        assert!(!heard(1));
    }
}

/// The interface's link-local address, once it has passed duplicate detection.
fn link_local(name: &str) -> std::net::SocketAddrV6 {
    let start = Instant::now();
    loop {
        let text = sh(&format!("ip -6 -o addr show dev {name} scope link -tentative"));
        if let Some(address) = text.split_whitespace().find_map(|w| w.strip_suffix("/64")) {
            let scope: u32 =
                sh(&format!("ip -o link show {name} | cut -d: -f1")).trim().parse().unwrap();
            return std::net::SocketAddrV6::new(address.parse().unwrap(), 0, 0, scope);
        }
        assert!(start.elapsed() < Duration::from_secs(10), "no link-local address");
    }
}

#[test]
fn other_interfaces_are_not_ours() {
    let net =
        Net::new(&Rules { mode: Mode::Standalone, interfaces: vec!["near1".into()], ..rules() });
    net.server.cable(&net.client, 2);
    for (server, source) in [("10.9.1.1", "10.9.1.2"), ("fd09:1::1", "fd09:1::2")] {
        assert_eq!(net.tcp(source, server, 22), Silent);
    }
    for (server, source) in [("10.9.2.1", "10.9.2.2"), ("fd09:2::1", "fd09:2::2")] {
        assert_eq!(net.tcp(source, server, 22), Open);
    }
}
