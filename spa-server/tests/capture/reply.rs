//! Acks arrive as if a socket were bound to the knocked port.

use spa_server::capture::Kind;
use spa_server::capture::headers::{Checksum, parse_packet};
use spa_server::capture::reply::Replier;
use spa_server::domain::datagram::{LinkAddress, ReplyPath};

use crate::netns::{Pair, ends, inside};
use crate::support::{Host, KINDS, KNOCK, tap, udp};

#[test]
fn acks_arrive_at_a_connected_socket() {
    for kind in KINDS {
        let pair = Pair::new();
        let host = Host::open(&pair, kind);
        for six in [false, true] {
            let (from, to) = ends(six, 41_000, KNOCK + 3);
            let client = udp(&pair, from);
            client.connect(to).unwrap();
            let tap = pair.in_client(tap);
            host.replier.send(ReplyPath { from: to, to: from, link: None }, &[5; 60]).unwrap();
            let mut buffer = [0; 100];
            assert_eq!(client.recv(&mut buffer).unwrap(), 60, "{kind:?}");
            // veth does not check: parse what went over it. Raw packets carry their whole checksum.
            let mode = if kind == Kind::Udp { Checksum::VerifyOrPartial } else { Checksum::Verify };
            let datagram = loop {
                let mut packet = vec![std::mem::MaybeUninit::new(0); 200];
                let len = tap.recv(&mut packet).unwrap();
                let packet = packet[..len].iter().map(bytes).collect::<Vec<u8>>();
                match parse_packet(&packet, mode, 0) {
                    Ok(d) => break (d.source, d.destination, d.payload.to_vec()),
                    Err(e) if packet[0] >> 4 == 4 || packet[6] == 17 => panic!("{kind:?}: {e}"),
                    Err(_) => {}
                }
            };
            assert_eq!(datagram, (to, from, vec![5; 60]), "{kind:?}");
        }
    }
}

#[allow(unsafe_code)]
fn bytes(byte: &std::mem::MaybeUninit<u8>) -> u8 {
    // SAFETY: initialised when the buffer was made.
    unsafe { byte.assume_init() }
}

#[test]
fn acks_go_back_the_way_of_the_knock() {
    let pair = Pair::new();
    let mut host = Host::open(&pair, Kind::Ring);
    let back = pair.in_server(|| Replier::open_link().unwrap());
    // No route is asked and no rule of this host is in the way.
    pair.nft(
        "table inet mute { chain out { type filter hook output priority 0; udp dport 41003 \
        drop; }; }",
    );
    for six in [false, true] {
        let (from, to) = ends(six, 41_003, KNOCK + 3);
        let client = udp(&pair, from);
        client.send_to(&[7; 150], to).unwrap();
        let mut link = None;
        assert!(crate::support::wait(&*host.capture, crate::support::PATIENCE));
        while link.is_none() {
            host.capture.drain(1, &mut |d| link = d.link.filter(|_| d.source == from)).unwrap();
        }
        client.connect(to).unwrap();
        back.send(ReplyPath { from: to, to: from, link }, &[5; 60]).unwrap();
        let mut buffer = [0; 100];
        assert_eq!(client.recv(&mut buffer).unwrap(), 60, "{link:?}");
        assert!(
            back.send(ReplyPath { from: to, to: from, link: None }, &[5; 60]).is_err(),
            "no way is known"
        );
        let gone = link.map(|link| LinkAddress { interface: 9_999, ..link });
        assert!(
            back.send(ReplyPath { from: to, to: from, link: gone }, &[5; 60]).is_err(),
            "the interface is gone"
        );
    }
}

#[test]
fn link_local_acks_keep_their_interface() {
    for kind in KINDS {
        let pair = Pair::new();
        let mut host = Host::open(&pair, kind);
        // A second link with the same link-local network: without a scope the ack would have no
        // way.
        crate::netns::ip(&format!("-n {} link add other type veth peer name peer", pair.server));
        crate::netns::ip(&format!("-n {} link set other up", pair.server));
        let index = inside(&pair.client, || nix::net::if_::if_nametoindex("veth0").unwrap());
        let client = udp(&pair, format!("[fe80::2%{index}]:41001").parse().unwrap());
        client.send_to(&[7; 144], format!("[fe80::1%{index}]:{KNOCK}")).unwrap();
        let (source, destination, _) = host.expect(1).remove(0);
        host.replier.send(ReplyPath { from: destination, to: source, link: None }, b"ack").unwrap();
        let mut buffer = [0; 9];
        let (len, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(
            (len, from),
            (3, format!("[fe80::1%{index}]:{KNOCK}").parse().unwrap()),
            "{kind:?}"
        );
    }
}

#[test]
fn the_source_is_the_address_that_was_knocked_at() {
    for kind in KINDS {
        let pair = Pair::new();
        crate::netns::ip(&format!("-n {} address add 10.7.0.99/24 dev veth0", pair.server));
        crate::netns::ip(&format!("-n {} address add fd07::99/64 dev veth0 nodad", pair.server));
        let mut host = Host::open(&pair, kind);
        for (six, second) in [(false, "10.7.0.99:17000"), (true, "[fd07::99]:17000")] {
            let client = udp(&pair, ends(six, 41_002, 1).0);
            client.send_to(&[7; 144], second).unwrap();
            let (source, destination, _) = host.expect(1).remove(0);
            host.replier
                .send(ReplyPath { from: destination, to: source, link: None }, b"ack")
                .unwrap();
            let from = second.parse().unwrap();
            assert_eq!(client.recv_from(&mut [0; 9]).unwrap(), (3, from), "{kind:?}");
        }
    }
}

#[test]
fn impossible_acks_are_errors() {
    for kind in KINDS {
        let pair = Pair::new();
        let host = Host::open(&pair, kind);
        let (four, six) = (ends(false, 5, KNOCK), ends(true, 5, KNOCK));
        assert!(
            host.replier.send(ReplyPath { from: four.1, to: six.0, link: None }, b"x").is_err(),
            "{kind:?}: mixed families"
        );
        let foreign = "[fd07::77]:17000".parse().unwrap();
        assert!(
            host.replier.send(ReplyPath { from: foreign, to: six.0, link: None }, b"x").is_err(),
            "{kind:?}: foreign source"
        );
        let nowhere = "192.0.2.1:5".parse().unwrap();
        assert!(
            host.replier.send(ReplyPath { from: four.1, to: nowhere, link: None }, b"x").is_err(),
            "{kind:?}: no route"
        );
    }
}
