//! The worked examples of `docs/formats.md`, which a second implementation makes, are what
//! `spa-keys` reads and writes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use spa_keys::{HostLine, Invitation, LockedKey, SecretText, Sequence, SplitKey, TextForm};
use spa_proto::{ClientPublic, ClientSecret, KeyKind, Psk, ServerPublic, ServerSecret};

/// The value of a name in an example, its rows joined.
fn value(example: &str, name: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once(&format!("<!-- worked: {example} -->")).unwrap();
    let (block, _) = rest.split_once("<!-- end -->").unwrap();
    let mut lines =
        block.lines().skip_while(|line| line.split(" =").next().unwrap().trim() != name);
    let first = lines.next().unwrap_or_else(|| panic!("{example} has no {name}"));
    let more = lines.take_while(|line| line.starts_with("   ")).map(str::trim);
    let (_, first) = first.split_once("= ").unwrap();
    std::iter::once(first).chain(more).collect()
}

fn counted(first: u8) -> [u8; 32] {
    std::array::from_fn(|at| first + at as u8)
}

#[test]
fn keys_are_read_and_written_as_the_page_says() {
    let text = |name: &str| value("text-keys", name);
    let client = ClientSecret::from_bytes(counted(0x20));
    let server = ServerSecret::from_bytes(counted(0));
    assert_eq!(client.public().to_text(), text("client"));
    assert_eq!(server.public().to_text(), text("server"));
    assert_eq!(client.to_text().expose(), text("seed_C"));
    assert_eq!(server.to_text().expose(), text("sk_S"));
    assert_eq!(Psk::from_bytes(counted(0x40)).to_text().expose(), text("psk"));
    let token = ClientSecret::from_bytes(counted(0xd0)).public().sign;
    let touched = client.public().with_signer(token, KeyKind::SecurityKey);
    assert_eq!(touched.to_text(), text("security key"));
    let split = SplitKey::from_text(&text("agent key")).unwrap();
    assert_eq!(split.public(), touched);
    assert_eq!(split.to_text().expose(), text("agent key"));
    for name in ["client", "security key", "seed_C", "psk"] {
        let other = text(name).replace(['q', 'Q'], "p");
        assert!(ClientPublic::from_text(&other).is_err(), "{name}");
        assert!(ServerPublic::from_text(&text(name)).is_err(), "{name}");
    }
}

#[test]
fn the_locked_key_opens_with_its_passphrase_only() {
    let locked = LockedKey::from_text(&value("locked-key", "text")).unwrap();
    let unlock = |words: &str| locked.unlock::<ClientSecret>(&SecretText::new(words.to_owned()));
    let opened = unlock("correct horse battery staple").unwrap();
    assert_eq!(opened, ClientSecret::from_bytes(counted(0x20)));
    assert!(unlock("correct horse battery stable").is_err());
}

#[test]
fn lines_are_read_and_written_as_the_page_says() {
    let text = value("host-line", "text");
    let line = HostLine::from_text(&text).unwrap();
    assert_eq!(line.to_text().unwrap().expose(), text);
    assert!(line.is_for(&ClientSecret::from_bytes(counted(0x20)).public()));
    assert_eq!(line.psk, Psk::from_bytes(counted(0x40)));
    assert_eq!(line.server, ServerSecret::from_bytes(counted(0)).public());
    assert_eq!((line.name.as_str(), line.ack), ("anna-laptop", true));
    assert_eq!(line.hosts, ["ssh.example.org", "192.0.2.10"]);
    assert_eq!(line.sequence, Sequence::Ports(vec![40_001, 40_002, 40_003]));
    let services: Vec<String> = line.services.iter().map(ToString::to_string).collect();
    assert_eq!(services, ["ssh (tcp/22)", "vpn (udp/51820)"]);

    let text = value("invitation", "text");
    let invitation = Invitation::from_text(&text).unwrap();
    assert_eq!(invitation.to_text().unwrap().expose(), text);
    assert_eq!(*invitation.secret.to_bytes(), counted(0x90));
    // 2026-01-01T00:00:12.345Z, as the worked example of the protocol.
    assert_eq!(invitation.host.sequence.ports_at(1_767_225_612_345), [40_788, 43_987, 46_274]);
    assert!(HostLine::from_text(&text).is_err());
}
