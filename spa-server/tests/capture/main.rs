//! Every capture and the replier against the real kernel, in network namespaces. Needs root,
//! iproute2 and nft.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod netns;
mod reply;
mod support;
mod wire;

use spa_server::capture::Kind;
use spa_server::domain::datagram::ReplyPath;
use spa_server::listener::readable::Readable;

use netns::{Pair, ends};
use support::{Host, KINDS, KNOCK, udp};

#[test]
fn exactly_what_was_sent_to_a_knock_port() {
    for kind in KINDS {
        let pair = Pair::new();
        let mut host = Host::open(&pair, kind);
        for six in [false, true] {
            let (from, to) = ends(six, 40_001, KNOCK);
            let sender = udp(&pair, from);
            for (port, len) in
                [(KNOCK, 144), (KNOCK - 1, 144), (KNOCK + 10, 1232), (KNOCK + 11, 200)]
            {
                sender.send_to(&vec![len as u8; len], (to.ip(), port)).unwrap();
            }
            let seen = host.expect(2);
            let want =
                [(from, to, vec![144; 144]), (from, (to.ip(), KNOCK + 10).into(), vec![208; 1232])];
            assert_eq!(seen, want, "{kind:?}");
        }
        host.expect_silence();
        assert_eq!(host.capture.take_lost(), 0);
    }
}

#[test]
fn readiness_reaches_tokio() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for kind in KINDS {
        let pair = Pair::new();
        let host = Host::open(&pair, kind);
        runtime.block_on(async {
            let mut ready = Readable::register(host.capture).unwrap();
            for round in 0..50_usize {
                for six in [false, true] {
                    let (from, to) = ends(six, 0, KNOCK);
                    let sender = udp(&pair, from);
                    let count = 1 + round % 3;
                    (0..count).for_each(|_| assert!(sender.send_to(&[1; 150], to).is_ok()));
                    let mut seen = 0;
                    while seen < count {
                        let wait = tokio::time::timeout(support::PATIENCE, ready.wait_readable());
                        wait.await.expect("readable").unwrap();
                        // One at a time: what is left must keep or make it readable.
                        ready.take_waiting(|capture| capture.drain(1, &mut |_| seen += 1)).unwrap();
                    }
                    assert_eq!(seen, count, "{kind:?}");
                }
            }
        });
    }
}

#[test]
fn loopback() {
    for kind in KINDS {
        let pair = Pair::new();
        let mut host = Host::open(&pair, kind);
        for to in [format!("127.0.0.1:{KNOCK}"), format!("[::1]:{KNOCK}")] {
            let from = pair.in_server(|| {
                let any = if to.starts_with('[') { "[::1]:0" } else { "127.0.0.1:0" };
                let socket = std::net::UdpSocket::bind(any).unwrap();
                socket.send_to(&[1; 150], &to).unwrap();
                socket.local_addr().unwrap()
            });
            assert_eq!(host.expect(1), [(from, to.parse().unwrap(), vec![1; 150])], "{kind:?}");
        }
        host.expect_silence();
    }
}

#[test]
fn link_local_sources_keep_their_interface() {
    for kind in KINDS {
        let pair = Pair::new();
        let mut host = Host::open(&pair, kind);
        let index =
            |name: &str| netns::inside(name, || nix::net::if_::if_nametoindex("veth0").unwrap());
        let (client, server) = (index(&pair.client), index(&pair.server));
        let sender = udp(&pair, format!("[fe80::2%{client}]:5000").parse().unwrap());
        sender.send_to(&[7; 144], format!("[fe80::1%{client}]:{KNOCK}")).unwrap();
        let [(from, to, _)] = &host.expect(1)[..] else { unreachable!() };
        assert_eq!(*from, format!("[fe80::2%{server}]:5000").parse().unwrap());
        assert_eq!(*to, format!("[fe80::1%{server}]:{KNOCK}").parse().unwrap());
    }
}

#[test]
fn ports_can_be_replaced() {
    for kind in KINDS {
        let pair = Pair::new();
        let mut host = Host::open(&pair, kind);
        host.set_ports("18000-18001", 18_001);
        for six in [false, true] {
            let (from, to) = ends(six, 40_002, 18_000);
            let sender = udp(&pair, from);
            sender.send_to(&[1; 150], (to.ip(), KNOCK)).unwrap();
            sender.send_to(&[2; 150], to).unwrap();
            assert_eq!(host.expect(1), [(from, to, vec![2; 150])], "{kind:?}");
        }
        host.expect_silence();
    }
}

#[test]
fn a_foreign_default_drop_hides_nothing_from_ring_and_nflog() {
    for (kind, want) in [(Kind::Ring, 1), (KINDS[1], 1), (Kind::Udp, 0)] {
        let pair = Pair::new();
        pair.nft(
            "table inet foreign { chain input { type filter hook input priority filter; policy drop;
               udp dport 17001 accept; }; }",
        );
        let mut host = Host::open(&pair, kind);
        for six in [false, true] {
            let (from, to) = ends(six, 40_004, KNOCK);
            udp(&pair, from).send_to(&[1; 150], to).unwrap();
            assert_eq!(host.expect(want).len(), want, "{kind:?}");
        }
        host.expect_silence();
    }
}

#[test]
fn only_named_interfaces_even_when_they_come_later() {
    for kind in [Kind::Ring, KINDS[1]] {
        let pair = Pair::new();
        // Names are looked up in the namespace of the thread that drains.
        pair.in_server(|| {
            let mut host = Host::here(&pair, kind, Some(vec!["wan".into()]));
            let (from, to) = ends(false, 40_005, KNOCK);
            let sender = udp(&pair, from);
            sender.send_to(&[1; 150], to).unwrap();
            assert!(support::wait(&*host.capture, support::PATIENCE));
            assert_eq!(host.capture.drain(9, &mut |d| panic!("{d:?}")).unwrap(), 1);
            netns::ip(&format!("-n {} link set veth0 name wan", pair.server));
            sender.send_to(&[2; 150], to).unwrap();
            assert_eq!(host.expect(1), [(from, to, vec![2; 150])]);
            netns::ip(&format!("-n {} link delete wan", pair.server));
            netns::ip(&format!(
                "-n {} link add wan type veth peer name veth0 netns {}",
                pair.server, pair.client
            ));
            netns::ip(&format!("-n {} link set wan up", pair.server));
            netns::ip(&format!("-n {} address add 10.7.0.1/24 dev wan", pair.server));
            netns::ip(&format!("-n {} link set veth0 up", pair.client));
            netns::ip(&format!("-n {} address add 10.7.0.2/24 dev veth0", pair.client));
            netns::wait_until_up(&pair.server, "wan");
            netns::wait_until_up(&pair.client, "veth0");
            sender.send_to(&[3; 150], to).unwrap();
            assert_eq!(host.expect(1), [(from, to, vec![3; 150])]);
        });
    }
}

#[test]
fn nothing_is_lost_silently_in_a_flood() {
    const SENT: u64 = 200_000;
    for kind in [Kind::Ring, KINDS[1]] {
        let pair = Pair::new();
        let mut host = Host::open(&pair, kind);
        let (from, to) = ends(false, 40_006, KNOCK);
        let flood = udp(&pair, from);
        let last = udp(&pair, ends(false, 40_007, KNOCK).0);
        flood.connect(to).unwrap();
        let dropped = pair.wire_drops();
        let mut seen = 0;
        std::thread::scope(|scope| {
            let sender =
                scope.spawn(|| (0..SENT).filter(|_| flood.send(&[9; 150]).is_ok()).count() as u64);
            while !sender.is_finished() {
                host.capture.drain(256, &mut |_| seen += 1).unwrap();
            }
            while host.capture.drain(256, &mut |_| seen += 1).unwrap() > 0 {}
            // A packet after the flood is captured at once, and shows the loss before it.
            last.send_to(&[1; 150], to).unwrap();
            assert_eq!(host.expect(1).len(), 1);
            let lost = host.capture.take_lost();
            // What a full queue in front of the receiving host dropped never reached any capture.
            let arrived = sender.join().unwrap() - (pair.wire_drops() - dropped);
            assert_eq!(seen + lost, arrived, "{kind:?}: {lost} lost");
            assert!(seen > 1000, "{kind:?}: {seen} of {SENT}");
            assert_eq!(host.capture.take_lost(), 0);
        });
    }
}

#[test]
fn one_family_in_a_flood_does_not_starve_the_other() {
    for kind in KINDS {
        let pair = Pair::new();
        let mut watch = Host::open(&pair, Kind::Ring);
        let mut host = Host::open(&pair, kind);
        for six in [false, true] {
            let (from, to) = ends(six, 40_008, KNOCK);
            let flood = udp(&pair, from);
            (0..200).for_each(|_| assert!(flood.send_to(&[0; 150], to).is_ok()));
        }
        assert_eq!(watch.expect(400).len(), 400);
        let mut families = [0, 0];
        for _ in 0..2 {
            let taken =
                host.capture.drain(100, &mut |d| families[usize::from(d.source.is_ipv6())] += 1);
            assert_eq!(taken.unwrap(), 100);
        }
        // NFLOG has one queue in order of arrival.
        if matches!(kind, Kind::Nflog { .. }) {
            assert_eq!(families, [200, 0]);
        } else {
            assert!(families[0] > 60 && families[1] > 60, "{kind:?}: {families:?}");
        }
    }
}

#[test]
fn refusals_say_what_to_do() {
    let pair = Pair::new();
    pair.in_server(|| {
        let refusal = |kind| support::open(kind, "17000").err().expect("refused").to_string();
        let _taken = support::open(KINDS[1], "17000").unwrap();
        let e = refusal(KINDS[1]);
        assert!(e.contains("another program listens to NFLOG group 77"), "{e}");
        let _port = std::net::UdpSocket::bind("0.0.0.0:17000").unwrap();
        // What is free is bound: here the port of IPv6.
        assert!(support::open(Kind::Udp, "17000").is_ok());
        support::become_nobody();
        for (kind, capability) in [(Kind::Ring, "CAP_NET_RAW"), (KINDS[1], "CAP_NET_ADMIN")] {
            let e = refusal(kind);
            assert!(
                e.contains(&format!("needs {capability}"))
                    && e.contains("[capture] mode = \"udp\""),
                "{e}"
            );
        }
        assert!(support::open(Kind::Udp, "17001").is_ok());
    });
}

#[test]
fn rights_are_needed_only_to_open() {
    for kind in KINDS {
        let pair = Pair::new();
        pair.in_server(|| {
            let mut host = Host::here(&pair, kind, None);
            let clients = [false, true]
                .map(|six| (ends(six, 40_009, 18_000), udp(&pair, ends(six, 40_009, 1).0)));
            support::become_nobody();
            host.set_ports_here("18000-18001", 18_001);
            for ((from, to), client) in clients {
                client.send_to(&[4; 150], to).unwrap();
                assert_eq!(host.expect(1), [(from, to, vec![4; 150])], "{kind:?}");
                host.replier.send(ReplyPath { from: to, to: from, link: None }, b"ack").unwrap();
                assert_eq!(client.recv_from(&mut [0; 9]).unwrap(), (3, to));
            }
            assert_eq!(host.capture.take_lost(), 0);
        });
    }
}
