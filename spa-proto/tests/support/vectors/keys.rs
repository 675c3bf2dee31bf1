//! The vectors of long-term keys and of service numbers.

use spa_proto::{danger, service_id};

use super::Vector;
use crate::support::{World, counted, hex, small_order_points};

/// Every value of a pair; and server keys that a client refuses.
pub fn vectors() -> Vec<Vector> {
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

/// Numbers of services.
pub fn services() -> Vec<Vector> {
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
