//! `spa check`: each thing that can be wrong, its place and its command.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod folder;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output};

use folder::TempFolder;
use spa_keys::{Folder, HostLine, LastAnswer, Sequence, TextForm, file};
use spa_proto::{ClientSecret, Psk, ServerSecret};

struct Home(TempFolder);

impl Home {
    /// A key with a passphrase and one host: nothing to say.
    fn well() -> Self {
        let home = Self(TempFolder::new());
        let made = home.spa(&["keygen", "--passphrase-fd", "0"]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        home.enrol("gate", 1, 2);
        assert_eq!(home.check(), (0, vec![]));
        home
    }

    fn spa(&self, args: &[&str]) -> Output {
        let words = self.0.path("words");
        fs::write(&words, "horse\n").unwrap();
        Command::new(env!("CARGO_BIN_EXE_spa"))
            .args(args)
            .env_clear()
            .env("HOME", self.0.root())
            .stdin(fs::File::open(words).unwrap())
            .output()
            .unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path(".config/spa").join(name)
    }

    fn folder(&self) -> Folder {
        Folder::at(self.0.path(".config/spa"))
    }

    fn enrol(&self, name: &str, server: u8, psk: u8) {
        let output = self.spa(&["pubkey"]);
        let public = String::from_utf8(output.stdout).unwrap();
        let client = spa_proto::ClientPublic::from_text(&public).unwrap();
        let line = HostLine {
            server: ServerSecret::from_bytes([server; 32]).public(),
            client_check: HostLine::check_of(&client),
            psk: Psk::from_bytes([psk; 32]),
            name: "alice".into(),
            hosts: vec!["192.0.2.1".into()],
            sequence: Sequence::Ports(vec![1, 2, 3]),
            ack: true,
            kem: false,
            services: vec![],
        };
        self.folder().write_host(name, &line, false).unwrap();
        LastAnswer::record(&self.folder(), name, &line, "granted", true);
    }

    /// Exit code, and the lines with the folder's path shown as HOME.
    fn check(&self) -> (i32, Vec<String>) {
        let output = self.spa(&["check"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.replace(self.0.root().to_str().unwrap(), "HOME");
        (output.status.code().unwrap(), lines.lines().map(str::to_owned).collect())
    }

    fn says(&self, code: i32, findings: &[(&str, &str)]) {
        let want: Vec<String> = findings
            .iter()
            .flat_map(|(what, mend)| [(*what).into(), format!("    {mend}")])
            .collect();
        assert_eq!(self.check(), (code, want));
    }
}

fn mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

const AT: &str = "HOME/.config/spa";

#[test]
fn nothing_yet() {
    let home = Home(TempFolder::new());
    home.says(78, &[(&format!("error: {AT}: there is no key yet"), "spa keygen")]);
}

#[test]
fn modes_and_links() {
    let home = Home::well();
    mode(&home.path("identity"), 0o644);
    mode(&home.path("hosts/gate.host"), 0o640);
    mode(&home.path("hosts"), 0o777);
    fs::write(home.path("config.toml"), "").unwrap();
    mode(&home.path("config.toml"), 0o664);
    let writable = |path: &str, mode: &str| {
        format!("error: {AT}/{path}: others may write to it (mode {mode})")
    };
    let open = |path: &str, mode: &str| {
        format!("error: {AT}/{path}: others may use this secret (mode {mode})")
    };
    home.says(
        78,
        &[
            (&writable("config.toml", "0664"), &format!("chmod go-w {AT}/config.toml")),
            (&writable("hosts", "0777"), &format!("chmod go-w {AT}/hosts")),
            (&open("hosts/gate.host", "0640"), &format!("chmod 600 {AT}/hosts/gate.host")),
            (&open("identity", "0644"), &format!("chmod 600 {AT}/identity")),
        ],
    );
    // The commands that it tells mend it.
    let (_, lines) = home.check();
    for command in lines.iter().filter_map(|line| line.strip_prefix("    ")) {
        let command = command.replace("HOME", home.0.root().to_str().unwrap());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
    }
    assert_eq!(home.check(), (0, vec![]));
    fs::rename(home.path("identity"), home.path("elsewhere")).unwrap();
    symlink(home.path("elsewhere"), home.path("identity")).unwrap();
    let (code, lines) = home.check();
    assert_eq!(
        (code, lines.len(), lines[0].contains("a symbolic link")),
        (78, 2, true),
        "{lines:?}"
    );
    let command = lines[1].replace("HOME", home.0.root().to_str().unwrap());
    assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
    assert_eq!(home.check(), (0, vec![]));
}

#[test]
fn keys_that_are_missing_or_others() {
    let home = Home::well();
    fs::write(home.path("config.toml"), "[host.gate]\nidentity = \"work\"\n").unwrap();
    home.says(
        78,
        &[(&format!("error: {AT}/work: the key is missing"), &format!("spa keygen -o {AT}/work"))],
    );
    assert!(home.spa(&["keygen", "-o", home.path("work").to_str().unwrap()]).status.success());
    home.says(
        78,
        &[
            (
                &format!(
                    "error: {AT}/hosts/gate.host: gate was enrolled for another key than \
                    {AT}/work, and will not accept this one"
                ),
                "spa host add - --replace --name gate --identity FILE",
            ),
            (
                &format!(
                    "hint: {AT}/work: the key has no passphrase: whoever copies the file can act \
                    as this client"
                ),
                &format!("spa passwd {AT}/work"),
            ),
        ],
    );
    fs::remove_file(home.path("config.toml")).unwrap();
    file::replace(&home.path("identity"), "SPA-SECRET-KEY-1QQQ\n").unwrap();
    let (code, lines) = home.check();
    assert_eq!((code, lines.len()), (78, 2), "{lines:?}");
    assert!(lines[0].contains("was not copied completely"), "{lines:?}");
}

#[test]
fn duplicates_strays_and_left_behind() {
    let home = Home::well();
    home.enrol("gate2", 1, 3);
    home.enrol("other", 4, 2);
    fs::write(home.path("config.toml"), "[host.gone]\nfamily = \"4\"\n").unwrap();
    fs::write(home.path("identity.new-123"), "half").unwrap();
    fs::write(home.path("hosts/notes.txt"), "").unwrap();
    home.says(
        78,
        &[
            (
                &format!(
                    "error: {AT}/hosts/other.host: the same pre-shared key as gate, which \
                    every pair has of its own"
                ),
                "spa host add - --replace --name other",
            ),
            (
                &format!("warning: {AT}/config.toml: settings for gone, which is not a host"),
                "spa host remove gone",
            ),
            (
                &format!(
                    "warning: {AT}/hosts/gate2.host: the same enrolment as \
                gate"
                ),
                "spa host remove gate2",
            ),
            (
                &format!(
                    "warning: {AT}/hosts/notes.txt: not read: the name of a host file is \
                    NAME.host"
                ),
                &format!("ls -l {AT}/hosts/notes.txt"),
            ),
            (
                &format!(
                    "warning: {AT}/identity.new-123: an interrupted change left it behind; it \
                    may hold a secret"
                ),
                &format!("rm {AT}/identity.new-123"),
            ),
        ],
    );
}

#[test]
fn broken_files_and_json() {
    let home = Home::well();
    file::replace(&home.path("hosts/gate.host"), "SPA-HOST-1QQQ\n").unwrap();
    fs::write(home.path("config.toml"), "[host.gate\n").unwrap();
    let (code, lines) = home.check();
    assert_eq!((code, lines.len()), (78, 4), "{lines:?}");
    let output = home.spa(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(78));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["version"], 1);
    let findings = value["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 2);
    assert!(findings.iter().all(|finding| finding["severity"] == "error"));
    assert!(findings[0]["path"].as_str().unwrap().ends_with("config.toml"));
    assert_eq!(findings[1]["mend"], "spa host add - --replace --name gate");
}

/// What `spa check` tells to remove goes away by that.
#[test]
fn the_commands_remove_what_is_too_much() {
    let home = Home::well();
    home.enrol("gate2", 1, 3);
    fs::write(home.path("config.toml"), "[host.gone]\nfamily = \"4\"\n").unwrap();
    let (code, lines) = home.check();
    assert_eq!((code, lines.len()), (0, 4), "warnings alone are no failure: {lines:?}");
    for command in lines.iter().filter_map(|line| line.strip_prefix("    spa ")) {
        let output = home.spa(&command.split(' ').collect::<Vec<_>>());
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(home.check(), (0, vec![]));
    assert!(!home.spa(&["host", "remove", "gone"]).status.success(), "there is nothing left of it");
}

/// Hints alone are no failure: a key without a passphrase is a choice.
#[test]
fn a_hint_is_no_failure() {
    let home = Home(TempFolder::new());
    let key = ClientSecret::from_bytes([7; 32]);
    file::private_folder(&home.path("")).unwrap();
    file::write_new(&home.path("identity"), key.to_text().expose()).unwrap();
    let (code, lines) = home.check();
    assert_eq!((code, lines.len(), lines[0].starts_with("hint: ")), (0, 2, true), "{lines:?}");
}

/// What hosts have said, and when they have said nothing.
#[test]
fn expired_and_never_seen() {
    let home = Home::well();
    let seen = home.path("hosts/gate.seen");
    let text = fs::read_to_string(&seen).unwrap();
    assert_eq!(fs::metadata(&seen).unwrap().permissions().mode() & 0o777, 0o600);
    let line = home.folder().read_host("gate").unwrap();
    let psk = line.psk.to_text();
    assert!(!text.contains(psk.expose()) && !text.contains("SPA-"), "{text}");
    // The same answer is not written again, a close is no decision, another decision is.
    LastAnswer::record(&home.folder(), "gate", &line, "granted", true);
    LastAnswer::record(&home.folder(), "gate", &line, "op", false);
    assert_eq!(fs::read_to_string(&seen).unwrap(), text);
    LastAnswer::record(&home.folder(), "gate", &line, "expired", true);
    assert_eq!(LastAnswer::read(&home.folder(), "gate", &line).unwrap().answer, "expired");
    let (code, lines) = home.check();
    assert_eq!((code, lines.len()), (78, 2), "{lines:?}");
    let says = format!(
        "error: {AT}/hosts/gate.host: the access of alice at gate has expired, it said at 20"
    );
    assert!(lines[0].starts_with(&says), "{lines:?}");
    assert_eq!(lines[1], "    spa-client open SERVICE@gate");
    LastAnswer::record(&home.folder(), "gate", &line, "granted", true);
    assert_eq!(home.check(), (0, vec![]));

    // What was said to another key, and what cannot be read, is nothing; that it cannot be written
    // is no failure.
    fs::write(&seen, text.replace("key = \"", "key = \"0")).unwrap();
    let doctor = "spa-client doctor gate --knock";
    home.says(
        0,
        &[(&format!("hint: {AT}/hosts/gate.host: gate has not answered this key yet"), doctor)],
    );
    let week = std::time::SystemTime::now() - std::time::Duration::from_secs(8 * 24 * 3600);
    fs::File::open(home.path("hosts/gate.host")).unwrap().set_modified(week).unwrap();
    home.says(
        0,
        &[(
            &format!(
                "warning: {AT}/hosts/gate.host: gate has never answered this key, in more \
                than a week; if it is not needed: spa host remove gate"
            ),
            doctor,
        )],
    );
    fs::remove_file(&seen).unwrap();
    fs::create_dir(&seen).unwrap();
    LastAnswer::record(&home.folder(), "gate", &line, "granted", true);
    assert_eq!(home.check().0, 0);
    fs::remove_dir(&seen).unwrap();
    LastAnswer::record(&home.folder(), "gate", &line, "granted", true);
    assert!(home.spa(&["host", "remove", "gate"]).status.success());
    assert!(!seen.exists(), "what is forgotten leaves nothing");
}

/// The same key twice, and what interrupted rotations leave.
#[test]
fn copies_and_rotations() {
    let home = Home::well();
    fs::copy(home.path("identity"), home.path("work")).unwrap();
    fs::write(home.path("config.toml"), "[host.gate]\nidentity = \"work\"\n").unwrap();
    // The default key counts when somebody wants it.
    home.enrol("other", 3, 4);
    home.says(
        0,
        &[(
            &format!(
                "warning: {AT}/work: the same key as HOME/.config/spa/identity: a copy is one more \
                 to lose"
            ),
            &format!("rm {AT}/work"),
        )],
    );
    fs::remove_file(home.path("config.toml")).unwrap();
    // A rotated key is its host's own, and no stray.
    let line = home.folder().read_host("gate").unwrap();
    let own = home.folder().key_of(&line);
    fs::rename(home.path("work"), &own).unwrap();
    assert!(home.spa(&["host", "remove", "other"]).status.success());
    assert_eq!(home.check(), (0, vec![]));
    // One that nobody uses is, but not while a rotation is about to use it.
    let fresh = ClientSecret::from_bytes([9; 32]);
    let next = HostLine { client_check: HostLine::check_of(&fresh.public()), ..line };
    let key = home.folder().key_of(&next);
    let name = key.file_name().unwrap().to_str().unwrap();
    file::write_new(&key, &format!("{}\n", fresh.to_text().expose())).unwrap();
    home.says(
        0,
        &[(
            &format!(
                "warning: {AT}/hosts/{name}: no host uses this key: a rotation or a host that was \
                removed left it behind"
            ),
            &format!("rm {AT}/hosts/{name}"),
        )],
    );
    let rotating = home.path("hosts/gate.rotating");
    file::write_new(&rotating, &format!("{}\n", next.to_text().unwrap().expose())).unwrap();
    let says = |word: &str, what: &str, code| {
        home.says(
            code,
            &[(&format!("{word}: {AT}/hosts/gate.rotating: {what}"), "spa rotate gate")],
        );
    };
    says("warning", "a rotation was interrupted: the server may have the new key", 0);
    let before = std::time::SystemTime::now() - std::time::Duration::from_secs(25 * 3600);
    fs::File::open(&rotating).unwrap().set_modified(before).unwrap();
    says(
        "error",
        "a rotation was interrupted more than a day ago: the server may know only the new key",
        78,
    );
    fs::rename(&rotating, home.path("hosts/gate.fresh")).unwrap();
    fs::remove_file(&key).unwrap();
    home.says(
        0,
        &[(
            &format!(
                "warning: {AT}/hosts/gate.fresh: a rotation was interrupted before its key was sent"
            ),
            &format!("rm {AT}/hosts/gate.fresh"),
        )],
    );
}

/// C9. What spa-client refuses of the settings is found without it.
#[test]
fn c9_settings_that_are_refused_are_found() {
    let home = Home::well();
    for (setting, says) in [
        ("addresses = [\"\"]", "`` is not a host"),
        ("addresses = [\"999.999.999.999\"]", "is not a host"),
        ("aliases = [\"../x\"]", "`../x` is not a name"),
        ("identity = \"\"", "identity is not the path"),
    ] {
        fs::write(home.path("config.toml"), format!("[host.gate]\n{setting}\n")).unwrap();
        let output = home.spa(&["check"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(78), "{setting}: {text}");
        assert!(text.contains(says), "{setting}: {text}");
    }
}
