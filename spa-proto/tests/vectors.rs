//! The vector files: they are what the generator makes, and an honest reading of each through the
//! public interface ends as its `expect` line says. `cargo run -p spa-proto --example vectors --
//! --write` rewrites them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use spa_proto::{
    Body, ClientSecret, Context, HopKey, HopPlan, PairKeys, Psk, ServerPublic, ServerSession,
    SessionId, TagKey, danger, service_id,
};
use support::vectors::acks::expected;
use support::vectors::session_fields::{refusal, session_of, world_of};
use support::vectors::{self, Vector, list};
use support::{body_refused, document, hex, unhex};

fn stored() -> BTreeMap<String, String> {
    vectors::files()
        .into_iter()
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
    for (page, names) in document::pages() {
        let text = fs::read_to_string(&page).unwrap();
        for name in names {
            assert_eq!(text.matches(&format!("<!-- worked: {name} -->\n")).count(), 1, "{name}");
        }
        assert_eq!(text.matches("<!-- worked: ").count(), names.len());
        let again = document::rewritten(&text);
        for (new, old) in again.lines().zip(text.lines()) {
            assert_eq!(new, old, "cargo run -p spa-proto --example vectors -- --write");
        }
        assert!(again == text);
    }
}

/// The page's own encoder against BIP 350's first test vectors, and against itself.
#[test]
fn text_forms_are_bech32m() {
    use support::formats::{LOCKED, bech32m, key_texts, unbech32m};
    for text in ["a1lqfn3a", "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx", "?1v759aa"] {
        assert!(unbech32m(text).is_some(), "{text}");
    }
    for text in ["a1lqfn3q", "a12uel5l", "M1VUXWEZ", "split1cheo2y9e2w"] {
        assert_eq!(unbech32m(text), None, "{text}");
    }
    let texts: Vec<String> = key_texts().into_iter().map(|(_, text)| text).collect();
    for text in texts.iter().map(String::as_str).chain([LOCKED]) {
        let (prefix, bytes) = unbech32m(text).unwrap();
        assert_eq!(bech32m(&prefix, &bytes), text);
        for at in prefix.len() + 1..text.len() {
            let mut bad = text.as_bytes().to_vec();
            bad[at] = if bad[at].eq_ignore_ascii_case(&b'q') { b'p' } else { b'q' };
            assert_eq!(unbech32m(std::str::from_utf8(&bad).unwrap()), None, "{text} at {at}");
        }
    }
}

#[test]
fn most_vectors_are_refusals() {
    let texts = stored();
    let refused = texts.values().filter(|text| text.contains("\nexpect: refused")).count();
    assert!(refused * 2 > texts.len(), "{refused} of {}", texts.len());
    // Of each kind that says no, it says no three times as often as yes.
    for kind in ["packet", "confirm", "ack", "body", "kem", "keys", "hop"] {
        let all = of_kind(kind);
        let says_yes = |v: &&Vector| !v.get("expect").starts_with("refused");
        let accepted = all.iter().filter(says_yes).count();
        assert!(all.len() >= 4 * accepted, "{kind}: {accepted} of {} are accepted", all.len());
    }
    let hedges = of_kind("hedge");
    let same = hedges.iter().filter(|vector| vector.get("expect") == "same E").count();
    assert!(hedges.len() >= 4 * same, "{same} of {}", hedges.len());
}

/// Every field of every file is written down: in their README, or of `keys` in the protocol.
#[test]
fn fields_are_written_down() {
    let page = |name: &str| fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR")));
    let readme = page("tests/vectors/README.md").unwrap();
    let protocol = page("../docs/protocol.md").unwrap();
    let texts = stored();
    let lines = texts.values().flat_map(|text| text.lines().skip(1));
    let names: BTreeSet<&str> = lines.filter_map(|line| Some(line.split_once(':')?.0)).collect();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        let name = if name.starts_with("packet-") { "packet-0" } else { name };
        let value = format!("\n{name} ");
        assert!(readme.contains(&format!("`{name}`")) || protocol.contains(&value), "{name}");
    }
}

#[test]
fn keys() {
    for vector in of_kind("keys") {
        if vector.get("expect") == "refused point" {
            let client = ClientSecret::from_bytes(vector.bytes("client-seed"));
            let server = ServerPublic(vector.bytes("pk_S"));
            let context = Context::new(&server, &client.public());
            let psk = Psk::from_bytes(vector.bytes("psk"));
            let pair = PairKeys::of_client(&psk, &client, &server, &context);
            assert!(pair.is_none(), "{}", vector.name);
            continue;
        }
        let world = world_of(&vector);
        assert_eq!(hex(world.server_public.0), vector.get("pk_S"));
        assert_eq!(hex(world.client_public.sign), vector.get("pk_C"));
        assert_eq!(hex(world.client_public.dh), vector.get("X_C"));
        assert_eq!(hex(world.context.0), vector.get("ctx"));
        let keyed = |key: &str, data: &[u8]| {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &unhex(vector.get(key)));
            ring::hmac::sign(&key, data).as_ref().to_vec()
        };
        let tag = keyed("k_tag", &[&7u64.to_be_bytes()[..], &[3]].concat());
        assert_eq!(TagKey::derive(&world.psk, &world.context).tag(7, 3), tag[..8]);
        let server = world.server_pair().unwrap();
        let mut packet = [7u8; 144];
        packet[8..16].copy_from_slice(&keyed("k_mac", &[7; 136])[..8]);
        assert!(world.pair.mac_is_right(&packet) && server.mac_is_right(&packet));
        let unmasked: Vec<u8> = keyed("k_hp", &[7; 16]).iter().map(|byte| byte ^ 7).collect();
        assert_eq!(server.ephemeral(&packet).unwrap(), unmasked[..]);
    }
}

#[test]
fn bodies() {
    for vector in of_kind("body") {
        let decoded = Body::decode(&unhex(vector.get("body")), &unhex(vector.get("ext")));
        let expect = match decoded {
            Ok(body) => {
                assert_eq!(body.ts_ms, vector.number::<u64>("ts-ms"), "{}", vector.name);
                assert_eq!(body.service, vector.number::<u16>("service"));
                assert_eq!(body.ttl_s, vector.number::<u16>("ttl-s"));
                assert_eq!(body.op.word(), vector.get("op"));
                let address = |key: &str| {
                    Some(vector.get(key)).filter(|text| *text != "none").map(str::parse)
                };
                assert_eq!(body.bind_src.map(Ok), address("bind-src"));
                assert_eq!(body.for_addr.map(Ok), address("for-addr"));
                let bits = u8::from(body.flags.want_ack)
                    + 2 * u8::from(body.bind_src.is_some())
                    + 4 * u8::from(body.for_addr.is_some())
                    + 32 * u8::from(body.flags.all)
                    + 64 * u8::from(body.flags.kem);
                assert_eq!(bits, vector.number::<u8>("flags"));
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
                    let stored = vector.get(&format!("packet-{stage}"));
                    assert_eq!(hex(packet), stored, "{}", vector.name);
                }
                "packets"
            }
            Err(error) => refusal(&error),
        };
        assert_eq!(expect, vector.get("expect"), "{}", vector.name);
    }
}

#[test]
fn hedges() {
    let all = of_kind("hedge");
    let example = all.iter().find(|vector| vector.name == "hedge-example.txt").unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for vector in &all {
        let session = session_of(vector).unwrap();
        let big_e: [u8; 32] = vector.bytes("E");
        assert_eq!(session.id(), SessionId::of_ephemeral(&big_e), "{}", vector.name);
        let same = big_e == example.bytes("E");
        assert_eq!(vector.get("expect"), if same { "same E" } else { "another E" });
        assert!(seen.insert(big_e) || same, "{}: two requests under one key", vector.name);
    }
}

#[test]
fn packets() {
    for vector in of_kind("packet") {
        let seen = world_of(&vector).see(
            vector.number("epoch"),
            &vector.numbers::<u16>("ports"),
            &unhex(vector.get("datagram")),
            vector.number("to-port"),
        );
        let verdict = match seen {
            Ok(seen) => {
                let bound = seen.sealed.body.bind_src.map(|address| address.to_string());
                let wanted = bound.is_some() || !vector.name.starts_with("packet-bound");
                assert!(wanted, "{}", vector.name);
                assert_eq!(bound.as_deref(), vector.find("bind-src"), "{}", vector.name);
                "accepted".into()
            }
            Err(step) => format!("refused {}", step.word()),
        };
        assert_eq!(verdict, vector.get("expect"), "{}", vector.name);
    }
}

/// Every check of a CONFIRM in order, beside the ended session that the vector names.
#[test]
fn confirms() {
    for vector in of_kind("confirm") {
        let world = world_of(&vector);
        let datagram = unhex(vector.get("datagram"));
        let big_e = world.big_e(vector.bytes("ephemeral"));
        let last = vector.number::<u8>("stages") - 1;
        let tag = world.tag.tag(vector.number("epoch"), last);
        let pair = world.server_pair().unwrap();
        let session = ServerSession::agree(&world.server, &pair, &world.context, &big_e).unwrap();
        let verdict = if !(336..=1232).contains(&datagram.len()) {
            assert_eq!(session.open_confirm(&datagram), None, "{}", vector.name);
            "refused length"
        } else if datagram[..8] != tag {
            "refused tag"
        } else if !pair.mac_is_right(&datagram) {
            "refused mac"
        } else if pair.ephemeral(&datagram) != Some(big_e) {
            "refused session"
        } else {
            match session.open_confirm(&datagram) {
                Some(confirm) => {
                    assert_eq!(confirm.number, vector.number::<u8>("number"), "{}", vector.name);
                    assert_eq!(confirm.address.to_string(), vector.get("address"));
                    "confirmed"
                }
                None => "refused inside",
            }
        };
        assert_eq!(verdict, vector.get("expect"), "{}", vector.name);
    }
}

#[test]
fn acks() {
    for vector in of_kind("ack") {
        let world = world_of(&vector);
        let ephemeral = vector.bytes("ephemeral");
        let session =
            danger::session_with_ephemeral(&world.parts(), &world.request(), 0, ephemeral).unwrap();
        let opened = session.open_ack(&unhex(vector.get("ack")));
        let verdict = opened.map_or("refused".into(), |(ack, keys)| {
            let told = keys.map(|keys| {
                let usable = keys.public.is_usable() && keys.public != world.server_public;
                let hop = keys.hop.map_or("none".into(), |hop| hex(*hop.to_bytes()));
                if usable {
                    format!(" key {} hop {hop}", hex(keys.public.0))
                } else {
                    " key ignored".into()
                }
            });
            expected(&ack) + &told.unwrap_or_default()
        });
        assert_eq!(verdict, vector.get("expect"), "{}", vector.name);
    }
}

/// Both sides of an ENROL or REKEY with an ML-KEM key, from the vector's packets and `m` alone.
#[test]
fn kems() {
    for vector in of_kind("kem") {
        let world = world_of(&vector);
        let verdict = match support::vectors::kems::server_answer(&vector) {
            Err(step) => format!("refused {}", step.word()),
            Ok((psk, ciphertext)) => {
                assert_eq!(hex(ciphertext.bytes()), vector.get("ct"), "{}", vector.name);
                assert_eq!(hex(psk.to_bytes()), vector.get("new-psk"), "{}", vector.name);
                let session = session_of(&vector).unwrap();
                for (stage, (_, packet)) in session.packets().iter().enumerate() {
                    assert_eq!(hex(packet), vector.get(&format!("packet-{stage}")));
                }
                let answer = session.open_answer(&unhex(vector.get("ack"))).unwrap();
                let told = answer.ciphertext.unwrap();
                let by_client = support::vectors::kems::client_psk(&vector, &world, &told);
                if by_client == psk { "granted" } else { "another psk" }.into()
            }
        };
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
            vector.number("lo"),
            vector.number("hi"),
            vector.number("stages"),
            exclude.collect(),
        );
        match plan {
            Ok(plan) => {
                assert_eq!(vector.get("expect"), "ports", "{}", vector.name);
                let key = HopKey::from_bytes(vector.bytes("hop-key"));
                let ports = list(plan.ports(&key, vector.number("hop-epoch")));
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
            vector.number::<u16>("number"),
            "{}",
            vector.name
        );
    }
}
