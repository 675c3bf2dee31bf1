//! Agents that misbehave, and a security key in software: what no real agent can be made to do on
//! demand. That real ones are understood is shown with OpenSSH's own, in `keys/tests/agent.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair};
use spa_proto::Touch;

use super::*;

fn pair() -> (Ed25519KeyPair, [u8; 32]) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    (pair, public)
}

/// A signature as ssh-agent gives it for a security key (OpenSSH PROTOCOL.u2f).
fn touched(pair: &Ed25519KeyPair, flags: u8, counter: u32, data: &[u8]) -> Vec<u8> {
    let mut signed = digest(&SHA256, b"ssh:").as_ref().to_vec();
    signed.push(flags);
    signed.extend_from_slice(&counter.to_be_bytes());
    signed.extend_from_slice(digest(&SHA256, data).as_ref());
    let mut blob = Vec::new();
    wire::put_string(&mut blob, b"sk-ssh-ed25519@openssh.com");
    wire::put_string(&mut blob, pair.sign(&signed).as_ref());
    blob.push(flags);
    blob.extend_from_slice(&counter.to_be_bytes());
    blob
}

#[test]
fn a_security_key_signs_with_its_touch() {
    let (pair, sign) = pair();
    let key = AgentKey { sign, kind: KeyKind::SecurityKey };
    let signature = wire::read_signature(key.kind, &touched(&pair, 5, 9, b"data")).unwrap();
    assert_eq!(signature.touch, Touch::new(5, 9));
    assert!(key.is_signed(b"data", &signature) && !key.is_signed(b"other", &signature));
    let forged = Signature { touch: Touch::new(1, 9), ..signature };
    assert!(!key.is_signed(b"data", &forged), "other flags than were signed");
    let plain = AgentKey { kind: KeyKind::Ed25519, ..key };
    assert!(!plain.is_signed(b"data", &signature), "one kind of key taken for the other");

    let untouched = wire::read_signature(key.kind, &touched(&pair, 4, 9, b"data"));
    assert!(matches!(untouched, Err(AgentError::Untouched)), "{untouched:?}");
    let mut long = touched(&pair, 1, 9, b"data");
    long.push(0);
    assert!(matches!(wire::read_signature(key.kind, &long), Err(AgentError::Protocol(_))));
    assert!(matches!(
        wire::read_signature(KeyKind::Ed25519, &touched(&pair, 1, 9, b"")),
        Err(AgentError::Protocol(_))
    ));
}

#[test]
fn only_keys_that_servers_take_are_taken() {
    let sign = pair().1;
    for kind in [KeyKind::Ed25519, KeyKind::SecurityKey] {
        assert_eq!(wire::read_key(&wire::key_blob(kind, &sign)), Ok(AgentKey { sign, kind }));
    }
    let mut web = Vec::new();
    wire::put_string(&mut web, b"sk-ssh-ed25519@openssh.com");
    wire::put_string(&mut web, &sign);
    wire::put_string(&mut web, b"https://example.org");
    assert_eq!(
        wire::read_key(&web),
        Err(UnusableKey("sk-ssh-ed25519@openssh.com for another application than ssh:".to_owned()))
    );
    let mut long = wire::key_blob(KeyKind::Ed25519, &sign);
    long.push(0);
    assert!(wire::read_key(&long).is_err(), "one key, two names");
}

#[test]
fn base64_as_rfc_4648_has_it() {
    let cases = [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("foobar", "Zm9vYmFy"),
    ];
    for (raw, text) in cases {
        assert_eq!(wire::encode_base64(raw.as_bytes(), true), text);
        assert_eq!(wire::encode_base64(raw.as_bytes(), false), text.trim_end_matches('='));
    }
}

proptest! {
    #[test]
    fn no_answer_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), security: bool) {
        let kind = if security { KeyKind::SecurityKey } else { KeyKind::Ed25519 };
        let _ = wire::read_key(&bytes);
        prop_assert!(wire::read_signature(kind, &bytes).is_err());
    }
}
