//! The time is over, or somebody confirms before.

use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use spa_tests::daemon::binary;
use spa_tests::{need_namespaces, wait_until};

use super::*;

#[test]
fn a_lock_out_is_rolled_back_by_itself() {
    need_namespaces!();
    let house = House::new();
    let server = &house.scene.server;
    house.write_lock_out();
    let began = Instant::now();
    house.try_for("10s");
    house.locked_out();
    assert_ne!(settled(&nft::ruleset(&house.net.server)), house.before);
    assert!(house.status("trial")["left-s"].as_f64().is_some_and(|left| left <= 10.0));
    assert_eq!(house.status("rolled-back"), Value::Null);
    assert_eq!(server.status()["clients"], 0);

    server.wait_log(&["event=rolled-back", "verified=yes"]);
    let lasted = began.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(14)).contains(&lasted), "{lasted:?}");
    house.as_before();
    assert_eq!(
        (house.status("trial"), server.status()["clients"].clone()),
        (Value::Null, 1.into())
    );
    assert_eq!(house.status("rolled-back")["verified"], true);
    assert_eq!(house.kept(), Vec::<String>::new(), "secrets of the trial are left on the disk");
    let text = String::from_utf8(house.run(&["status"]).stdout).unwrap();
    assert!(
        text.contains("warning: the configuration on disk is not the one in force: rolled back "),
        "{text}"
    );

    // The file is as it was tried: mended, it is taken.
    server.configure(&only_web());
    house.run(&["reload", "--force"]);
    assert_eq!(house.status("rolled-back"), Value::Null);
    let log = server.log().lines();
    assert!(
        !log.iter().any(|line| line.contains("verified=no") || line.contains("-refused ")),
        "{log:?}"
    );
}

#[test]
fn what_is_confirmed_stays() {
    need_namespaces!();
    let mut house = House::new();
    // Ssh is hidden, and the client may open it.
    house.scene.server.configure(&config(600));
    let clients = house.scene.server.folder().join("clients.toml");
    let text = std::fs::read_to_string(&clients).unwrap();
    std::fs::write(&clients, text.replace("[\"web\"]", "[\"ssh\", \"web\"]")).unwrap();
    house.try_for("10s");
    house.locked_out();
    both(|family| {
        house.scene.client.must_open("ssh", family, &[]);
        assert!(house.scene.is_open(family, SSH), "{family}");
    });
    let confirmed = house.run(&["confirm", "--same-session"]);
    assert_eq!(confirmed.status.code(), Some(0), "{confirmed:?}");
    assert_eq!((house.status("trial"), house.status("rolled-back")), (Value::Null, Value::Null));
    assert_eq!(house.kept(), Vec::<String>::new());
    let over = Instant::now() + Duration::from_secs(11);
    assert!(wait_until(PATIENCE, || Instant::now() > over));
    assert!(house.run(&["close", "--all"]).status.success());
    house.locked_out();
    house.scene.server.restart();
    house.scene.server.wait_fence();
    house.locked_out();
    both(|family| drop(house.scene.client.must_open("ssh", family, &[])));
    let log = house.scene.server.log().lines();
    assert!(
        !log.iter().any(|line| line.contains("rolled-back") || line.contains("trial-interrupted")),
        "{log:?}"
    );
}

#[test]
fn every_capture_goes_back() {
    need_namespaces!();
    for mode in ["udp", "nflog"] {
        let hopping = only_web()
            .set("capture.mode", &format!("\"{mode}\""))
            .unset("sequence.ports")
            .set("sequence.hop", "\"20000-29999\"")
            .set("sequence.stages", "3");
        let house = House::of(&hopping);
        house.scene.server.configure(&config(600).set("capture.mode", &format!("\"{mode}\"")));
        house.try_for("1m");
        both(|family| assert!(house.scene.is_hidden(family, SSH), "{mode} {family}"));
        let cancelled = house.run(&["try", "--cancel"]);
        assert_eq!(cancelled.status.code(), Some(0), "{mode}: {cancelled:?}");
        house.as_before();
    }
}

/// A table that another program owns can be changed by no one else (`NFT_TABLE_F_OWNER`), and goes
/// with that program.
#[test]
fn a_rollback_that_does_not_succeed_is_tried_again() {
    need_namespaces!();
    let house = House::new();
    let server = &house.scene.server;
    house.write_lock_out();
    house.try_for("10s");
    let mut foreign =
        house.net.server.command("nft").arg("-i").stdin(Stdio::piped()).spawn().unwrap();
    let words = foreign.stdin.as_mut().unwrap();
    writeln!(words, "delete table inet spa; add table inet spa {{ flags owner; }}").unwrap();
    server.wait_log(&["event=firewall-not-restored"]);
    server.wait_log(&["level=warn", "event=rolling-back", "firewall=not-back"]);
    server.wait_log(&["level=error", "event=rolled-back", "verified=no"]);
    assert_eq!(house.status("rolled-back")["verified"], false);
    assert_eq!(house.status("trial")["rolls-back"], true);
    assert_eq!(house.run(&["confirm", "--same-session"]).status.code(), Some(1), "it is too late");
    foreign.kill().unwrap();
    foreign.wait().unwrap();
    server.wait_log(&["event=rolled-back", "verified=yes"]);
    assert_eq!(
        (house.status("rolled-back")["verified"].clone(), house.status("trial")),
        (true.into(), Value::Null)
    );
    house.as_before();
}

#[test]
fn the_session_that_tried_is_cut() {
    need_namespaces!();
    let house = House::new();
    house.write_lock_out();
    // A login shell that goes on after the command, in a process group of its own.
    let mut command = house.net.server.command("sh");
    command.args(["-c", "\"$0\" try --for 10s --config \"$1\"; read forever < \"$2\""]);
    command.arg(binary("spa-server")).arg(house.scene.server.folder().join("server.toml"));
    let pipe = house.scene.server.folder().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut shell = command.arg(&pipe).process_group(0).spawn().unwrap();
    house.scene.server.wait_log(&["event=trial", "left-s="]);
    killpg(Pid::from_raw(shell.id().cast_signed()), Signal::SIGKILL).unwrap();
    assert!(!shell.wait().unwrap().success());
    house.locked_out();
    house.scene.server.wait_log(&["event=rolled-back", "verified=yes"]);
    house.as_before();
}
