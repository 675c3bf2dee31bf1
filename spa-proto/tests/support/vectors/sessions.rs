//! The vectors of plain sessions.

use std::net::IpAddr;

use spa_proto::{Op, Request};

use super::Vector;
use super::session_fields::{E, refusal, session_of};
use crate::support::{PORTS, World, counted, hex};

type Case<'a> = (&'a str, &'a str, Request<'a>);

/// Sessions without new keys, and requests that make none.
pub fn vectors() -> Vec<Vector> {
    let plain = World::fixed().request();
    let eight: Vec<u16> = (1..=8).map(|i| i * 1111).collect();
    let nine: Vec<u16> = (1..=9).collect();
    let mut cases = vec![
        ("example", "The worked example of the specification.", plain.clone()),
        (
            "one-stage",
            "One stage, no ack.",
            Request { op: Op::Renew, want_ack: false, ports: &PORTS[..1], ..plain.clone() },
        ),
        ("eight-stages", "The longest sequence.", Request { ports: &eight, ..plain.clone() }),
        ("same-port", "All stages at one port.", Request { ports: &[7, 7, 7], ..plain.clone() }),
        (
            "padding",
            "Padding of 0, 1 and as much as fits.",
            Request { padding: &[0, 1, 896], ..plain.clone() },
        ),
        ("no-stage", "A sequence has at least one stage.", Request { ports: &[], ..plain.clone() }),
        (
            "nine-stages",
            "A sequence has at most eight stages.",
            Request { ports: &nine, ..plain.clone() },
        ),
        (
            "too-long",
            "One byte more than fits an IPv6 path.",
            Request { padding: &[897], ..plain.clone() },
        ),
    ];
    cases.extend(addresses(&plain));
    cases.extend(closes(&plain));
    (0u8..)
        .zip(cases)
        .map(|(i, (name, comment, request))| one(i, name, comment, &request))
        .collect()
}

/// Bound to an address, and for another.
fn addresses<'a>(plain: &Request<'a>) -> Vec<Case<'a>> {
    let v4 = Some(IpAddr::from([203, 0, 113, 7]));
    let v6 = Some("2001:db8::7".parse().unwrap());
    let mapped = Some("::ffff:203.0.113.7".parse().unwrap());
    let mut out = vec![
        ("bound-v4", "Bound to an IPv4 source.", Request { bind_src: v4, ..plain.clone() }),
        (
            "bound-v6",
            "Bound to an IPv6 source.",
            Request { bind_src: v6, op: Op::Renew, ..plain.clone() },
        ),
        (
            "bound-mapped",
            "A v4-mapped source is the IPv4 address.",
            Request { bind_src: mapped, ..plain.clone() },
        ),
        ("for-addr-v4", "For another IPv4 address.", Request { for_addr: v4, ..plain.clone() }),
        (
            "for-addr-v6",
            "Bound to one address, for another.",
            Request { bind_src: v4, for_addr: v6, ..plain.clone() },
        ),
        (
            "for-addr-mapped",
            "A v4-mapped address is the IPv4 address.",
            Request { for_addr: mapped, ..plain.clone() },
        ),
    ];
    for (bound, other, text) in [
        ("bound-multicast-v6", "for-addr-multicast-v6", "ff02::1"),
        ("bound-multicast-v4", "for-addr-multicast-v4", "224.0.0.1"),
        ("bound-unspecified-v6", "for-addr-unspecified-v6", "::"),
        ("bound-unspecified-v4", "for-addr-unspecified-v4", "0.0.0.0"),
        ("bound-broadcast", "for-addr-broadcast", "255.255.255.255"),
        ("bound-mapped-unspecified", "for-addr-mapped-unspecified", "::ffff:0.0.0.0"),
    ] {
        let address = Some(text.parse().unwrap());
        out.push((bound, "No host's address.", Request { bind_src: address, ..plain.clone() }));
        out.push((other, "No host's address.", Request { for_addr: address, ..plain.clone() }));
    }
    out
}

fn closes<'a>(plain: &Request<'a>) -> Vec<Case<'a>> {
    let v4 = Some(IpAddr::from([203, 0, 113, 7]));
    let close = Request { op: Op::Close, ttl_s: 0, ..plain.clone() };
    let all = Request { all: true, ..close.clone() };
    vec![
        ("close-bound", "At one's own address.", Request { bind_src: v4, ..close.clone() }),
        ("close-for-addr", "At another address.", Request { for_addr: v4, ..close.clone() }),
        ("close-all", "Everything at every address.", Request { service: 0, ..all.clone() }),
        ("close-nothing", "It does not say where.", close.clone()),
        ("close-unacked", "It does not say where.", Request { want_ack: false, ..close.clone() }),
        ("close-both", "At one address and at all.", Request { for_addr: v4, ..all.clone() }),
        (
            "close-both-bound",
            "The same, bound.",
            Request { for_addr: v4, bind_src: v4, ..all.clone() },
        ),
        (
            "open-all",
            "All addresses, where one is opened.",
            Request { op: Op::Open, ..all.clone() },
        ),
        ("renew-all", "All addresses, where one is opened.", Request { op: Op::Renew, ..all }),
    ]
}

fn one(i: u8, name: &str, comment: &str, request: &Request<'_>) -> Vector {
    let mut vector = Vector::new("session", name, comment, "packets")
        .secrets()
        .with("ephemeral", hex(counted(E + i)))
        .requesting(request);
    match session_of(&vector) {
        Ok(session) => vector.made(&session),
        Err(error) => {
            vector.fields[1].1 = refusal(&error).into();
            vector
        }
    }
}
