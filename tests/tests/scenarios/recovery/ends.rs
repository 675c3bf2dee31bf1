//! Ends and beginnings of the daemon of every kind.

use super::*;

#[test]
fn a_restart_keeps_the_grants() {
    need_namespaces!();
    const TTL: u64 = 20;
    let net = lan();
    let host = &net.server;
    let mut scene = Scene::ready(host, &net.client, &config(20), &["ssh"]);
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let mut held = Family::BOTH.map(|family| hold(&net.client, host.at(family, SSH), PATIENCE));
    let whole = table(host, "spa").unwrap();
    let grants = |scene: &Scene| {
        let status = scene.server.status();
        let grants = status["grants"].as_array().unwrap().iter();
        let mut grants: Vec<_> = grants
            .map(|g| format!("{} {} {} {}", g["grant"], g["client"], g["service"], g["source"]))
            .collect();
        grants.sort();
        grants
    };
    let known = grants(&scene);
    assert_eq!(known.len(), 2, "{known:?}");
    for crash in [false, true] {
        both(|family| {
            run_down(host, family, TTL - if crash { 4 } else { 2 });
        });
        let before = Family::BOTH.map(|family| left(host, family).unwrap());
        if crash {
            scene.server.kill9();
            scene.server.launch();
        } else {
            scene.server.restart();
        }
        for (family, before) in Family::BOTH.into_iter().zip(before) {
            let after = left(host, family).unwrap();
            assert!(
                after <= before && after + 3 >= before,
                "{family}, crash {crash}: {before} s, then {after} s"
            );
        }
        assert_eq!(table(host, "spa").unwrap(), whole, "crash {crash}");
        assert_eq!(grants(&scene), known, "crash {crash}");
        assert!(
            held.iter_mut().all(|held| held.is_alive(PATIENCE)),
            "crash {crash}: connections were cut"
        );
        both(|family| assert!(scene.is_open(family, SSH), "{family}, crash {crash}"));
        hidden(&scene, &net.stranger);
    }
    // The grants are its own again: it renews them, and puts them back.
    let mark = scene.server.log().mark();
    nft::load(host, "flush ruleset");
    scene.server.log().wait_since(mark, &["event=firewall-restored", "grants=2"]);
    assert_eq!(grants(&scene), known);
    both(|family| {
        // It may have to wait for the fence after the crash, in which the grant runs down.
        scene.client.must_open("ssh", family, &["--ttl", "40s"]);
        assert!(grant(host, family).unwrap().timeout >= Some(TTL), "{family}");
        let source = format!("source={} ", net.client.address(family));
        scene.server.log().wait_since(mark, &[" service=ssh ", &source, "ttl=40s"]);
    });
}

#[test]
fn a_killed_server_closes_on_time() {
    need_namespaces!();
    const TTL: u64 = 3;
    let net = lan();
    let host = &net.server;
    let mut scene = Scene::ready(host, &net.client, &config(3), &["ssh"]);
    let begun = Instant::now();
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    scene.server.kill9();
    let mut held = Family::BOTH.map(|family| hold(&net.client, host.at(family, SSH), PATIENCE));
    hidden(&scene, &net.stranger);
    let closed = || Family::BOTH.iter().all(|family| grant(host, *family).is_none());
    assert!(wait_until(PATIENCE, closed), "never closes");
    let lasted = begun.elapsed();
    assert!(
        lasted >= Duration::from_secs(TTL) && lasted < Duration::from_secs(TTL + 2),
        "{lasted:?}"
    );
    hidden(&scene, &net.client);
    hidden(&scene, &net.stranger);
    assert!(held.iter_mut().all(|held| held.is_alive(PATIENCE)), "connections were cut");
    both(|family| {
        let opened = scene.client.open("ssh", family, &["--timeout", "1s"]);
        assert_eq!(opened.status.code(), Some(3), "{family}: {opened:?}");
    });
    hidden(&scene, &net.client);
    scene.server.launch();
    both(|family| {
        scene.client.must_open("ssh", family, &[]);
        assert!(scene.is_open(family, SSH), "{family}");
    });
}

#[test]
fn a_clean_stop() {
    need_namespaces!();
    let net = lan();
    let host = &net.server;
    let mut scene = Scene::ready(host, &net.client, &config(30), &["ssh"]);
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let whole = table(host, "spa").unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let socket = scene.server.folder().join("control.sock");
        assert!(socket.exists());
        let mark = scene.server.log().mark();
        scene.server.signal(signal);
        scene.server.log().wait_since(mark, &["event=stopped", "grants=2"]);
        assert_eq!(scene.server.stop().code(), Some(0), "{signal}");
        assert!(!socket.exists(), "{signal}");
        let status = scene.server.control(&["status"]);
        assert_eq!(status.status.code(), Some(3), "{signal}: {status:?}");
        // What is hidden stays hidden, what is open stays open for its time.
        assert_eq!(table(host, "spa").unwrap(), whole, "{signal}");
        hidden(&scene, &net.stranger);
        both(|family| assert!(scene.is_open(family, SSH), "{family}, {signal}"));
        scene.server.launch();
    }
}

#[test]
fn a_second_daemon_does_not_begin() {
    need_namespaces!();
    let net = lan();
    let host = &net.server;
    let first = config(60);
    let scene = Scene::ready(host, &net.client, &first, &["ssh"]);
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let whole = table(host, "spa").unwrap();
    let mark = scene.server.log().mark();
    let other_control = first
        .clone()
        .set("server.control", "\"{dir}/other.sock\"")
        .service("more", "ports = [\"tcp/99\"]");
    let other_state = other_control.clone().set("server.state", "\"{dir}/other\"");
    let seconds: [(&Config, &str); 3] = [
        (&first, "another spa-server answers"),
        (&other_control, "another spa-server"),
        // Nothing in common but the firewall.
        (&other_state, "another spa-server"),
    ];
    for (second, words) in seconds {
        scene.server.configure(second);
        let mut command = host.command("timeout");
        command.arg("10").arg(binary("spa-server")).args(["run", "--config"]);
        let output = command.arg(scene.server.folder().join("server.toml")).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output).contains(words), "{output:?}");
        scene.server.configure(&first);
        assert_eq!(table(host, "spa").unwrap(), whole, "{output:?}");
        assert_eq!(scene.server.status()["grants"].as_array().map(Vec::len), Some(2), "{output:?}");
        both(|family| {
            assert!(scene.is_open(family, SSH), "{family}");
            scene.client.must_open("ssh", family, &[]);
        });
        hidden(&scene, &net.stranger);
    }
    let lines = scene.server.log().lines().split_off(mark);
    assert!(
        !lines.iter().any(|line| line.contains("firewall-restored")),
        "the second one has changed the table: {lines:?}"
    );
}
