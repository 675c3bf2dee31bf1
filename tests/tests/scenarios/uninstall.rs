//! What an installation leaves behind, and who finds it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use spa_tests::daemon::profile_folder;
use spa_tests::first_day::FirstDay;
use spa_tests::machine::Installed;
use spa_tests::probe::TcpProbe;
use spa_tests::temp::TempDir;
use spa_tests::{Family, need_namespaces};

/// Words of a `make` of this project that takes the programs under test.
fn make(target: &str) -> Vec<String> {
    let profile = profile_folder();
    vec![
        "make".to_owned(),
        "-s".to_owned(),
        "-C".to_owned(),
        concat!(env!("CARGO_MANIFEST_DIR"), "/..").to_owned(),
        target.to_owned(),
        format!("PROFILE={}", profile.file_name().unwrap().display()),
        format!("CARGO_TARGET_DIR={}", profile.parent().unwrap().display()),
    ]
}

fn list_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            list_files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

#[test]
fn uninstall_removes_each_file_that_install_installs() {
    let folder = TempDir::new();
    let run = |target: &str| {
        let mut words = make(target);
        words.push(format!("DESTDIR={}", folder.path().display()));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut found = Vec::new();
        list_files(folder.path(), &mut found);
        found
    };
    assert!(run("install").len() > 15);
    assert_eq!(run("uninstall"), Vec::<PathBuf>::new());
}

/// Kinds of what the check finds on a machine, but for what people have in their homes.
fn kinds(day: &FirstDay) -> (Option<i32>, BTreeSet<String>) {
    let program = profile_folder().join("spa-server");
    let line = format!("{} uninstall-check --json", program.display());
    let output = day.server.shell(&line).output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["unknown"], serde_json::json!([]), "{json}");
    let kind = |one: &Value| one["kind"].as_str().unwrap().to_owned();
    let all = json["found"].as_array().unwrap().iter().map(kind);
    let homes = ["client's keys", "ssh settings", "user", "group"];
    (output.status.code(), all.filter(|kind| !homes.contains(&kind.as_str())).collect())
}

#[test]
fn the_check_names_what_is_left_until_nothing_is() {
    need_namespaces!();
    let installed = Installed::new();
    let mut day = FirstDay::new(&installed, &Family::BOTH);
    day.start();
    day.join();
    day.ssh();
    let (code, found) = kinds(&day);
    let all = [
        "completion",
        "configuration and keys",
        "documentation",
        "manual page",
        "process",
        "program",
        "rules",
        "runtime",
        "state",
        "sysusers",
        "tmpfiles",
        "unit",
    ];
    assert_eq!((code, found), (Some(1), all.map(str::to_owned).into()));
    // Beside a running server nothing is removed: it would put its table back.
    let refused = day.server.shell(&make("uninstall").join(" ")).output().unwrap();
    assert!(!refused.status.success(), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stop it first"), "{refused:?}");
    assert!(installed.file("sbin/spa-server").exists());

    day.stop();
    let kept = day.server.shell(&make("uninstall").join(" ")).output().unwrap();
    assert!(kept.status.success(), "{kept:?}");
    assert!(String::from_utf8_lossy(&kept.stdout).contains("PURGE=yes"), "{kept:?}");
    for family in Family::BOTH {
        assert_eq!(day.seen_by_a_stranger(family), TcpProbe::Open, "{family}");
    }
    let (_, found) = kinds(&day);
    assert_eq!(found, ["configuration and keys", "state"].map(str::to_owned).into());
    assert!(day.server.etc("spa/server.key").exists());

    let mut purge = make("uninstall");
    purge.push("PURGE=yes".to_owned());
    let purged = day.server.shell(&purge.join(" ")).output().unwrap();
    assert!(purged.status.success(), "{purged:?}");
    assert_eq!(kinds(&day).1, BTreeSet::new());
    assert!(!day.server.etc("spa").exists());
}
