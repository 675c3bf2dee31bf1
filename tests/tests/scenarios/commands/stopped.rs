//! What a client says when it is not answered, by what can be seen from where it stands.

use std::process::{Output, Stdio};

use spa_tests::netns::lan;
use spa_tests::scene::{SSH, Scene, both, config};
use spa_tests::{Family, need_namespaces, nft};

/// Runs `spa-client ARGUMENTS` on the client's host, with standard input at its end.
fn run(scene: &Scene, arguments: &[&str]) -> Output {
    scene.client.command("spa-client").args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// C1. The emergency exit, a stopped server and no table, is no lock-out.
#[test]
fn c1_a_stopped_server_that_hides_nothing_is_named_and_passed() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::ready(&net.server, &net.client, &config(60), &["ssh"]);
    assert!(scene.server.stop().success());
    both(|family| {
        let opened = scene.client.open("ssh", family, &["--timeout", "2s"]);
        assert_eq!(opened.status.code(), Some(3), "the table hides: {opened:?}");
    });
    assert!(scene.server.control(&["firewall", "remove"]).status.success());
    both(|family| {
        let opened = scene.client.open("ssh", family, &[]);
        let service = &opened.json["services"][0];
        assert_eq!(opened.status.code(), Some(0), "{opened:?}");
        assert_eq!(
            (&service["granted"], &service["reason"]),
            (&false.into(), &"not-hidden".into())
        );
        assert_eq!(service["families"][0]["reachable"], true, "{opened:?}");
        assert!(opened.stderr.contains("spa-server is probably stopped"), "{}", opened.stderr);
        let option = family.switch();
        let output = run(&scene, &["connect", option, "ssh@server"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.contains("nothing hides it"), "{text}");
    });
}

/// C4. What the network reports comes before what is merely likely.
#[test]
fn c4_reported_errors_are_the_first_cause() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::ready(&net.server, &net.client, &config(60), &["ssh"]);
    assert!(scene.server.stop().success());
    nft::load(
        &net.server,
        "flush ruleset
        table inet wall { chain input { type filter hook input priority 0;
            tcp dport 22 drop; ip saddr 198.51.100.10 udp dport 40000-40010 drop; }; }",
    );
    let silent = scene.client.open("ssh", Family::V4, &["--timeout", "2s"]);
    assert!(!silent.stderr.contains("(ICMP)"), "{}", silent.stderr);
    let refused = scene.client.open("ssh", Family::V6, &["--timeout", "2s"]);
    let first = refused.stderr.lines().find(|line| line.trim_start().starts_with("1.")).unwrap();
    assert!(first.contains("refuses UDP ports 40001, 40002, 40003 (ICMP)"), "{}", refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "port {SSH} is still hidden by the wall");
}
