//! The vectors of bodies and their extensions.

use std::net::IpAddr;

use spa_proto::{Body, Flags, Op, service_id};

use super::Vector;
use crate::support::{TS, hex};

/// 203.0.113.7 and 2001:db8::7 as an extension has them.
pub const V4: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 7];
pub const V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

/// Bodies, most of them refused.
pub fn vectors() -> Vec<Vector> {
    [accepted(), closes(), refused(), refused_addresses()].into_iter().flatten().collect()
}

/// The body of the worked example.
pub fn body_bytes() -> [u8; 16] {
    let flags = Flags { want_ack: true, ..Flags::default() };
    let service = service_id("ssh");
    Body { ts_ms: TS, service, ttl_s: 1800, op: Op::Open, flags, bind_src: None, for_addr: None }
        .encode()
}

fn word_of(address: Option<IpAddr>) -> String {
    address.map_or("none".into(), |address| address.to_string())
}

/// A body that is accepted, and everything that it says.
fn good(name: &str, comment: &str, body: &Body, ext: &[u8]) -> Vector {
    let bytes = body.encode();
    Vector::new("body", name, comment, "accepted")
        .with("body", hex(bytes))
        .with("ext", hex(ext))
        .with("ts-ms", body.ts_ms)
        .with("service", body.service)
        .with("ttl-s", body.ttl_s)
        .with("op", body.op.word())
        .with("flags", bytes[13])
        .with("bind-src", word_of(body.bind_src))
        .with("for-addr", word_of(body.for_addr))
}

fn accepted() -> Vec<Vector> {
    let v4 = Some(IpAddr::from([203, 0, 113, 7]));
    let flags = Flags { want_ack: true, ..Flags::default() };
    let open = Body {
        ts_ms: TS,
        service: service_id("ssh"),
        ttl_s: 1800,
        op: Op::Open,
        flags,
        bind_src: None,
        for_addr: None,
    };
    let bare = Body { service: 0, ttl_s: 0, flags: Flags::default(), ..open };
    let most = Flags { all: true, ..flags };
    let (largest, both) = (u16::MAX, [V6, V4].concat());
    let source = Some(IpAddr::from(V6));
    vec![
        good("open", "The worked example.", &open, &[]),
        good("renew", "Nothing but an op.", &Body { op: Op::Renew, ..bare }, &[]),
        good("open-bound", "Bound to its source.", &Body { bind_src: v4, ..open }, &V4),
        good(
            "renew-bound-for-addr",
            "The source in front, the other address behind.",
            &Body { op: Op::Renew, bind_src: source, for_addr: v4, ..open },
            &both,
        ),
        good(
            "largest",
            "The largest numbers.",
            &Body {
                ts_ms: u64::MAX,
                service: largest,
                ttl_s: largest,
                op: Op::Close,
                flags: most,
                ..open
            },
            &[],
        ),
    ]
}

/// What a CLOSE may say about the addresses to close at.
fn closes() -> Vec<Vector> {
    let v4 = Some(IpAddr::from([203, 0, 113, 7]));
    let close = Body {
        ts_ms: 0,
        service: 0xffff,
        ttl_s: 1,
        op: Op::Close,
        flags: Flags::default(),
        bind_src: None,
        for_addr: None,
    };
    let all = Body { flags: Flags { all: true, ..close.flags }, ..close };
    let mut out = vec![
        good("close", "At the client's own address.", &Body { bind_src: v4, ..close }, &V4),
        good("close-for-addr", "At another address.", &Body { for_addr: v4, ..close }, &V4),
        good("close-all", "At every address.", &all, &[]),
        good("close-all-services", "Everything.", &Body { service: 0, ..all }, &[]),
        good("close-all-bound", "At every address, bound.", &Body { bind_src: v4, ..all }, &V4),
    ];
    let base = hex(&body_bytes()[..12]);
    for (name, tail, comment) in [
        ("close-nothing", "02000000", "It says neither at which address nor at all."),
        ("close-nothing-acked", "02010000", "The same, with an answer wanted."),
        ("close-both", "02240010", "One address, and all of them."),
        ("close-both-bound", "02260020", "The same, bound."),
        ("close-by-token", "02080005", "A touch names no address."),
        ("all-of-open", "00200000", "All addresses, where one is opened."),
        ("all-of-renew", "01200000", "All addresses, where one is opened."),
        ("all-of-enrol", "032000a0", "All addresses, where none is opened."),
        ("all-of-rekey", "042000a0", "All addresses, where none is opened."),
        ("close-new-key", "02320010", "A new key's kind, and no new key."),
        ("close-flag-6", "02420010", "Flag bit 6 where no keys come."),
        ("kem-of-renew", "01400000", "Flag bit 6 where no keys come."),
        ("close-flag-7", "02820010", "Flag bit 7 is reserved."),
        ("all-of-op-5", "05200000", "No such op."),
        ("close-bound-short", "02020000", "Bound, and no source."),
        ("close-all-with-addr", "02200010", "An address that no flag asks for."),
    ] {
        let step = match tail {
            "05200000" => "op",
            "02020000" | "02200010" => "ext",
            _ => "flags",
        };
        out.push(bad(name, comment, &format!("refused {step}"), &format!("{base}{tail}"), &[]));
    }
    out
}

fn bad(name: &str, comment: &str, expect: &str, body: &str, ext: &[u8]) -> Vector {
    Vector::new("body", name, comment, expect).with("body", body).with("ext", hex(ext))
}

fn refused() -> Vec<Vector> {
    let base = hex(&body_bytes()[..12]);
    let mut out = Vec::new();
    for (name, tail, expect, comment) in [
        ("op-enrol", "03000000", "refused ext", "Op 3 without its new keys."),
        ("op-rekey", "04000040", "refused ext", "Op 4 with new keys and no proof."),
        ("op-rekey-spa1", "04000080", "refused ext", "Op 4 without its share."),
        ("op-rekey-service", "040000a0", "refused unused", "Op 4 with a service."),
        ("op-5", "05000000", "refused op", "No such op."),
        ("op-255", "ff000000", "refused op", "No such op."),
        ("flag-1", "00020000", "refused ext", "Flag bit 1 without a source."),
        ("flag-2", "00040000", "refused ext", "Flag bit 2 without an address."),
        ("flag-2-of-rekey", "040400b0", "refused flags", "Flag bit 2 where nothing is opened."),
        ("flag-3", "00080000", "refused ext", "Flag bit 3 without a touch."),
        ("flag-4", "00100000", "refused flags", "Flag bit 4 where no keys come."),
        ("flag-6", "00400000", "refused flags", "Flag bit 6 where no keys come."),
        ("flag-7", "00800000", "refused flags", "Flag bit 7 is reserved."),
        ("flags-all", "00ff0000", "refused flags", "Reserved bits beside known ones."),
        ("ext-1", "00000001", "refused ext", "An extension where none belongs."),
        ("ext-5", "00000005", "refused ext", "The length of a touch, and no flag for it."),
        ("ext-16", "00010010", "refused ext", "The length of a source, and no flag for it."),
        ("ext-64", "00000040", "refused ext", "The length of new keys, and no op for them."),
        ("ext-65535", "0000ffff", "refused ext", "The longest extension there could be."),
        ("short", "000000", "refused length", "15 bytes."),
        ("long", "0000000000", "refused length", "17 bytes."),
    ] {
        out.push(bad(name, comment, expect, &format!("{base}{tail}"), &[]));
    }
    out.push(bad("empty", "No bytes at all.", "refused length", "", &[]));
    out
}

/// A source and another address, each of which no host has.
fn refused_addresses() -> Vec<Vector> {
    let base = hex(&body_bytes()[..12]);
    let mut out = Vec::new();
    for (name, text) in [
        ("unspecified-v4", "::ffff:0.0.0.0"),
        ("unspecified-v6", "::"),
        ("multicast-v4", "::ffff:224.0.0.1"),
        ("multicast-v6", "ff02::1"),
        ("broadcast", "::ffff:255.255.255.255"),
    ] {
        let octets = text.parse::<std::net::Ipv6Addr>().unwrap().octets();
        for (what, tail, comment) in [
            ("bound", "00020010", "Bound to what no host has."),
            ("for-addr", "00040010", "For what no host has."),
            ("close", "02020010", "At what no host has."),
        ] {
            let name = format!("{what}-{name}");
            out.push(bad(&name, comment, "refused address", &format!("{base}{tail}"), &octets));
        }
    }
    let both = [V4, [0; 16]].concat();
    let body = format!("{base}00060020");
    out.push(bad("second-address", "The second is none.", "refused address", &body, &both));
    out
}
