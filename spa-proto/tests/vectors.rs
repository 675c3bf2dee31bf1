//! The vector files: they are what the generator makes, and an honest reading of each through the
//! public interface ends as its `expect` line says. `cargo run -p spa-proto --example vectors --
//! --write` rewrites them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::fs;

use spa_proto::{
    Body, ClientSecret, Context, GateKeys, HopKey, HopPlan, PairKey, Psk, Request, ServerPublic,
    danger, service_id,
};
use support::sessions_ext::{refusal, session_of, world_of};
use support::vectors::{self, Vector, list};
use support::{World, body_refused, document, hex, unhex};

fn stored() -> BTreeMap<String, String> {
    let entries = fs::read_dir(vectors::folder()).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                fs::read_to_string(path).unwrap(),
            )
        })
        .collect()
}

fn of_kind(kind: &str) -> Vec<Vector> {
    let all: Vec<Vector> = stored().iter().map(|(name, text)| Vector::parse(name, text)).collect();
    let found: Vec<Vector> = all.into_iter().filter(|vector| vector.get("kind") == kind).collect();
    assert!(!found.is_empty(), "no vector of kind {kind}");
    found
}

#[test]
fn files_are_what_the_generator_makes() {
    let made: BTreeMap<_, _> =
        vectors::all().iter().map(|vector| (vector.name.clone(), vector.text())).collect();
    assert_eq!(made.len(), vectors::all().len(), "two vectors share a name");
    let stored = stored();
    let names = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&made), names(&stored), "cargo run -p spa-proto --example vectors -- --write");
    for (name, text) in made {
        assert_eq!(text, stored[&name], "{name}");
    }
}

#[test]
fn worked_examples_are_what_the_code_makes() {
    let text = fs::read_to_string(document::path()).unwrap();
    for name in document::NAMES {
        assert_eq!(text.matches(&format!("<!-- worked: {name} -->\n")).count(), 1, "{name}");
    }
    assert_eq!(text.matches("<!-- worked: ").count(), document::NAMES.len());
    let again = document::rewritten(&text);
    for (new, old) in again.lines().zip(text.lines()) {
        assert_eq!(new, old, "cargo run -p spa-proto --example vectors -- --write");
    }
    assert!(again == text);
}

#[test]
fn most_vectors_are_refusals() {
    let texts = stored();
    let refused = texts.values().filter(|text| text.contains("\nexpect: refused")).count();
    assert!(refused * 2 > texts.len(), "{refused} of {}", texts.len());
}

fn bytes<const N: usize>(vector: &Vector, key: &str) -> [u8; N] {
    unhex(vector.get(key))
        .try_into()
        .unwrap_or_else(|_| panic!("{}: {key} is not {N} bytes", vector.name))
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(vector: &Vector, key: &str) -> T {
    vector.get(key).parse().unwrap()
}

fn numbers<T: std::str::FromStr<Err: std::fmt::Debug>>(vector: &Vector, key: &str) -> Vec<T> {
    vector
        .get(key)
        .split(',')
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().unwrap())
        .collect()
}

fn world(vector: &Vector) -> World {
    World::of(bytes(vector, "server-secret"), bytes(vector, "client-seed"), bytes(vector, "psk"))
}

#[test]
fn keys() {
    for vector in of_kind("keys") {
        if vector.get("expect") == "refused point" {
            let client = ClientSecret::from_bytes(bytes(&vector, "client-seed"));
            let server = ServerPublic(bytes(&vector, "pk_S"));
            let context = Context::new(&server, &client.public());
            let psk = Psk::from_bytes(bytes(&vector, "psk"));
            assert!(
                PairKey::of_client(&psk, &client, &server, &context).is_none(),
                "{}",
                vector.name
            );
            continue;
        }
        let world = world(&vector);
        assert_eq!(hex(world.server_public.0), vector.get("pk_S"));
        assert_eq!(hex(world.client_public.sign), vector.get("pk_C"));
        assert_eq!(hex(world.client_public.dh), vector.get("X_C"));
        assert_eq!(hex(world.context.0), vector.get("ctx"));
        let okm = [vector.get("k_tag"), vector.get("k_mac"), vector.get("k_hp")].map(unhex);
        let tag_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &okm[0]);
        let tag = ring::hmac::sign(&tag_key, &[&7u64.to_be_bytes()[..], &[3]].concat());
        assert_eq!(GateKeys::derive(&world.psk, &world.context).tag(7, 3), tag.as_ref()[..8]);
    }
}

#[test]
fn bodies() {
    for vector in of_kind("body") {
        let decoded = Body::decode(&unhex(vector.get("body")), &unhex(vector.get("ext")));
        let expect = match decoded {
            Ok(body) => {
                assert_eq!(body.ts_ms, number::<u64>(&vector, "ts-ms"), "{}", vector.name);
                assert_eq!(body.service, number::<u16>(&vector, "service"));
                assert_eq!(body.ttl_s, number::<u16>(&vector, "ttl-s"));
                assert_eq!(body.op.word(), vector.get("op"));
                let bits = u8::from(body.flags.want_ack) + 2 * u8::from(body.flags.bind_src);
                assert_eq!(bits, number::<u8>(&vector, "flags"));
                "accepted"
            }
            Err(error) => &format!("refused {}", body_refused(error).word()),
        };
        assert_eq!(expect, vector.get("expect"), "{}", vector.name);
    }
}

#[test]
fn sessions() {
    for vector in of_kind("session") {
        let expect = match session_of(&vector) {
            Ok(session) => {
                assert_eq!(hex(session.id().0), vector.get("sid"));
                for (stage, (_, packet)) in session.packets().iter().enumerate() {
                    assert_eq!(
                        hex(packet),
                        vector.get(&format!("packet-{stage}")),
                        "{}",
                        vector.name
                    );
                }
                "packets"
            }
            Err(error) => refusal(&error),
        };
        assert_eq!(expect, vector.get("expect"), "{}", vector.name);
    }
}

#[test]
fn packets() {
    for vector in of_kind("packet") {
        let seen = world_of(&vector).see(
            number(&vector, "epoch"),
            &numbers::<u16>(&vector, "ports"),
            &unhex(vector.get("datagram")),
            number(&vector, "to-port"),
            number(&vector, "source"),
        );
        let verdict =
            seen.map_or_else(|step| format!("refused {}", step.word()), |_| "accepted".into());
        assert_eq!(verdict, vector.get("expect"), "{}", vector.name);
    }
}

#[test]
fn acks() {
    for vector in of_kind("ack") {
        let world = world(&vector);
        let (ports, request) = ([1], world.request());
        let request = Request { ports: &ports, ..request };
        let ephemeral = bytes(&vector, "ephemeral");
        let session =
            danger::session_with_ephemeral(&world.parts(), &request, 0, ephemeral).unwrap();
        let opened = session.open_ack_and_keys(&unhex(vector.get("ack")));
        let verdict = opened.map_or("refused".into(), |(ack, keys)| {
            let status = format!("{:?}", ack.status).to_lowercase();
            let told = keys.map(|keys| {
                let usable = keys.public.is_usable() && keys.public != world.server_public;
                let hop = keys.hop.map_or("none".into(), |hop| support::hex(*hop.to_bytes()));
                if usable {
                    format!(" key {} hop {hop}", support::hex(keys.public.0))
                } else {
                    " key ignored".into()
                }
            });
            let (reason, told) = (ack.reason.word(), told.unwrap_or_default());
            format!("{status} {reason} {} {} {}{told}", ack.ttl_s, ack.server_ms, ack.observed)
        });
        assert_eq!(verdict, vector.get("expect"), "{}", vector.name);
    }
}

#[test]
fn hops() {
    for vector in of_kind("hop") {
        let exclude = vector.get("exclude").split(',').filter_map(|range| {
            let (first, last) = range.split_once('-')?;
            Some((first.parse().unwrap(), last.parse().unwrap()))
        });
        let plan = HopPlan::new(
            number(&vector, "lo"),
            number(&vector, "hi"),
            number(&vector, "stages"),
            exclude.collect(),
        );
        match plan {
            Ok(plan) => {
                assert_eq!(vector.get("expect"), "ports", "{}", vector.name);
                let key = HopKey::from_bytes(bytes(&vector, "hop-key"));
                let ports = list(plan.ports(&key, number(&vector, "hop-epoch")));
                assert_eq!(ports, vector.get("ports"), "{}", vector.name);
            }
            Err(_) => assert_eq!(vector.get("expect"), "refused", "{}", vector.name),
        }
    }
}

#[test]
fn services() {
    for vector in of_kind("service") {
        assert_eq!(
            service_id(vector.get("name")),
            number::<u16>(&vector, "number"),
            "{}",
            vector.name
        );
    }
}
