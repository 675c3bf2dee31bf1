//! What the commands say, and what they refuse.

use nix::sys::signal::Signal;
use spa_tests::need_namespaces;
use spa_tests::session::Session;

use super::*;

#[test]
fn what_the_commands_say() {
    need_namespaces!();
    let house = House::new();
    let server = &house.scene.server;
    let mut session = Session::new();
    session.run(server, "confirm");
    session.run(server, "try --cancel --json");
    session.run(server, "try --for 9s");
    session.run(server, "try --for 61m");
    house.write_lock_out();
    session.run(server, "try --for 5m");
    session.run(server, "try");
    session.run(server, "reload --json");
    session.run(server, "status");
    session.run(server, "try --cancel");
    session.run(server, "status");
    session.run(server, "confirm");
    house.as_before();
    session.run(server, "try --for 2m --json");
    session.run(server, "confirm --same-session --json");
    session.run(server, "confirm --same-session --json");
    session.end("control-trial");
}

#[test]
fn the_session_that_tried_cannot_confirm() {
    need_namespaces!();
    let house = House::new();
    let run = |session: Option<&str>, words: &[&str]| {
        let mut command = house.net.server.command(spa_tests::daemon::binary("spa-server"));
        command.args(words).arg("--config").arg(house.scene.server.folder().join("server.toml"));
        match session {
            Some(session) => command.env("SSH_CONNECTION", session),
            None => command.env_remove("SSH_CONNECTION"),
        };
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (first, second) in [
        ("198.51.100.10 50000 192.0.2.1 22", "198.51.100.10 50001 192.0.2.1 22"),
        ("2001:db8:c::10 50000 2001:db8:1::1 22", "2001:db8:c::10 50001 2001:db8:1::1 22"),
    ] {
        assert_eq!(run(Some(first), &["try", "--for", "1h"]).0, Some(0));
        assert_eq!(
            run(Some(second), &["try"]).0,
            Some(1),
            "one runs already, and stays the first one's"
        );
        let (code, said) = run(Some(first), &["confirm"]);
        assert!(code == Some(1) && said.contains("ssh -S none"), "{said}");
        assert!(house.status("trial").is_object());
        assert_eq!(run(Some(second), &["confirm"]), (Some(0), String::new()));
        for (session, words) in [(None, "confirm"), (Some(first), "confirm --same-session")] {
            assert_eq!(run(Some(first), &["try", "--for", "1h"]).0, Some(0));
            let words: Vec<&str> = words.split(' ').collect();
            assert_eq!(run(session, &words), (Some(0), String::new()));
        }
        assert_eq!(
            run(Some(first), &["confirm"]),
            (Some(1), "spa-server: no trial is running\n".to_owned())
        );
    }
}

/// The broker has bounds of its own: the program's are no wall for the listener.
#[test]
fn the_broker_does_not_take_every_time() {
    need_namespaces!();
    let house = House::new();
    let socket = house.scene.server.folder().join("control.sock");
    for seconds in [0, 9, 3601, u64::MAX] {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        writeln!(stream, r#"{{"version":1,"command":"try","time-s":{seconds}}}"#).unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stream), &mut line).unwrap();
        assert!(line.contains("a trial lasts 10 s to 3600 s"), "{seconds}: {line}");
    }
    assert_eq!(house.status("trial"), Value::Null);
}

#[test]
fn nothing_begins_that_is_not_whole() {
    need_namespaces!();
    let house = House::new();
    let server = &house.scene.server;
    let clients = server.folder().join("clients.toml");
    let good = std::fs::read_to_string(&clients).unwrap();
    let refused = |code: i32, words: &str| {
        let output = house.run(&["try", "--for", "10s"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{words}: {said}");
        assert_eq!(settled(&nft::ruleset(&house.net.server)), house.before);
        assert_eq!(
            (house.status("trial"), house.status("rolled-back")),
            (Value::Null, Value::Null)
        );
        assert_eq!(house.kept(), Vec::<String>::new());
    };
    server.configure(&only_web().set("server.window-past", "\"half an hour\""));
    refused(78, "is not a time");
    server.configure(&only_web());
    std::fs::write(&clients, "[[client]]\n").unwrap();
    refused(78, "nothing was changed");
    std::fs::write(&clients, &good).unwrap();
    server.configure(&only_web().set("server.state", "\"{dir}/elsewhere\""));
    refused(1, "[server] state has changed");
    server.configure(&only_web());

    // What would change it in the middle is refused, and it goes on.
    house.try_for("1h");
    let mark = server.log().mark();
    server.signal(Signal::SIGHUP);
    server.log().wait_since(mark, &["event=reload-refused", "a trial is running"]);
    let removed = house.run(&["client", "remove", "laptop"]);
    assert_eq!(removed.status.code(), Some(0), "{removed:?}");
    let said = String::from_utf8_lossy(&removed.stderr).into_owned();
    assert!(said.contains("is shut out now and after its rollback"), "{said}");
    assert_eq!(server.status()["clients"], 1);
    assert_eq!(house.run(&["try", "--cancel"]).status.code(), Some(0));
    let opened = house.scene.client.open("web", Family::V4, &["--timeout", "3s"]);
    assert!(!opened.status.success(), "{opened:?}");
    house.sessions_live();
    assert_eq!(house.run(&["reload", "--force"]).status.code(), Some(0));
    assert_eq!(server.status()["clients"], 0);

    // What no reload can bring is not on trial either, and the answer says so.
    server.configure(
        &only_web()
            .set("metrics.textfile", "\"{dir}/figures/spa.prom\"")
            .set("log.level", "\"debug\""),
    );
    let output = house.run(&["try"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("; [log], [metrics] textfile take effect at the next restart\n"),
        "{said}"
    );
}
