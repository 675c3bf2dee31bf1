//! The server ends in the middle of a trial: nobody has confirmed, so nothing of it stays.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spa_tests::{need_namespaces, wait_until};

use super::*;

/// The next start takes what ran before the trial, says so, and only the one after that takes the
/// file again.
fn starts_as_before(house: &mut House) {
    let mark = house.scene.server.log().mark();
    house.scene.server.launch();
    house.scene.server.log().wait_since(mark, &["level=error", "event=trial-interrupted"]);
    house.scene.server.log().wait_since(mark, &["event=rolled-back", "verified=yes"]);
    let back = house.status("rolled-back");
    assert_eq!((&back["verified"], &back["why"]), (&true.into(), &"restart".into()));
    assert_eq!(house.kept(), Vec::<String>::new());
    house.as_before();
    house.scene.server.restart();
    house.locked_out();
    assert_eq!(house.status("rolled-back"), Value::Null);
}

/// What stands on the disk during a trial: nobody else can read it.
fn is_private(house: &House) {
    use std::os::unix::fs::PermissionsExt;
    let mut names = house.kept();
    names.sort();
    assert_eq!(names, ["trial", "trial-clients", "trial-config"]);
    let folder = house.scene.server.folder().join("state-broker");
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&folder), 0o700);
    names.iter().for_each(|name| assert_eq!(mode(&folder.join(name)), 0o600, "{name}"));
}

#[test]
fn the_listener_is_killed_during_a_trial() {
    need_namespaces!();
    let mut house = House::new();
    house.write_lock_out();
    house.try_for("1h");
    house.locked_out();
    is_private(&house);
    let listener = house.scene.server.daemon().listener();
    kill(Pid::from_raw(listener.cast_signed()), Signal::SIGKILL).unwrap();
    assert!(
        wait_until(PATIENCE, || !house.scene.server.daemon().is_running()),
        "the broker goes on"
    );
    house.scene.server.wait_log(&["event=rolled-back", "verified=yes", "why=\"the server ends\""]);
    assert_eq!(settled(&nft::ruleset(&house.net.server)), house.before);
    house.sessions_live();
    drop(house.scene.server.take());
    starts_as_before(&mut house);
}

#[test]
fn the_broker_is_killed_during_a_trial() {
    need_namespaces!();
    let mut house = House::new();
    house.write_lock_out();
    house.try_for("1h");
    house.scene.server.kill9();
    house.locked_out();
    starts_as_before(&mut house);
}

#[test]
fn a_stop_is_no_confirmation() {
    need_namespaces!();
    let mut house = House::new();
    house.write_lock_out();
    house.try_for("1h");
    house.locked_out();
    assert!(house.scene.server.stop().success());
    assert_eq!(settled(&nft::ruleset(&house.net.server)), house.before);
    starts_as_before(&mut house);
}

#[test]
fn a_mark_that_cannot_be_used_is_named() {
    need_namespaces!();
    let mut house = House::new();
    house.write_lock_out();
    house.try_for("1h");
    house.scene.server.kill9();
    std::fs::write(house.scene.server.folder().join("state-broker/trial"), "{").unwrap();
    house.scene.server.launch();
    house.scene.server.wait_log(&["level=error", "event=trial-unreadable"]);
    house.locked_out();
}
