//! Keys that clients have replaced: what is kept of those before, for how long, and what can be put
//! back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::super::super::Surroundings;
use super::super::enrolled::{merge_enrolled, parse_enrolled};
use super::super::{
    Client, NewKeys, ReplaceError, Secret, erase_former, forget_client, parse_clients,
    replace_keys, seen, undo_change,
};

const DAY: u64 = 24 * 3_600_000;
const OVERLAP: Duration = Duration::from_secs(24 * 3600);
/// 2026-11-23 12:00:00 UTC.
const NOW: u64 = 1_795_435_200_000;

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("spa-rotated-{}-{number}-broker", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn file(&self) -> PathBuf {
        self.0.join("enrolled.toml")
    }

    fn rotate(&self, from: &str, to: &str, at_ms: u64) -> Result<(), ReplaceError> {
        let keys = NewKeys {
            public: format!("spa1{to}"),
            psk: Secret::new(format!("SPA-PSK-1{}", to.to_uppercase())),
            kem: Some(Secret::new(format!("SPA-PSK-1M{}", to.to_uppercase()))),
        };
        replace_keys(&self.file(), "alice", &format!("spa1{from}"), &keys, at_ms, OVERLAP)
    }

    /// The client as the server would have it.
    fn client(&self) -> Client {
        let text = "[[client]]\nname = \"alice\"\npublic = \"spa1a\"\npsk = \
            \"SPA-PSK-1A\"\nservices = [\"ssh\"]\n";
        let around = Surroundings::none();
        let mut clients = parse_clients("clients.toml", text, None, &around).0.unwrap();
        let text = text_of(&self.file());
        let (enrolled, findings) = parse_enrolled("enrolled.toml", &text, None, &around);
        let enrolled = enrolled.unwrap_or_else(|| panic!("{findings}"));
        merge_enrolled(&mut clients, enrolled, Path::new("/var/lib/spa"));
        clients.remove(0)
    }

    fn public(&self) -> String {
        self.client().public.value
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn undone_within_the_overlap() {
    let scratch = Scratch::new();
    scratch.rotate("a", "b", NOW).unwrap();
    assert_eq!(scratch.public(), "spa1b");
    // Also after the new keys have been seen: by whoever took them.
    assert!(seen(&scratch.file(), "alice").unwrap());
    assert!(scratch.client().former.is_none());
    assert_eq!(scratch.client().undo.unwrap().public, "spa1a");
    undo_change(&scratch.file(), "alice", NOW + DAY - 1000).unwrap();
    let client = scratch.client();
    assert_eq!((&*client.public.value, client.psk.value.reveal()), ("spa1a", "SPA-PSK-1A"));
    assert!(!text_of(&scratch.file()).contains("spa1b"));
    assert!(matches!(undo_change(&scratch.file(), "alice", NOW), Err(ReplaceError::Refused(_))));
}

/// A thief of the keys rotates as often as he likes: the owner's are the ones to go back to.
#[test]
fn the_first_change_of_the_overlap_is_undone() {
    let scratch = Scratch::new();
    scratch.rotate("a", "b", NOW - 2 * DAY).unwrap();
    seen(&scratch.file(), "alice").unwrap();
    for (from, to) in [("b", "c"), ("c", "d"), ("d", "e")] {
        scratch.rotate(from, to, NOW).unwrap();
    }
    assert_eq!(scratch.client().former.unwrap().public, "spa1d");
    undo_change(&scratch.file(), "alice", NOW + 1000).unwrap();
    let client = scratch.client();
    assert_eq!((&*client.public.value, client.psk.value.reveal()), ("spa1b", "SPA-PSK-1B"));
    assert!(client.former.is_none() && client.undo.is_none());
}

#[test]
fn nothing_is_undone_after_the_overlap() {
    let scratch = Scratch::new();
    scratch.rotate("a", "b", NOW).unwrap();
    for (name, at_ms) in [("alice", NOW + DAY), ("bob", NOW)] {
        let undone = undo_change(&scratch.file(), name, at_ms);
        assert!(matches!(undone, Err(ReplaceError::Refused(_))), "{undone:?}");
    }
    assert_eq!(scratch.public(), "spa1b");
}

#[test]
fn what_nobody_can_use_any_more_is_erased() {
    let scratch = Scratch::new();
    erase_former(&scratch.file(), NOW).unwrap();
    scratch.rotate("a", "b", NOW - 2 * DAY).unwrap();
    scratch.rotate("b", "c", NOW).unwrap();
    erase_former(&scratch.file(), NOW + DAY - 1000).unwrap();
    let kept = text_of(&scratch.file());
    assert_eq!(kept.matches("SPA-PSK-1B").count(), 2, "{kept}");
    erase_former(&scratch.file(), NOW + DAY).unwrap();
    let left = text_of(&scratch.file());
    assert!(!left.contains("SPA-PSK-1B") && !left.contains("undo"), "{left}");
    assert!(!left.contains("kem"), "{left}");
    let client = scratch.client();
    assert_eq!((&*client.public.value, client.former), ("spa1c", None));
}

/// Whoever asks again before the server has read the change has another ML-KEM half, and another
/// psk: told of that, the client would be locked out.
#[test]
fn the_same_keys_with_another_psk_change_nothing() {
    let scratch = Scratch::new();
    scratch.rotate("a", "b", NOW).unwrap();
    let stored = text_of(&scratch.file());
    scratch.rotate("a", "b", NOW + 1).unwrap();
    let keys = NewKeys {
        public: "spa1b".to_owned(),
        psk: Secret::new("SPA-PSK-1OTHER".to_owned()),
        kem: Some(Secret::new("SPA-PSK-1MOTHER".to_owned())),
    };
    let again = replace_keys(&scratch.file(), "alice", "spa1a", &keys, NOW + 1, OVERLAP);
    assert!(matches!(again, Err(ReplaceError::JustTaken)), "{again:?}");
    assert_eq!(text_of(&scratch.file()), stored);
}

/// What a full disk or a stray hand has emptied is not written over.
#[test]
fn an_emptied_file_takes_no_new_keys() {
    let scratch = Scratch::new();
    scratch.rotate("a", "b", NOW).unwrap();
    let whole = fs::read(scratch.file()).unwrap();
    fs::write(scratch.file(), "").unwrap();
    let refused = scratch.rotate("a", "c", NOW).unwrap_err().to_string();
    assert!(refused.contains("it is empty"), "{refused}");
    assert_eq!(fs::read(scratch.file()).unwrap(), b"");
    // What changes nothing is no reason to fail: a client is removed all the same.
    assert!(!forget_client(&scratch.file(), "alice").unwrap());
    fs::write(scratch.file(), whole).unwrap();
    scratch.rotate("b", "c", NOW).unwrap();
}
