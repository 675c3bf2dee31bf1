//! Text forms: few acceptances, many refusals.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use spa_keys::{Fingerprint, Kind, TextError, TextForm, kind_of};
use spa_proto::{ClientPublic, ClientSecret, KeyKind, Psk, ServerPublic, ServerSecret};

const CLIENT_SECRET: &str =
    "SPA-SECRET-KEY-1QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURSWPC8QURS7N8HX0";

fn client() -> ClientSecret {
    ClientSecret::from_bytes([7; 32])
}

#[test]
fn written_forms_are_frozen() {
    assert_eq!(client().to_text().expose(), CLIENT_SECRET);
    assert_eq!(
        ServerSecret::from_bytes([8; 32]).to_text().expose(),
        "SPA-SERVER-KEY-1PQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQPXQ0HQ"
    );
    assert_eq!(
        Psk::from_bytes([9; 32]).to_text().expose(),
        "SPA-PSK-1PYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSZ8A2H9"
    );
    assert_eq!(
        client().public().to_text(),
        "spa1j23r7xjushk8ydxgsjfg836quey4ln855j7axzljfw9c4dhar4jfk067vscdmjmxdhc3vcegamrynhk0zsrpmaku2ayv86h4a7kzwtqh0avsa"
    );
    assert_eq!(
        ServerPublic([0xab; 32]).to_text(),
        "spaserver14w46h2at4w46h2at4w46h2at4w46h2at4w46h2at4w46h2at4w4sd5mrfg"
    );
}

#[test]
fn what_is_written_is_read_back() {
    for byte in [0, 1, 0x7f, 0xff] {
        let secret = ClientSecret::from_bytes([byte; 32]);
        let read = ClientSecret::from_text(secret.to_text().expose()).unwrap();
        assert_eq!(*read.to_bytes(), [byte; 32]);
        let read = ServerSecret::from_text(ServerSecret::from_bytes([byte; 32]).to_text().expose())
            .unwrap();
        assert_eq!(*read.to_bytes(), [byte; 32]);
        let psk = Psk::from_bytes([byte; 32]);
        assert!(Psk::from_text(psk.to_text().expose()).unwrap() == psk);
        let public = ServerPublic([byte; 32]);
        assert_eq!(ServerPublic::from_text(&format!("  {}\n", public.to_text())).unwrap(), public);
        let public = ClientPublic { sign: [byte; 32], dh: [!byte; 32], kind: KeyKind::Ed25519 };
        assert_eq!(ClientPublic::from_text(&public.to_text()).unwrap(), public);
        let touched = public.with_kind(KeyKind::SecurityKey);
        assert!(touched.to_text().starts_with("spask1"));
        assert_eq!(ClientPublic::from_text(&touched.to_text()).unwrap(), touched);
        assert_ne!(Fingerprint::from(&touched), Fingerprint::from(&public));
        // The checksum covers the kind: one cannot be edited into the other.
        let edited = touched.to_text().replacen("spask1", "spa1", 1);
        assert_eq!(ClientPublic::from_text(&edited), Err(TextError::Checksum));
    }
}

#[test]
fn refusals_of_a_secret() {
    let good = client().to_text();
    let good = good.expose();
    let kind = Kind::ClientSecret;
    let server = ServerSecret::from_bytes([8; 32]).to_text();
    let spoiled = |at: usize, with: &str| format!("{}{with}{}", &good[..at], &good[at + 1..]);
    let cases: [(&str, String, TextError); 14] = [
        ("nothing", String::new(), TextError::Unknown { wanted: kind }),
        ("age's", "AGE-SECRET-KEY-1QQQ".into(), TextError::Unknown { wanted: kind }),
        ("not ASCII", "ñ".repeat(40), TextError::Unknown { wanted: kind }),
        (
            "a server's",
            server.expose().into(),
            TextError::Other { wanted: kind, found: Kind::ServerSecret },
        ),
        (
            "its public half",
            client().public().to_text(),
            TextError::Other { wanted: kind, found: Kind::ClientPublic },
        ),
        ("small letters", good.to_lowercase(), TextError::Case { kind }),
        ("mixed case", good.replacen("SECRET", "secret", 1), TextError::MixedCase { kind }),
        ("one small letter", spoiled(30, "q"), TextError::MixedCase { kind }),
        ("B is not in the alphabet", spoiled(30, "B"), TextError::Character('B')),
        ("1 moves the separator", spoiled(30, "1"), TextError::Character('1')),
        ("not ASCII inside", spoiled(30, "é"), TextError::Character('é')),
        ("cut", good[..good.len() - 1].into(), TextError::Length { kind, expected: 74, found: 73 }),
        ("longer", format!("{good}Q"), TextError::Length { kind, expected: 74, found: 75 }),
        ("two", format!("{good} {good}"), TextError::Length { kind, expected: 74, found: 149 }),
    ];
    for (name, text, wanted) in cases {
        assert_eq!(ClientSecret::from_text(&text).err(), Some(wanted), "{name}");
    }
}

#[test]
fn every_other_character_in_every_place_is_refused() {
    let good = ServerPublic([0x5a; 32]).to_text();
    let alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    for at in "spaserver1".len()..good.len() {
        for c in alphabet.chars().filter(|c| !good[at..].starts_with(*c)) {
            let text = format!("{}{c}{}", &good[..at], &good[at + 1..]);
            assert_eq!(ServerPublic::from_text(&text), Err(TextError::Checksum), "{text}");
        }
    }
}

#[test]
fn bech32_of_the_older_kind_and_loose_bits_are_refused() {
    let hrp = bech32::Hrp::parse("spaserver").unwrap();
    let old = bech32::encode::<bech32::Bech32>(hrp, &[1; 32]).unwrap();
    assert_eq!(ServerPublic::from_text(&old), Err(TextError::Checksum));

    // 32 bytes leave 4 unused bits in the last of 52 characters; set one and compute the checksum
    // anew.
    use bech32::primitives::iter::{ByteIterExt, Fe32IterExt};
    let mut fes: Vec<bech32::Fe32> = [1u8; 32].iter().copied().bytes_to_fes().collect();
    let last = fes.pop().unwrap();
    fes.push(bech32::Fe32::try_from(last.to_u8() | 1).unwrap());
    let loose: String = fes.into_iter().with_checksum::<bech32::Bech32m>(&hrp).chars().collect();
    assert_eq!(ServerPublic::from_text(&loose), Err(TextError::Padding));
}

#[test]
fn messages_say_what_it_is_instead() {
    let error = ClientPublic::from_text(&ServerPublic([1; 32]).to_text()).unwrap_err().to_string();
    assert_eq!(
        error,
        "this is a server's public key, not a client's public key: that begins with spa1"
    );
    let error = ClientPublic::from_text("ssh-ed25519 AAAA").unwrap_err().to_string();
    assert_eq!(error, "this is not an SPA text: a client's public key begins with spa1");
    assert_eq!(kind_of(" spa-host-1qqq"), Some(Kind::Host));
    assert_eq!(kind_of("spa"), None);
}
