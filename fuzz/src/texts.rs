//! What people paste.

use bech32::primitives::iter::{ByteIterExt, Fe32IterExt};
use bech32::{Bech32m, Hrp};
use spa_keys::import::{Peer, PeerFile, import as import_files};
use spa_keys::{
    ClientName, HostLine, Invitation, LockedKey, SecretText, SplitKey, TextForm, duration,
    escape_controls, find_secret, mask_secrets, shorten,
};
use spa_proto::{ClientPublic, ClientSecret, Psk, ServerPublic, ServerSecret};

/// Bytes in the text form of a prefix: a fuzzer would not find a checksum.
fn with_checksum(prefix: &str, bytes: &[u8]) -> String {
    let hrp = Hrp::parse(prefix).unwrap();
    let text: String =
        bytes.iter().copied().bytes_to_fes().with_checksum::<Bech32m>(&hrp).chars().collect();
    let is_secret = prefix.starts_with("spa-");
    if is_secret { text.to_ascii_uppercase() } else { text }
}

/// Every text form, names and times: what is read is written the same. Bytes that are no text are
/// the content of one.
pub(crate) fn text(data: &[u8]) {
    const PREFIXES: [&str; 8] = [
        "spa",
        "spask",
        "spaserver",
        "spa-secret-key-",
        "spa-server-key-",
        "spa-psk-",
        "spa-agent-key-",
        "spa-locked-key-",
    ];
    if let Some((kind @ 0x80.., bytes)) = data.split_first() {
        let text = with_checksum(PREFIXES[usize::from(kind % 8)], bytes);
        return read_text(&text);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        read_text(text);
    }
}

fn read_text(text: &str) {
    let trimmed = text.trim();
    if let Ok(key) = ClientPublic::from_text(text) {
        assert_eq!(key.to_text(), trimmed);
    }
    if let Ok(key) = ServerPublic::from_text(text) {
        assert_eq!(key.to_text(), trimmed);
    }
    let mut secrets: Vec<SecretText> = Vec::new();
    secrets.extend(ClientSecret::from_text(text).ok().map(|key| key.to_text()));
    secrets.extend(ServerSecret::from_text(text).ok().map(|key| key.to_text()));
    secrets.extend(Psk::from_text(text).ok().map(|key| key.to_text()));
    secrets.extend(SplitKey::from_text(text).ok().map(|key| key.to_text()));
    secrets.extend(LockedKey::from_text(text).ok().map(|key| key.to_text()));
    assert!(secrets.len() <= 1, "one text is two things");
    for secret in secrets {
        assert_eq!(secret.expose(), trimmed);
        assert!(find_secret(text).is_some(), "a secret that is not masked");
        assert!(!mask_secrets(text).contains(trimmed));
    }
    if let Ok(name) = ClientName::new(text) {
        assert!(name.as_str() == text && !text.starts_with('-') && !text.contains(':'));
    }
    if let Ok(time) = duration::parse(text) {
        assert_eq!(duration::parse(&duration::format(time)).unwrap(), time);
    }
    let escaped = escape_controls(text);
    assert!(!escaped.chars().any(|c| c != '\n' && c != '\t' && c != '\x1b' && c.is_control()));
    assert!(shorten(text).chars().count() <= text.chars().count().min(2049));
}

/// The content of an enrolment line: one text for each meaning.
pub(crate) fn host_line(data: &[u8]) {
    let text = with_checksum("spa-host-", data);
    let Ok(line) = HostLine::from_text(&text) else { return };
    assert_eq!(line.to_text().unwrap().expose(), text);
}

/// The content of an invitation.
pub(crate) fn invitation(data: &[u8]) {
    let text = with_checksum("spa-invitation-", data);
    let Ok(invitation) = Invitation::from_text(&text) else { return };
    assert_eq!(invitation.to_text().unwrap().expose(), text);
}

/// Files of fwknop and knockd: what is written is a configuration that is read again, and no key
/// of theirs is in it.
pub(crate) fn import(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (peer, name) = [
        (Peer::Knockd, "knockd.conf"),
        (Peer::Fwknop, "fwknopd.conf"),
        (Peer::Fwknop, "access.conf"),
        (Peer::Fwknop, ".fwknoprc"),
    ][usize::from(kind % 4)];
    let file = PeerFile { name: name.into(), text: SecretText::new(text.to_owned()) };
    let Ok(imported) = import_files(peer, &[file]) else { return };
    if let Some(server) = &imported.server {
        super::files::must_parse(server);
    }
}
