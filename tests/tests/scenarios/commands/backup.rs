//! `spa-server backup` and `restore` with files that are not as they should be, and killed in the
//! middle. What a restored server refuses is tried in `replay/restored.rs`.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use spa_tests::daemon::binary;
use spa_tests::need_namespaces;
use spa_tests::temp::TempDir;

/// A server's files in a folder of their own, without a server.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Files {
        let files = Files { folder: TempDir::new() };
        fs::write(
            files.path("etc.toml"),
            format!(
                "[server]\nkey = \"{0}/server.key\"\nclients = \"{0}/clients.toml\"\nstate = \
                 \"{0}/state\"\ncontrol = \"{0}/control.sock\"\nhosts = [\"192.0.2.1\", \
                 \"2001:db8::1\"]\n[sequence]\nports = [7001]\n[[service]]\nname = \"ssh\"\nports \
                 = [\"tcp/22\"]\n",
                files.folder.path().display()
            ),
        )
        .unwrap();
        let key = files.path("server.key");
        let made = Command::new(binary("spa")).args(["keygen", "--server", "-o"]).arg(key).output();
        assert!(made.unwrap().status.success());
        let made = Command::new(binary("spa"))
            .args(["keygen", "-o"])
            .arg(files.path("client"))
            .output()
            .unwrap();
        let public = String::from_utf8(made.stdout).unwrap();
        let added = files.run(&["client", "add", "laptop", public.trim(), "--service", "ssh"]);
        assert!(added.status.success(), "{added:?}");
        fs::remove_file(files.path("client")).unwrap();
        let invited = files.run(&["invite", "phone", "--service", "ssh"]);
        assert!(invited.status.success(), "{invited:?}");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn command(&self, arguments: &[&str]) -> Vec<String> {
        let mut words = vec![binary("spa-server").display().to_string()];
        words.extend(arguments.iter().map(|word| (*word).to_owned()));
        words.extend(["--config".to_owned(), self.path("etc.toml").display().to_string()]);
        words
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let words = self.command(arguments);
        Command::new(&words[0]).args(&words[1..]).output().unwrap()
    }

    /// The files that matter, by their names.
    fn content(&self) -> BTreeMap<&'static str, Option<String>> {
        let names = ["etc.toml", "server.key", "clients.toml", "state-broker/enrolled.toml"];
        names.map(|name| (name, fs::read_to_string(self.path(name)).ok())).into()
    }

    /// As another machine has them.
    fn wipe(&self) {
        for entry in fs::read_dir(self.folder.path()).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }
}

fn archive_of(files: &Files, keep: &TempDir) -> String {
    let archive = keep.join("spa.backup").display().to_string();
    let made = files.run(&["backup", &archive]);
    assert!(made.status.success(), "{made:?}");
    archive
}

#[track_caller]
fn assert_refused(output: &Output, code: i32, word: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(word), "{said}");
}

#[test]
fn written_once_and_for_its_owner_alone() {
    let files = Files::new();
    let keep = TempDir::new();
    let archive = archive_of(&files, &keep);
    assert_eq!(fs::metadata(&archive).unwrap().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&archive).unwrap();
    assert!(text.contains("SPA-SERVER-KEY-1") && text.contains("phone"), "all of it");
    assert!(!text.contains("spa.store"), "no replay record");
    let loud = files.run(&["backup", &archive, "--force"]);
    assert!(String::from_utf8_lossy(&loud.stderr).contains("PRIVATE KEY"), "{loud:?}");
    assert_refused(&files.run(&["backup", &archive]), 1, "--force");
    let json = files.run(&["backup", &archive, "--force", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let contents = serde_json::json!(["config", "key", "clients", "enrolled"]);
    assert_eq!((&json["contents"], &json["sealed"]), (&contents, &false.into()), "{json}");
}

#[test]
fn a_folder_of_another_user_takes_only_a_sealed_one() {
    need_namespaces!();
    let files = Files::new();
    let keep = TempDir::new();
    chown(keep.path(), Some(65_534), Some(65_534)).unwrap();
    let archive = keep.join("spa.backup").display().to_string();
    assert_refused(&files.run(&["backup", &archive]), 77, "belongs to user 65534");
    assert!(!Path::new(&archive).exists());
}

#[test]
fn under_a_passphrase() {
    let files = Files::new();
    let keep = TempDir::new();
    let archive = keep.join("spa.backup").display().to_string();
    let with = |arguments: &str, passphrase: &str| {
        let words = files.command(&[]);
        let line = format!(
            "{} {arguments} --passphrase-fd 3 --config {} 3<<<'{passphrase}'",
            words[0], words[2]
        );
        Command::new("bash").args(["-c", &line]).output().unwrap()
    };
    let made = with(&format!("backup {archive}"), "correct horse");
    assert!(made.status.success(), "{made:?}");
    let text = fs::read_to_string(&archive).unwrap();
    assert!(!text.contains("SPA-SERVER-KEY-1") && !text.contains("laptop"), "readable");
    let before = files.content();
    files.wipe();
    assert_refused(&with(&format!("restore {archive}"), "wrong"), 1, "passphrase is wrong");
    assert!(files.content().values().all(Option::is_none), "something was written");
    let restored = with(&format!("restore {archive}"), "correct horse");
    assert!(restored.status.success(), "{restored:?}");
    assert!(files.content() == before);
}

#[test]
fn an_archive_that_is_not_whole_or_not_ours_restores_nothing() {
    need_namespaces!();
    let files = Files::new();
    let keep = TempDir::new();
    let archive = archive_of(&files, &keep);
    let text = fs::read_to_string(&archive).unwrap();
    files.wipe();
    let lines = text.matches('\n').count();
    for keep_lines in [0, 1, 2, lines / 2, lines - 1] {
        let cut: String = text.split_inclusive('\n').take(keep_lines).collect();
        fs::write(&archive, cut).unwrap();
        assert_refused(&files.run(&["restore", &archive]), 78, "spa.backup: it is");
    }
    fs::write(&archive, text.replace("7001", "7002")).unwrap();
    assert_refused(&files.run(&["restore", &archive]), 78, "was changed");
    fs::write(&archive, &text).unwrap();
    fs::set_permissions(&archive, Permissions::from_mode(0o644)).unwrap();
    assert_refused(&files.run(&["restore", &archive]), 77, "chmod 600");
    fs::set_permissions(&archive, Permissions::from_mode(0o600)).unwrap();
    chown(&archive, Some(65_534), Some(65_534)).unwrap();
    assert_refused(&files.run(&["restore", &archive]), 77, "65534");
    assert_refused(&files.run(&["restore", "/nonexistent"]), 1, "/nonexistent");
    assert!(files.content().values().all(Option::is_none), "something was written");
}

#[test]
fn what_is_there_is_overwritten_only_when_asked() {
    let files = Files::new();
    let keep = TempDir::new();
    let archive = archive_of(&files, &keep);
    let then = files.content();
    assert!(files.run(&["invite", "tablet", "--service", "ssh"]).status.success());
    fs::write(files.path("clients.toml"), "").unwrap();
    let now = files.content();
    assert_refused(&files.run(&["restore", &archive]), 1, "clients.toml");
    assert!(files.content() == now, "changed");
    let forced = files.run(&["restore", &archive, "--force"]);
    assert!(forced.status.success(), "{forced:?}");
    assert!(files.content() == then);
    // Clients of which the backup knows nothing do not stay either.
    let bare = Files::new();
    fs::remove_dir_all(bare.path("state-broker")).unwrap();
    fs::remove_file(bare.path("clients.toml")).unwrap();
    let other = TempDir::new();
    let archive = archive_of(&bare, &other);
    assert!(bare.run(&["invite", "tablet", "--service", "ssh"]).status.success());
    assert_refused(&bare.run(&["restore", &archive]), 1, "enrolled.toml");
    assert!(bare.run(&["restore", &archive, "--force"]).status.success());
    assert!(!bare.path("state-broker/enrolled.toml").exists());
}

#[test]
fn killed_at_any_step_it_is_done_by_running_it_again() {
    need_namespaces!();
    let files = Files::new();
    let keep = TempDir::new();
    let archive = archive_of(&files, &keep);
    let then = files.content();
    let mut killed = 0;
    for step in 1.. {
        files.wipe();
        let calls = "link,linkat,rename,renameat,renameat2,unlink,unlinkat";
        let (trace, inject) =
            (format!("trace={calls}"), format!("inject={calls}:signal=KILL:when={step}"));
        let output = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject])
            .args(files.command(&["restore", &archive]))
            .output()
            .unwrap();
        if output.status.success() {
            break;
        }
        killed += 1;
        let left = files.content();
        // Without its configuration no server starts by half of the files.
        assert!(left["etc.toml"].is_none() || left == then, "step {step}");
        let again = files.run(&["restore", &archive]);
        assert!(again.status.success(), "step {step}: {again:?}");
        assert!(files.content() == then, "step {step}");
    }
    assert!(killed >= 5, "only {killed} steps were tried");
    assert!(files.content() == then);
}
