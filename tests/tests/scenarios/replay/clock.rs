//! The server's clock is set.

use super::*;

#[test]
fn with_the_clock_set_back_under_the_server() {
    need_namespaces!();
    let mut tape = Tape::new();
    tape.closed();
    tape.scene.server.set_clock_offset(-HOUR);
    tape.replay_in_vain("at once");
    tape.tags_known(false);
    tape.replay_in_vain("an hour ago");

    // A client whose clock agrees is let in, and what it sent is as worthless afterwards.
    let folder = TempDir::new();
    let clock = Clock::new(folder.path());
    clock.set_offset(-HOUR);
    let wire = Sniffer::start(&tape.net.server, Host::DEVICE);
    both(|family| {
        let mut command: Command = tape.scene.client.command("spa-client");
        command.args(["open", "ssh@server", family.switch()]);
        clock.apply(&mut command);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{family}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(tape.scene.is_open(family, SSH), "{family}");
    });
    wire.catch_up(&tape.net.client, Host::DEVICE);
    tape.keep(&wire);
    tape.closed();
    tape.replay_in_vain("with the new knocks");

    tape.scene.server.set_clock_offset(0);
    tape.tags_known(true);
    tape.replay_in_vain("when the clock is right again");
    tape.the_client_opens();
}

/// P8: server and client were an hour ahead, the server was killed, and both were corrected. The
/// server says so everywhere, and an administrator ends it.
#[test]
fn p8_with_a_clock_that_was_ahead_and_is_accepted() {
    need_namespaces!();
    let mut tape = Tape::new();
    tape.closed();
    tape.scene.server.set_clock_offset(HOUR);
    tape.tags_known(false);
    tape.scene.server.wait_fence();
    let folder = TempDir::new();
    let clock = Clock::new(folder.path());
    clock.set_offset(HOUR);
    let wire = Sniffer::start(&tape.net.server, Host::DEVICE);
    both(|family| {
        let mut command: Command = tape.scene.client.command("spa-client");
        command.args(["open", "ssh@server", family.switch()]);
        clock.apply(&mut command);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{family}: {}", String::from_utf8_lossy(&output.stderr));
    });
    wire.catch_up(&tape.net.client, Host::DEVICE);
    tape.keep(&wire);
    tape.closed();
    tape.scene.server.kill9();
    tape.scene.server.set_clock_offset(0);
    let mark = tape.scene.server.log().mark();
    tape.scene.server.launch();
    tape.scene.server.log().wait_since(mark, &["event=clock-behind", "accept-clock"]);
    let server = |words: &[&str]| {
        let config = tape.scene.server.folder().join("server.toml");
        let mut command = tape.net.server.command(binary("spa-server"));
        let output = command.args(words).arg("--config").arg(config).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let said = server(&["status"]);
    assert!(said.contains("spa-server accept-clock"), "{said}");
    let behind = tape.scene.server.status()["clock-behind-s"].as_u64().unwrap();
    assert!((3400..3650).contains(&behind), "{behind}");
    let said = server(&["explain", "laptop", "ssh"]);
    assert!(said.contains("accept-clock") && said.contains("the rule `fence`"), "{said}");
    let opened = tape.scene.client.open("ssh", Family::V4, &["--timeout", "3s"]);
    assert_eq!(opened.json["services"][0]["reason"], "fence", "{opened:?}");

    let said = server(&["accept-clock"]);
    assert!(said.starts_with("accepted: knocks are taken again in "), "{said}");
    tape.scene.server.wait_log(&["event=clock-accepted", "by=0"]);
    assert!(server(&["accept-clock"]).contains("is not behind"));
    tape.replay_in_vain("before the fence");
    tape.scene.server.wait_fence();
    tape.replay_in_vain("behind the fence");
    tape.the_client_opens();
    tape.scene.server.kill9();
    tape.scene.server.launch();
    assert!(tape.scene.server.status()["clock-behind-s"].is_null());
    tape.replay_in_vain("after a crash");
    tape.the_client_opens();
}

/// A server that starts under another clock trusts no snapshot, and what was recorded before stays
/// behind the fence when the clock comes back.
#[test]
fn with_the_clock_ahead_and_back_again() {
    need_namespaces!();
    let mut tape = Tape::new();
    tape.closed();
    assert!(tape.scene.server.stop().success());
    tape.scene.server.set_clock_offset(HOUR);
    tape.scene.server.launch();
    // Some rounds of housekeeping: the sessions are an hour old and go.
    assert!(wait_until(PATIENCE, || tape.scene.server.status()["up-s"].as_u64() >= Some(3)));
    tape.replay_in_vain("an hour later");
    tape.scene.server.set_clock_offset(0);
    tape.tags_known(true);
    tape.replay_in_vain("when the clock is set back");
    tape.scene.server.wait_log(&["event=stale", "reason=fence"]);
    tape.the_client_opens();
    tape.scene.server.kill9();
    tape.scene.server.launch();
    tape.replay_in_vain("after a crash");
}

#[test]
fn with_the_clock_set_back_across_restarts() {
    need_namespaces!();
    for (crash, again) in [(false, true), (true, true), (true, false)] {
        let when = |when: &str| format!("crash {crash}, again {again}: {when}");
        let mut tape = Tape::new();
        tape.closed();
        if crash {
            tape.scene.server.kill9();
        } else {
            assert!(tape.scene.server.stop().success());
        }
        tape.scene.server.set_clock_offset(-HOUR);
        tape.scene.server.launch();
        tape.replay_in_vain(&when("an hour ago"));
        // The clock is set right between two runs, or under this one.
        tape.scene.server.set_clock_offset(0);
        if again {
            tape.scene.server.restart();
        } else {
            tape.tags_known(true);
        }
        tape.replay_in_vain(&when("now"));
        tape.the_client_opens();
        tape.replay_in_vain(&when("behind the fence"));
    }
}

/// A machine without a clock of its own and with a volatile disk: it starts in the past, knows
/// nothing, and learns the time afterwards.
#[test]
fn without_the_store_and_with_a_clock_that_is_set_later() {
    need_namespaces!();
    let mut tape = Tape::new();
    tape.closed();
    assert!(tape.scene.server.stop().success());
    fs::remove_dir_all(tape.scene.server.folder().join("state")).unwrap();
    tape.scene.server.set_clock_offset(-HOUR);
    tape.scene.server.launch();
    tape.replay_in_vain("an hour ago");
    tape.scene.server.wait_fence();
    tape.scene.server.set_clock_offset(0);
    tape.tags_known(true);
    tape.replay_in_vain("when the clock was set");
    tape.scene.server.wait_fence();
    tape.the_client_opens();
    tape.replay_in_vain("after a new knock");
}

/// The same, and it stops before anybody has knocked at the right time.
#[test]
fn without_the_store_and_stopped_when_the_clock_was_set() {
    need_namespaces!();
    for crash in [false, true] {
        let mut tape = Tape::new();
        tape.closed();
        assert!(tape.scene.server.stop().success());
        fs::remove_dir_all(tape.scene.server.folder().join("state")).unwrap();
        tape.scene.server.set_clock_offset(-HOUR);
        tape.scene.server.launch();
        tape.scene.server.set_clock_offset(0);
        tape.tags_known(true);
        if crash {
            tape.scene.server.kill9();
        } else {
            assert!(tape.scene.server.stop().success());
        }
        tape.scene.server.launch();
        tape.replay_in_vain(&format!("crash {crash}"));
        tape.scene.server.wait_fence();
        tape.the_client_opens();
        tape.replay_in_vain(&format!("crash {crash}: behind the fence"));
    }
}
