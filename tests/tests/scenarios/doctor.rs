//! `spa-client doctor` against the real server.

use serde_json::Value;
use spa_tests::netns::lan;
use spa_tests::scene::{SSH, Scene, both, config};
use spa_tests::{Family, need_namespaces};

/// Runs it with `--json`; the exit code and the findings.
fn doctor(scene: &Scene, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let mut command = scene.client.command("spa-client");
    let output = command.arg("doctor").args(arguments).arg("--json").output().unwrap();
    let told: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(told["version"], 1, "{told}");
    (output.status.code(), told["findings"].as_array().unwrap().clone())
}

fn levels<'a>(findings: &'a [Value], check: &str) -> Vec<&'a str> {
    let of = findings.iter().filter(|finding| finding["check"] == check);
    of.map(|finding| finding["level"].as_str().unwrap()).collect()
}

#[test]
fn a_knock_of_the_doctor_tells_and_opens_nothing() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::new(&net.server, &net.client, &config(60), &["ssh"]);
    scene.server.wait_fence();
    let (code, findings) = doctor(&scene, &["server", "--knock"]);
    assert_eq!(code, Some(0), "{findings:#?}");
    for check in ["route", "udp", "skew", "source"] {
        assert_eq!(levels(&findings, check), ["ok", "ok"], "{check}: {findings:#?}");
    }
    both(|family| assert!(scene.is_hidden(family, SSH), "{family}"));
    assert_eq!(scene.server.status()["knocks"]["granted"], 0);
    // What is open stays so.
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    assert_eq!(doctor(&scene, &["server", "--knock"]).0, Some(0));
    both(|family| assert!(scene.is_open(family, SSH), "{family}"));

    let (code, findings) = doctor(&scene, &["ssh@server", "--knock"]);
    assert_eq!((code, levels(&findings, "knock")), (Some(0), vec!["ok", "ok"]), "{findings:#?}");
    let (code, findings) = doctor(&scene, &["web@server", "--knock"]);
    assert_eq!(
        (code, levels(&findings, "knock")),
        (Some(1), vec!["error", "error"]),
        "{findings:#?}"
    );
    let said = findings[0]["text"].as_str().unwrap();
    assert!(said.contains("`laptop` may not open it"), "{said}");
}

#[test]
fn silence_and_missing_routes_are_told_apart() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::new(&net.server, &net.client, &config(60), &["ssh"]);
    scene.server.wait_fence();
    net.client.ip(&["-6 route del default"]);
    let (code, findings) = doctor(&scene, &["server", "--knock"]);
    assert_eq!(code, Some(0), "one family is enough: {findings:#?}");
    assert_eq!(levels(&findings, "route"), ["ok", "ok"], "{findings:#?}");
    assert_eq!(levels(&findings, "udp"), ["warning", "ok"], "{findings:#?}");

    assert!(scene.server.control(&["client", "remove", "laptop"]).status.success());
    let (code, findings) = doctor(&scene, &["server", "--knock", "-4", "--timeout", "1s"]);
    assert_eq!((code, levels(&findings, "udp")), (Some(1), vec!["error"]), "{findings:#?}");
    let said = findings[0]["text"].as_str().unwrap();
    assert!(said.contains("is not enrolled") && said.contains("UDP is blocked"), "{said}");

    net.client.ip(&["-4 route del default"]);
    let (code, findings) = doctor(&scene, &["server"]);
    assert_eq!(
        (code, levels(&findings, "route")),
        (Some(1), vec!["error", "error"]),
        "{findings:#?}"
    );
    let address = net.server.address(Family::V4);
    assert_eq!(findings[0]["mend"], format!("ip route get {address}"));
}

/// One service over one family, then all.
#[test]
fn close_ends_what_open_began() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::new(&net.server, &net.client, &config(600), &["ssh", "web"]);
    scene.server.wait_fence();
    both(|family| {
        scene.client.must_open("ssh", family, &[]);
        scene.client.must_open("web", family, &[]);
    });
    let mut close = scene.client.command("spa-client");
    let closed = close.args(["close", "ssh@server", "-4"]).output().unwrap();
    assert!(closed.status.success(), "{closed:?}");
    // This family, this service, and nothing else.
    assert!(scene.is_hidden(Family::V4, SSH) && scene.is_open(Family::V6, SSH));
    assert!(scene.is_open(Family::V4, 80) && scene.is_open(Family::V6, 80));
    // Twice is no error: it is closed.
    let mut again = scene.client.command("spa-client");
    assert!(again.args(["close", "ssh,web@server"]).output().unwrap().status.success());
    both(|family| assert!(scene.is_hidden(family, SSH) && scene.is_hidden(family, 80), "{family}"));
    assert_eq!(scene.server.status()["grants"], serde_json::json!([]));
}
