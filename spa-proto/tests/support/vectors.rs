//! Makes every vector in memory. `tests/vectors.rs` compares them with the files,
//! `examples/vectors.rs` writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use spa_proto::danger;
use spa_proto::{
    Ack, Body, Flags, HopKey, HopPlan, Op, Reason, Request, ServerSession, Status, service_id,
};

use super::{PORTS, TS, World, counted, hex, small_order_points};

/// One file: a comment, then `key: value` lines in order.
pub struct Vector {
    pub name: String,
    pub comment: String,
    pub fields: Vec<(String, String)>,
}

impl Vector {
    pub fn new(kind: &str, name: &str, comment: &str, expect: &str) -> Self {
        let vector = Self {
            name: format!("{kind}-{name}.txt"),
            comment: comment.into(),
            fields: Vec::new(),
        };
        vector.with("kind", kind).with("expect", expect)
    }

    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.fields.push((key.into(), value.to_string()));
        self
    }

    pub fn secrets(self) -> Self {
        self.with("server-secret", hex(counted(0)))
            .with("client-seed", hex(counted(0x20)))
            .with("psk", hex(counted(0x40)))
    }

    pub fn text(&self) -> String {
        let lines: String =
            self.fields.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        format!("# {}\n{lines}", self.comment)
    }

    pub fn parse(name: &str, text: &str) -> Self {
        let (comment, rest) = text.strip_prefix("# ").unwrap().split_once('\n').unwrap();
        let fields = rest
            .lines()
            .map(|line| {
                line.split_once(": ").or_else(|| Some((line.strip_suffix(':')?, ""))).unwrap()
            })
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        Self { name: name.into(), comment: comment.into(), fields }
    }

    pub fn find(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub fn get(&self, key: &str) -> &str {
        self.find(key).unwrap_or_else(|| panic!("{}: no {key}", self.name))
    }
}

/// The folder of the files.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// All of them.
pub fn all() -> Vec<Vector> {
    let mut all = keys();
    all.extend(bodies());
    all.extend(sessions());
    all.extend(super::sessions_ext::sessions());
    all.extend(super::vectors_packets::packets());
    all.extend(acks());
    all.extend(hops());
    all.extend(services());
    all
}

/// `a,b,c`.
pub fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

fn keys() -> Vec<Vector> {
    let mut out = Vec::new();
    for (name, server, client, psk, comment) in [
        (
            "example",
            counted(0),
            counted(0x20),
            counted(0x40),
            "The worked example of the specification.",
        ),
        (
            "zeros",
            [0; 32],
            [0; 32],
            [0; 32],
            "Secrets of zeros: X25519 clamps them, HKDF does not mind.",
        ),
        ("ones", [0xff; 32], [0xff; 32], [0xff; 32], "Secrets of ones."),
    ] {
        let world = World::of(server, client, psk);
        let mut vector = Vector::new("keys", name, comment, "derived")
            .with("server-secret", hex(server))
            .with("client-seed", hex(client))
            .with("psk", hex(psk));
        for (key, value) in danger::trace_pair(&world.server, &world.client, &world.psk).unwrap() {
            vector = vector.with(key, hex(value));
        }
        out.push(vector);
    }
    for (i, point) in small_order_points().into_iter().enumerate() {
        let comment = "The server's public key is a small-order point: a client refuses it.";
        out.push(
            Vector::new("keys", &format!("small-order-server-{i}"), comment, "refused point")
                .with("client-seed", hex(counted(0x20)))
                .with("psk", hex(counted(0x40)))
                .with("pk_S", hex(point)),
        );
    }
    out
}

fn bodies() -> Vec<Vector> {
    let mut out = Vec::new();
    let mut good = |name: &str, ts_ms: u64, service: u16, ttl_s: u16, op: Op, bits: u8| {
        let flags = Flags { want_ack: bits & 1 != 0, bind_src: bits & 2 != 0, security_key: false };
        let body = Body { ts_ms, service, ttl_s, op, flags, for_addr: None };
        out.push(
            Vector::new("body", name, "A body of this version.", "accepted")
                .with("body", hex(body.encode()))
                .with("ext", "")
                .with("ts-ms", ts_ms)
                .with("service", service)
                .with("ttl-s", ttl_s)
                .with("op", op.word())
                .with("flags", bits),
        );
    };
    good("open", TS, service_id("ssh"), 1800, Op::Open, 1);
    good("renew", TS, 0, 0, Op::Renew, 0);
    good("close", 0, 0xffff, 1, Op::Close, 2);
    good("largest", u64::MAX, 0xffff, 0xffff, Op::Close, 3);
    let base = hex(&body_bytes()[..12]);
    for (name, tail, expect, comment) in [
        ("op-enrol", "03000000", "refused ext", "Op 3 without its new keys."),
        ("op-rekey", "04000040", "refused ext", "Op 4 with new keys and no proof."),
        ("op-rekey-service", "04000080", "refused unused", "Op 4 with a service."),
        ("op-5", "05000000", "refused op", "No such op."),
        ("op-255", "ff000000", "refused op", "No such op."),
        ("flag-2", "00040000", "refused ext", "Flag bit 2 without an address."),
        ("flag-2-of-rekey", "04040090", "refused flags", "Flag bit 2 where nothing is opened."),
        ("flag-3", "00080000", "refused ext", "Flag bit 3 without a touch."),
        ("flag-4", "00100000", "refused flags", "Flag bit 4 where no keys come."),
        ("flag-5", "00200000", "refused flags", "Flag bit 5 is reserved."),
        ("flag-7", "00800000", "refused flags", "Flag bit 7 is reserved."),
        ("flags-all", "00ff0000", "refused flags", "Reserved bits beside known ones."),
        ("ext-1", "00000001", "refused ext", "An extension where none belongs."),
        ("ext-5", "00000005", "refused ext", "The length of a touch, and no flag for it."),
        ("ext-64", "00000040", "refused ext", "The length of new keys, and no op for them."),
        ("ext-65535", "0000ffff", "refused ext", "The longest extension there could be."),
        ("short", "000000", "refused length", "15 bytes."),
        ("long", "0000000000", "refused length", "17 bytes."),
    ] {
        out.push(
            Vector::new("body", name, comment, expect)
                .with("body", format!("{base}{tail}"))
                .with("ext", ""),
        );
    }
    out.push(
        Vector::new("body", "empty", "No bytes at all.", "refused length")
            .with("body", "")
            .with("ext", ""),
    );
    out
}

/// The body of the worked example.
pub fn body_bytes() -> [u8; 16] {
    let flags = Flags { want_ack: true, ..Flags::default() };
    Body { ts_ms: TS, service: service_id("ssh"), ttl_s: 1800, op: Op::Open, flags, for_addr: None }
        .encode()
}

fn sessions() -> Vec<Vector> {
    let world = World::fixed();
    let v4 = Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)));
    let v6 = Some(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7)));
    let eight: Vec<u16> = (1..=8).map(|i| i * 1111).collect();
    let nine: Vec<u16> = (1..=9).collect();
    let plain = world.request();
    let cases: Vec<(&str, &str, Request<'_>)> = vec![
        ("example", "The worked example of the specification.", plain.clone()),
        (
            "one-stage",
            "One stage, close, no ack.",
            Request { op: Op::Close, want_ack: false, ports: &PORTS[..1], ..plain.clone() },
        ),
        ("eight-stages", "The longest sequence.", Request { ports: &eight, ..plain.clone() }),
        ("same-port", "All stages at one port.", Request { ports: &[7, 7, 7], ..plain.clone() }),
        (
            "padding",
            "Padding of 0, 1 and as much as fits.",
            Request { padding: &[0, 1, 944], ..plain.clone() },
        ),
        (
            "bound-v4",
            "The signature covers an IPv4 source.",
            Request { bind_src: v4, ..plain.clone() },
        ),
        (
            "bound-v6",
            "The signature covers an IPv6 source.",
            Request { bind_src: v6, op: Op::Renew, ..plain.clone() },
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
            Request { for_addr: Some("::ffff:203.0.113.7".parse().unwrap()), ..plain.clone() },
        ),
        (
            "for-addr-multicast",
            "No host's address.",
            Request { for_addr: Some("ff02::1".parse().unwrap()), ..plain.clone() },
        ),
        (
            "for-addr-unspecified",
            "No host's address.",
            Request { for_addr: Some("0.0.0.0".parse().unwrap()), ..plain.clone() },
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
            Request { padding: &[945], ..plain.clone() },
        ),
    ];
    let mut out = Vec::new();
    for (i, (name, comment, request)) in (0u8..).zip(cases) {
        let ephemeral = counted(0x60 + i);
        let made = danger::session_with_ephemeral(&world.parts(), &request, TS, ephemeral);
        let expect = match &made {
            Ok(_) => "packets",
            Err(error) => super::sessions_ext::refusal(error),
        };
        let mut vector = Vector::new("session", name, comment, expect)
            .secrets()
            .with("ephemeral", hex(ephemeral))
            .with("ts-ms", TS)
            .with("service", request.service)
            .with("ttl-s", request.ttl_s)
            .with("op", request.op.word())
            .with("want-ack", request.want_ack)
            .with("bind-src", request.bind_src.map_or("none".into(), |ip| ip.to_string()))
            .with("for-addr", request.for_addr.map_or("none".into(), |ip| ip.to_string()))
            .with("ports", list(request.ports))
            .with("padding", list(request.padding));
        if let Ok(session) = made {
            vector = vector.with("sid", hex(session.id().0));
            for (stage, (_, packet)) in session.packets().iter().enumerate() {
                vector = vector.with(&format!("packet-{stage}"), hex(packet));
            }
        }
        out.push(vector);
    }
    out
}

pub fn edited(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    change(&mut copy);
    copy
}

pub fn server_session(world: &World, ephemeral: [u8; 32]) -> ServerSession {
    let traced =
        danger::trace_session(&world.server_public, &world.client_public, &world.pair, ephemeral);
    let big_e: [u8; 32] = traced.unwrap()[0].1.clone().try_into().unwrap();
    ServerSession::agree(&world.server, &world.pair, &world.context, &big_e).unwrap()
}

/// The ack of the worked example.
pub fn example_ack() -> Ack {
    Ack {
        status: Status::Granted,
        reason: Reason::None,
        ttl_s: 1800,
        server_ms: TS + 55,
        observed: SocketAddr::from(([203, 0, 113, 7], 51_820)),
    }
}

pub const ACK_NONCE: [u8; 12] =
    [0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b];

/// Every status with a reason that goes with it, then every reason.
pub fn answers() -> Vec<(Status, Reason)> {
    use Reason as R;
    let denied = [
        R::Service,
        R::Expired,
        R::Hours,
        R::From,
        R::Ttl,
        R::MaxGrants,
        R::Banned,
        R::Op,
        R::ForAddr,
        R::NewKeys,
    ]
    .map(|r| (Status::Denied, r));
    let busy = [R::Firewall, R::Store].map(|r| (Status::Busy, r));
    let stale = [R::Past, R::Future, R::Fence, R::Floor].map(|r| (Status::Stale, r));
    [(Status::Granted, R::None)].into_iter().chain(denied).chain(busy).chain(stale).collect()
}

fn acks() -> Vec<Vector> {
    let world = World::fixed();
    let session = server_session(&world, counted(0x60));
    let mut out = Vec::new();
    let mut add = |name: &str, comment: &str, expect: &str, bytes: &[u8]| {
        out.push(
            Vector::new("ack", name, comment, expect)
                .secrets()
                .with("ephemeral", hex(counted(0x60)))
                .with("ack", hex(bytes)),
        );
    };
    for (status, reason) in answers() {
        for (family, observed) in [
            ("v4", SocketAddr::from(([203, 0, 113, 7], 51_820))),
            ("v6", SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7], 443))),
        ] {
            let ack = Ack { status, reason, observed, ..example_ack() };
            let bytes = danger::seal_ack_with_nonce(&session, &ack, ACK_NONCE);
            let status_word = format!("{status:?}").to_lowercase();
            let expect = format!(
                "{status_word} {} {} {} {observed}",
                reason.word(),
                ack.ttl_s,
                ack.server_ms
            );
            add(
                &format!("{status_word}-{}-{family}", reason.word()),
                "An answer.",
                &expect,
                &bytes,
            );
        }
    }
    let good = danger::seal_ack_with_nonce(&session, &example_ack(), ACK_NONCE);
    for (name, at) in [("nonce", 0), ("status", 12), ("ttl", 14), ("ip", 30), ("authenticator", 59)]
    {
        add(
            &format!("flipped-{name}"),
            "One bit changed.",
            "refused",
            &edited(&good, |b| b[at] ^= 1),
        );
    }
    add("short", "59 bytes.", "refused", &good[..59]);
    add("long", "61 bytes.", "refused", &edited(&good, |b| b.push(0)));
    add("empty", "Nothing.", "refused", &[]);
    let other = server_session(&world, counted(0x61));
    let other = danger::seal_ack_with_nonce(&other, &example_ack(), ACK_NONCE);
    add("other-session", "The answer to another session.", "refused", &other);
    let mut sealed = |name: &str, comment: &str, at: usize, value: u8| {
        let mut plain = [0; 32];
        plain[22..24].fill(0xff);
        plain[at] = value;
        let bytes = danger::seal_ack_plaintext(&session, plain, ACK_NONCE);
        add(name, comment, "refused", &bytes);
    };
    sealed("status-4", "No such status, though authentic.", 0, 4);
    sealed("reason-17", "No such reason, though authentic.", 1, 17);
    sealed("reserved", "Reserved bytes are not zero, though authentic.", 31, 1);
    super::vectors_ext::acks_with_keys(&session, &mut add);
    out
}

fn hops() -> Vec<Vector> {
    let mut out = Vec::new();
    let key = HopKey::of_server(&World::fixed().server);
    let hop_epoch = HopPlan::epoch_of(TS);
    let bait = vec![(41_000, 41_999), (42_222, 42_222)];
    for (name, comment, lo, hi, stages, exclude, at) in [
        (
            "example",
            "The worked example of the specification.",
            40_000,
            49_999,
            3,
            bait.clone(),
            hop_epoch,
        ),
        ("next", "Ten minutes later.", 40_000, 49_999, 3, bait, hop_epoch + 1),
        (
            "narrow",
            "64 ports, the fewest: duplicates are passed over.",
            50_000,
            50_063,
            8,
            vec![],
            7,
        ),
        ("all", "Every port; port 0 is never used.", 0, 65_535, 8, vec![], 0),
        ("holes", "Most of the range is excluded.", 1, 1000, 8, vec![(1, 900), (950, 970)], 1),
        ("too-narrow", "63 ports are left.", 50_000, 50_063, 3, vec![(50_000, 50_000)], 7),
        ("zero-excluded", "Port 0 does not count: 63 are left.", 0, 63, 3, vec![], 7),
        ("reversed-range", "lo above hi.", 50_063, 50_000, 3, vec![], 7),
        (
            "reversed-exclude",
            "An excluded range the wrong way round.",
            40_000,
            49_999,
            3,
            vec![(9, 8)],
            7,
        ),
        ("no-stage", "No stage.", 40_000, 49_999, 0, vec![], 7),
        ("nine-stages", "Nine stages.", 40_000, 49_999, 9, vec![], 7),
    ] {
        let ranges = list(exclude.iter().map(|(first, last)| format!("{first}-{last}")));
        let plan = HopPlan::new(lo, hi, stages, exclude);
        let vector =
            Vector::new("hop", name, comment, if plan.is_ok() { "ports" } else { "refused" })
                .with("hop-key", hex(key.to_bytes()))
                .with("lo", lo)
                .with("hi", hi)
                .with("stages", stages)
                .with("exclude", ranges)
                .with("hop-epoch", at);
        out.push(match plan {
            Ok(plan) => vector.with("ports", list(plan.ports(&key, at))),
            Err(_) => vector,
        });
    }
    out
}

fn services() -> Vec<Vector> {
    [
        ("ssh", "ssh"),
        ("all", "all"),
        ("empty", ""),
        ("long", "a-service-with-a-rather-long-name"),
        ("utf-8", "büro"),
    ]
    .into_iter()
    .map(|(name, service)| {
        Vector::new("service", name, "A name's number.", "number")
            .with("name", service)
            .with("number", service_id(service))
    })
    .collect()
}
