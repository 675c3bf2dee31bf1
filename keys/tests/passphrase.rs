//! Keys under a passphrase, as a user meets them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod folder;

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use folder::TempFolder;
use spa_keys::key_file::{self, KeyFileError};
use spa_keys::{LockError, PassphraseSource, TextForm};
use spa_proto::{ClientSecret, ServerSecret};

fn run(program: &str, home: &TempFolder, args: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("HOME", home.root())
        .env("SHELL", "/bin/sh")
        .env("PATH", "/usr/bin:/bin")
        .current_dir(home.root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn spa(home: &TempFolder, args: &[&str], input: &str) -> (i32, String, String) {
    run(env!("CARGO_BIN_EXE_spa"), home, args, input)
}

fn unlocks(home: &TempFolder, passphrase: &str) -> bool {
    let path = home.path("passphrase");
    fs::write(&path, format!("{passphrase}\n")).unwrap();
    let file = fs::File::open(&path).unwrap();
    let number = u32::try_from(std::os::fd::AsRawFd::as_raw_fd(&file)).unwrap();
    let source = PassphraseSource::Descriptor(number);
    match key_file::read_unlocking::<ClientSecret>(&home.path(".config/spa/identity"), source) {
        Ok(_) => true,
        Err(KeyFileError::Lock { error: LockError::Passphrase, .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn made_changed_and_removed() {
    let home = TempFolder::new();
    let (code, public, said) = spa(&home, &["keygen", "--passphrase-fd", "0"], "first horse\n");
    assert_eq!(code, 0, "{said}");
    let identity = home.path(".config/spa/identity");
    let text = fs::read_to_string(&identity).unwrap();
    assert!(text.contains("\nSPA-LOCKED-KEY-1") && !text.contains("SPA-SECRET-KEY-1"), "{text}");
    assert!(key_file::read::<ClientSecret>(&identity).is_err(), "it is not a plain key");
    assert!(unlocks(&home, "first horse") && !unlocks(&home, "second horse"));
    // The public half is nobody's secret.
    assert_eq!(spa(&home, &["pubkey"], ""), (0, public.clone(), String::new()));
    let (code, shown, _) = spa(&home, &["inspect"], "");
    assert!(
        code == 0 && shown.contains(public.trim()) && shown.contains("under a passphrase"),
        "{shown}"
    );

    let change = ["passwd", "--passphrase-fd", "0", "--new-passphrase-fd", "0"];
    let (code, _, said) = spa(&home, &change, "wrong\nsecond horse\n");
    assert_eq!((code, said.contains("the passphrase is wrong")), (1, true), "{said}");
    assert!(unlocks(&home, "first horse"));
    let (code, _, said) = spa(&home, &change, "first horse\nsecond horse\n");
    assert_eq!(code, 0, "{said}");
    assert!(!unlocks(&home, "first horse") && unlocks(&home, "second horse"));
    let (code, _, said) = spa(&home, &change, "second horse\n\n");
    assert_eq!((code, said.contains("1 to 1024 bytes")), (1, true), "an empty one is none: {said}");

    let remove = ["passwd", "--remove", "--passphrase-fd", "0"];
    assert_eq!(spa(&home, &remove, "first horse\n").0, 1);
    let (code, _, said) = spa(&home, &remove, "second horse\n");
    assert_eq!((code, said.contains("has no passphrase now")), (0, true), "{said}");
    let key: ClientSecret = key_file::read(&identity).unwrap();
    assert_eq!(key.public().to_text(), public.trim());
    assert!(fs::read_to_string(&identity).unwrap().starts_with("# created: "), "comments stay");
    assert_eq!(spa(&home, &remove, "").0, 1, "there is none to remove");
    // And set on a key that had none.
    assert_eq!(spa(&home, &["passwd", "--new-passphrase-fd", "0"], "third\n").0, 0);
    assert!(unlocks(&home, "third"));
}

#[test]
fn a_servers_key_too() {
    let home = TempFolder::new();
    let make = ["keygen", "--server", "-o", "key", "--passphrase-fd", "0"];
    let (code, public, said) = spa(&home, &make, "horse\n");
    assert_eq!((code, public.starts_with("spaserver1")), (0, true), "{said}");
    assert_eq!(spa(&home, &["pubkey", "key"], ""), (0, public.clone(), String::new()));
    assert_eq!(spa(&home, &["passwd", "key", "--remove", "--passphrase-fd", "0"], "horse\n").0, 0);
    let key: ServerSecret = key_file::read(&home.path("key")).unwrap();
    assert_eq!(key.public().to_text(), public.trim());
}

#[test]
fn never_over_a_key_and_never_without_anybody_to_ask() {
    let home = TempFolder::new();
    assert_eq!(spa(&home, &["keygen", "--passphrase-fd", "0"], "horse\n").0, 0);
    let before = fs::read(home.path(".config/spa/identity")).unwrap();
    let (code, _, said) = spa(&home, &["keygen", "--passphrase-fd", "0"], "horse\n");
    assert_eq!((code, said.contains("exists already")), (1, true), "{said}");
    let (code, _, said) = spa(&home, &["passwd", "--passphrase-fd", "99"], "");
    assert_eq!((code, said.contains("--passphrase-fd 3 3<FILE")), (1, true), "{said}");
    assert_eq!(fs::read(home.path(".config/spa/identity")).unwrap(), before);
    let nobody = key_file::read_unlocking::<ClientSecret>(
        &home.path(".config/spa/identity"),
        PassphraseSource::Nobody,
    );
    assert!(nobody.unwrap_err().to_string().contains("--passphrase-fd"));
}

/// Runs `spa` on a real terminal, by script(1) of util-linux, and types each answer when its prompt
/// is there.
fn at_terminal(home: &TempFolder, arguments: &str, dialogue: &[(&str, &str)]) -> (i32, String) {
    let command = format!("{} {arguments}", env!("CARGO_BIN_EXE_spa"));
    let mut child = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env_clear()
        .env("HOME", home.root())
        .env("SHELL", "/bin/sh")
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut shown, mut since) = (Vec::new(), 0);
    for (prompt, answer) in dialogue {
        while !String::from_utf8_lossy(&shown[since..]).contains(prompt) {
            let mut byte = [0];
            assert_eq!(screen.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&shown));
            shown.extend(byte);
        }
        since = shown.len();
        keys.write_all(answer.as_bytes()).unwrap();
    }
    screen.read_to_end(&mut shown).unwrap();
    (child.wait().unwrap().code().unwrap(), String::from_utf8(shown).unwrap())
}

#[test]
fn asked_at_a_terminal() {
    let home = TempFolder::new();
    let identity = home.path(".config/spa/identity");
    let (first, again) = ("identity: ", "Repeat it: ");
    let (code, shown) =
        at_terminal(&home, "keygen --passphrase", &[(first, "horse\n"), (again, "other\n")]);
    assert_eq!((code, shown.contains("not the same")), (1, true), "{shown}");
    let (code, shown) = at_terminal(&home, "keygen --passphrase", &[(first, "horse\x03")]);
    assert_eq!((code, shown.contains("no passphrase was given")), (130, true), "{shown}");
    assert!(!identity.exists());
    let typed = [(first, "horsy\x7fe\n"), (again, "horse\n")];
    let (code, shown) = at_terminal(&home, "keygen --passphrase", &typed);
    assert_eq!((code, shown.contains("hors")), (0, false), "nothing is shown: {shown}");
    assert!(unlocks(&home, "horse"));
    let (code, shown) = at_terminal(&home, "passwd --remove", &[(first, "horse\n")]);
    assert_eq!((code, shown.contains("has no passphrase now")), (0, true), "{shown}");
}

/// In the real kernel's keyring: for its time and no longer, for this passphrase only, and asked
/// anew by `passwd`.
#[test]
fn remembered_for_a_while() {
    let home = TempFolder::new();
    let identity = home.path(".config/spa/identity");
    assert_eq!(spa(&home, &["keygen", "--passphrase-fd", "0"], "horse\n").0, 0);
    let locked = || key_file::read_locked(&identity).unwrap().unwrap();
    let opens = || {
        key_file::read_unlocking::<ClientSecret>(&identity, PassphraseSource::Remembered).is_ok()
    };
    assert!(spa_keys::find_passphrase(&locked()).is_none());
    let unlock = ["unlock", "--passphrase-fd", "0", "--for"];
    let (code, _, said) = spa(&home, &[&unlock[..], &["1h"]].concat(), "wrong\n");
    assert_eq!((code, said.contains("the passphrase is wrong")), (1, true), "{said}");
    assert!(spa_keys::find_passphrase(&locked()).is_none(), "a wrong one is not remembered");
    for time in ["0s", "25h", "-1h"] {
        let time = format!("--for={time}");
        assert_eq!(spa(&home, &["unlock", "--passphrase-fd", "0", &time], "horse\n").0, 2);
    }
    let (code, _, said) = spa(&home, &[&unlock[..], &["1h"]].concat(), "horse\n");
    assert_eq!(code, 0, "{said}");
    assert!(opens());
    assert_eq!(spa(&home, &["passwd", "--remove", "--passphrase-fd", "0"], "wrong\n").0, 1);
    let old = locked();
    let change = ["passwd", "--passphrase-fd", "0", "--new-passphrase-fd", "0"];
    assert_eq!(spa(&home, &change, "horse\nother\n").0, 0);
    assert!(spa_keys::find_passphrase(&locked()).is_none(), "another passphrase is another entry");
    assert!(spa_keys::find_passphrase(&old).is_none(), "the old one is forgotten with the change");
    assert_eq!(spa(&home, &[&unlock[..], &["1h"]].concat(), "other\n").0, 0);
    assert!(opens());
    assert_eq!(spa(&home, &["lock"], "").0, 0);
    assert!(spa_keys::find_passphrase(&locked()).is_none());
    // The kernel ends it by itself.
    assert_eq!(spa(&home, &[&unlock[..], &["1s"]].concat(), "other\n").0, 0);
    let until = Instant::now() + Duration::from_secs(10);
    while spa_keys::find_passphrase(&locked()).is_some() {
        assert!(Instant::now() < until, "remembered for longer than its second");
        std::thread::yield_now();
    }
}
