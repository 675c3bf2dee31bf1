//! The vectors of the hedged ephemeral key: chosen random bytes, as a client has whose random bytes
//! repeat. Equal requests give equal packets, every other request another `E`.

use std::net::IpAddr;

use spa_proto::{Op, Request};

use super::session_fields::session_of;
use super::{Vector, edited};
use crate::support::{PORTS, TS, World, counted, hex};

/// First byte of the random bytes.
const RANDOM: u8 = 0x10;

/// The example, the same again, and everything that makes another key.
pub fn vectors() -> Vec<Vector> {
    let plain = World::fixed().request();
    let example = one("example", "The first knock.", &plain, |vector| vector);
    let (first_e, first) = (example.get("E").to_owned(), example.get("packet-0").to_owned());
    let mut out = vec![example];
    out.push(one("again", "The same random bytes and the same request.", &plain, |v| v));
    out.extend(others(&plain));
    out.extend(other_parts(&plain));
    for vector in &mut out {
        let same = vector.get("E") == first_e;
        assert_eq!(same, vector.get("packet-0") == first, "{}", vector.name);
        vector.fields[1].1 = if same { "same E" } else { "another E" }.into();
    }
    out
}

fn one(
    name: &str,
    comment: &str,
    request: &Request<'_>,
    change: impl FnOnce(Vector) -> Vector,
) -> Vector {
    let vector = Vector::new("hedge", name, comment, "")
        .secrets()
        .with("random", hex(counted(RANDOM)))
        .requesting(request);
    let vector = change(vector);
    let session = session_of(&vector).unwrap();
    let world = super::session_fields::world_of(&vector);
    let big_e = world.pair.ephemeral(&session.packets()[0].1).unwrap();
    vector.with("E", hex(big_e)).made(&session)
}

/// Requests that differ in one field.
fn others(plain: &Request<'_>) -> Vec<Vector> {
    let v4 = Some(IpAddr::from([203, 0, 113, 7]));
    let ports = [PORTS[0], PORTS[1], PORTS[2] + 1];
    let cases: Vec<(&str, &str, Request<'_>)> = vec![
        ("ttl", "Another ttl.", Request { ttl_s: 1801, ..plain.clone() }),
        ("service", "Another service.", Request { service: 1, ..plain.clone() }),
        ("op", "Another op.", Request { op: Op::Renew, ..plain.clone() }),
        ("unacked", "No answer wanted.", Request { want_ack: false, ..plain.clone() }),
        ("bound", "Bound to a source.", Request { bind_src: v4, ..plain.clone() }),
        ("for-addr", "For the same address.", Request { for_addr: v4, ..plain.clone() }),
        ("port", "One port differs.", Request { ports: &ports, ..plain.clone() }),
        ("stages", "A stage less.", Request { ports: &PORTS[..2], ..plain.clone() }),
        ("padding", "A byte of padding.", Request { padding: &[0, 0, 1], ..plain.clone() }),
        ("padding-first", "A byte of padding.", Request { padding: &[1], ..plain.clone() }),
    ];
    cases.iter().map(|(name, comment, request)| one(name, comment, request, |v| v)).collect()
}

/// The same request with another millisecond, other random bytes, or another pair.
fn other_parts(plain: &Request<'_>) -> Vec<Vector> {
    let set = |key: &'static str, value: String| {
        move |mut vector: Vector| {
            let field = vector.fields.iter_mut().find(|(name, _)| name == key).unwrap();
            field.1 = value;
            vector
        }
    };
    let other = hex(edited(&counted(RANDOM), |bytes| bytes[31] ^= 1));
    vec![
        one("later", "A millisecond later.", plain, set("ts-ms", (TS + 1).to_string())),
        one("random", "One other random bit.", plain, set("random", other)),
        one("seed", "Another client.", plain, set("client-seed", hex(counted(0x21)))),
        one("server", "Another server.", plain, set("server-secret", hex(counted(1)))),
    ]
}
