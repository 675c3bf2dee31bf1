//! Enrolment lines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use proptest::prelude::*;
use spa_keys::{HostError, HostLine, Invitation, Kind, Sequence, Service, ServiceProto, TextError};
use spa_proto::{ClientSecret, HopKey, HopPlan, InvitationSecret, Psk, ServerPublic};

fn example() -> HostLine {
    HostLine {
        server: ServerPublic([1; 32]),
        client_check: HostLine::check_of(&ClientSecret::from_bytes([7; 32]).public()),
        psk: Psk::from_bytes([2; 32]),
        name: "alice".into(),
        hosts: vec!["gate.example.org".into(), "2001:db8::1".into()],
        sequence: Sequence::Ports(vec![4001, 4002, 4003]),
        ack: true,
        kem: false,
        services: vec![
            Service { name: "ssh".into(), proto: ServiceProto::Tcp, port: 22 },
            Service { name: "secured".into(), proto: ServiceProto::All, port: 0 },
        ],
    }
}

const GOLDEN: &str = "SPA-HOST-1QGQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZPXV8WX2CVG7QGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQG9V9KXJCM9QGGXWCT5V5HX27RPD4CXCEFWDAEXWZEJXQCRZWNYVGUR5W33QV86ZRAZP73SYQMNWD5QVQQKQAEK2CM4WFJKGQQQQQUN5EYK";

#[test]
fn golden_line() {
    assert_eq!(example().to_text().unwrap().expose(), GOLDEN);
    let read = HostLine::from_text(GOLDEN).unwrap();
    assert_eq!(read, example());
    assert!(read.is_for(&ClientSecret::from_bytes([7; 32]).public()));
    assert!(!read.is_for(&ClientSecret::from_bytes([8; 32]).public()));
}

/// An invitation is a line of its own kind; what its client needs comes from its secret and is not
/// in the line.
#[test]
fn invitations() {
    let secret = InvitationSecret::from_bytes([9; 32]);
    let invitation = Invitation::new(secret.clone(), example());
    let text = invitation.to_text().unwrap();
    let text = text.expose();
    assert!(text.starts_with("SPA-INVITATION-1"));
    let read = Invitation::from_text(&format!(" {text}\n")).unwrap();
    assert_eq!(read, invitation);
    assert_eq!(
        (read.host.psk.clone(), read.secret.client().public()),
        (secret.psk(), secret.client().public())
    );
    assert!(read.host.is_for(&secret.client().public()));
    assert!(matches!(HostLine::from_text(text), Err(HostError::Text(TextError::Other { .. }))));
    assert!(matches!(Invitation::from_text(GOLDEN), Err(HostError::Text(TextError::Other { .. }))));
    // The kind is under the checksum: neither becomes the other by another beginning.
    let renamed = GOLDEN.replacen("SPA-HOST-1", "SPA-INVITATION-1", 1);
    assert_eq!(Invitation::from_text(&renamed), Err(HostError::Text(TextError::Checksum)));
    // A line that is right but for whom its client would be.
    let bytes = bech32::primitives::decode::CheckedHrpstring::new::<bech32::Bech32m>(text).unwrap();
    let mut bytes: Vec<u8> = bytes.byte_iter().collect();
    bytes[33] ^= 1;
    let hrp = bech32::Hrp::parse("spa-invitation-").unwrap();
    let forged = bech32::encode_upper::<bech32::Bech32m>(hrp, &bytes).unwrap();
    assert!(matches!(Invitation::from_text(&forged), Err(HostError::Content(_))));
}

#[test]
fn every_cut_is_refused() {
    for end in 0..GOLDEN.len() {
        assert!(HostLine::from_text(&GOLDEN[..end]).is_err(), "{end}");
    }
}

#[test]
fn what_cannot_be_is_not_written() {
    type Change = fn(&mut HostLine);
    let cases: [(&str, Change); 12] = [
        ("no name", |l| l.name.clear()),
        ("name with a space", |l| l.name = "a b".into()),
        ("name with a control character", |l| l.name = "a\u{1b}".into()),
        ("name that climbs", |l| l.name = "../x".into()),
        ("long name", |l| l.name = "n".repeat(65)),
        ("host that is an option", |l| l.hosts = vec!["-oProxyCommand".into()]),
        ("host with a slash", |l| l.hosts = vec!["a/b".into()]),
        ("many hosts", |l| l.hosts = vec!["a".into(); 9]),
        ("no ports", |l| l.sequence = Sequence::Ports(vec![])),
        ("nine ports", |l| l.sequence = Sequence::Ports(vec![1; 9])),
        ("port 0", |l| l.sequence = Sequence::Ports(vec![1, 0])),
        ("tcp service without a port", |l| l.services[0].port = 0),
    ];
    for (name, change) in cases {
        let mut line = example();
        change(&mut line);
        assert!(matches!(line.to_text(), Err(HostError::Content(_))), "{name}");
    }
}

#[test]
fn too_long_is_said_with_the_number() {
    let mut line = example();
    line.hosts = vec!["h".repeat(253); 3];
    assert!(matches!(line.to_text(), Err(HostError::TooLong(chars)) if chars > 1023));
    let padded = format!("{GOLDEN}{}", "Q".repeat(1000));
    assert!(matches!(HostLine::from_text(&padded), Err(HostError::Text(TextError::TooLong(_)))));
    assert_eq!(
        HostLine::from_text(&spa_keys::TextForm::to_text(&ServerPublic([1; 32]))),
        Err(HostError::Text(TextError::Other { wanted: Kind::Host, found: Kind::ServerPublic }))
    );
}

/// A line around chosen bytes, with a right checksum.
fn framed(bytes: &[u8]) -> String {
    let hrp = bech32::Hrp::parse("spa-host-").unwrap();
    bech32::encode_upper::<bech32::Bech32m>(hrp, bytes).unwrap()
}

fn payload() -> Vec<u8> {
    bech32::decode(GOLDEN).unwrap().1
}

#[test]
fn bytes_that_no_encoder_writes() {
    let read = |change: fn(&mut Vec<u8>)| {
        let mut bytes = payload();
        change(&mut bytes);
        HostLine::from_text(&framed(&bytes)).unwrap_err()
    };
    assert_eq!(read(|b| b[0] = 1), HostError::Older);
    assert_eq!(read(|b| b[0] = 3), HostError::Version(3));
    for (name, change) in [
        ("unknown flag", (|b| b[73] |= 8) as fn(&mut Vec<u8>)),
        ("hop flag on a plain sequence", |b| b[73] |= 2),
        ("kem flag without answers", |b| b[73] = 4),
        ("trailing byte", |b| b.push(0)),
        ("one byte missing", |b| b.truncate(b.len() - 1)),
        ("name of no UTF-8", |b| b[75] = 0xff),
        ("name length to the end", |b| b[74] = 0xff),
        ("unknown protocol", |b| {
            let at = b.len() - 3;
            b[at] = 1;
        }),
    ] {
        assert!(matches!(read(change), HostError::Content(_)), "{name}");
    }
}

fn lines() -> impl Strategy<Value = HostLine> {
    let ports = prop::collection::vec(1..=u16::MAX, 1..=8).prop_map(Sequence::Ports);
    let hop = (
        any::<[u8; 32]>(),
        1u16..30_000,
        1u8..=8,
        prop::collection::vec(any::<(u16, u16)>(), 0..4),
    )
        .prop_filter_map("too narrow", |(key, lo, stages, exclude)| {
            let plan = HopPlan::new(lo, lo + 20_000, stages, exclude).ok()?;
            Some(Sequence::Hop { key: HopKey::from_bytes(key), plan })
        });
    let service =
        ("[a-z0-9][a-z0-9.@_+-]{0,10}", 0..3, 1..=u16::MAX).prop_map(|(name, proto, port)| {
            match proto {
                0 => Service { name, proto: ServiceProto::Tcp, port },
                1 => Service { name, proto: ServiceProto::Udp, port },
                _ => Service { name, proto: ServiceProto::All, port: 0 },
            }
        });
    let host = prop_oneof![
        "[a-z][a-z0-9-]{0,20}[a-z0-9]\\.[a-z]{2,6}",
        any::<u8>().prop_map(|last| format!("203.0.113.{last}")),
        any::<u16>().prop_map(|last| format!("2001:db8::1:{last:x}")),
    ];
    (
        any::<([u8; 32], [u8; 8], [u8; 32], bool, bool)>(),
        "[A-Za-z0-9_][A-Za-z0-9.@_+-]{0,20}",
        prop::collection::vec(host, 0..=4),
        prop_oneof![ports, hop],
        prop::collection::vec(service, 0..8),
    )
        .prop_map(
            |((server, client_check, psk, ack, kem), name, hosts, sequence, services)| {
                let line = HostLine {
                    server: ServerPublic(server),
                    client_check,
                    psk: Psk::from_bytes(psk),
                    name,
                    hosts,
                    sequence,
                    ack,
                    kem: false,
                    services,
                };
                HostLine { kem: kem && line.can_carry_kem(), ..line }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn round_trip(line in lines()) {
        let text = line.to_text().unwrap();
        prop_assert!(text.expose().len() <= 1023);
        prop_assert_eq!(HostLine::from_text(text.expose()).unwrap(), line);
    }

    #[test]
    fn arbitrary_text_never_panics(
        text in "\\PC{0,200}",
        tail in "[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{0,300}",
    ) {
        let _ = HostLine::from_text(&text);
        let _ = HostLine::from_text(&format!("SPA-HOST-1{tail}"));
    }

    #[test]
    fn spoiled_bytes_never_panic_and_have_one_encoding(at in 0usize..150, byte: u8) {
        let mut bytes = payload();
        let at = at % bytes.len();
        bytes[at] = byte;
        let text = framed(&bytes);
        if let Ok(line) = HostLine::from_text(&text) {
            let again = line.to_text().unwrap();
            prop_assert_eq!(again.expose(), text.as_str());
        }
    }
}
