//! Interfaces of the configuration by which no stranger comes in.

use std::process::Output;

use spa_tests::config::Config;
use spa_tests::netns::lan;
use spa_tests::scene::{Scene, config};
use spa_tests::{need_namespaces, wait_until};

use super::*;

fn named(list: &str, names: &str) -> Config {
    config(60).set(&format!("{list}.interfaces"), names)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `status` says about the protection, and the figure beside it.
fn said(server: &Server) -> (String, bool, String) {
    let text = stdout(&server.control(&["status"]));
    let lines: Vec<&str> =
        text.lines().filter(|l| l.contains("protection") || l.contains("interfaces")).collect();
    let metrics = stdout(&server.control(&["metrics"]));
    let figure = metrics.lines().find_map(|l| l.strip_prefix("spa_useless_interfaces "));
    let in_force = server.status()["protection"]["in-force"].as_bool().unwrap();
    (lines.join("\n"), in_force, figure.unwrap_or("none").to_owned())
}

fn checked(server: &Server) -> (Option<i32>, String) {
    let output = server.control(&["check", "--live"]);
    (output.status.code(), stdout(&output))
}

#[test]
fn f6_a_name_that_does_not_exist_hides_nothing_and_all_say_so_until_it_is_there() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &named("firewall", "[\"eht0\"]"), &["ssh"]);
    let words = ["event=not-protected", "interface=eht0", "list=firewall"];
    scene.server.wait_log(&words);
    for family in Family::BOTH {
        assert_eq!(scene.seen(&net.stranger, family, SSH), TcpProbe::Open, "{family}");
    }
    let (code, text) = checked(&scene.server);
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("`eht0` does not exist: nothing is hidden on it"), "{text}");
    assert!(!text.contains("hidden by service"), "{text}");
    let told = || said(&scene.server);
    assert!(wait_until(PATIENCE, || told().2 == "1"), "{:?}", told());
    let (lines, in_force, _) = told();
    assert!(!in_force && !lines.contains("guard") && lines.contains("`eht0`"), "{lines}");

    // It comes, first without an address.
    net.server.ip(&[
        "link add eht0 type bridge",
        "link set eht0 addrgenmode none",
        "link set eht0 up",
    ]);
    scene.server.wait_log(&[&words[..], &["has no address"]].concat());
    assert!(!told().1);
    net.server.ip(&[
        "address add 198.18.0.1/24 dev eht0",
        "address add 2001:db8:7::1/64 dev eht0 nodad",
        "route replace default dev eht0",
        "-6 route replace default dev eht0",
    ]);
    scene.server.wait_log(&["event=protected", "interface=eht0", "list=firewall"]);
    assert!(wait_until(PATIENCE, || told().2 == "0"), "{:?}", told());
    scene.server.wait_log(&["event=protected", "service=web", "family=ipv6"]);
    let (lines, in_force, _) = told();
    assert!(in_force && lines == "protection: guard, hidden ports are silent", "{lines}");
    let (code, text) = checked(&scene.server);
    assert!(code == Some(0) && text.contains("hidden by service"), "{text}");

    // And goes.
    let mark = scene.server.log().mark();
    net.server.ip(&["link delete eht0"]);
    scene.server.log().wait_since(mark, &words);
    assert!(wait_until(PATIENCE, || told().2 == "1"), "{:?}", told());
}

#[test]
fn h1_loopback_hides_nothing_and_one_of_two_names_is_a_warning() {
    need_namespaces!();
    let net = lan();
    let mut scene =
        Scene::ready(&net.server, &net.client, &named("firewall", "[\"lo\"]"), &["ssh"]);
    scene.server.wait_log(&["event=not-protected", "interface=lo"]);
    let (code, text) = checked(&scene.server);
    assert!(code == Some(78) && text.contains("`lo` is loopback"), "{text}");
    assert!(wait_until(PATIENCE, || !said(&scene.server).1), "{:?}", said(&scene.server));

    // By a reload, too.
    scene.server.configure(&named("firewall", "[\"eth0\", \"wlan7\"]"));
    let reloaded = scene.server.control(&["reload"]);
    assert!(reloaded.status.success(), "{reloaded:?}");
    scene.server.wait_log(&["event=not-protected", "interface=wlan7"]);
    scene.server.wait_log(&["event=protected", "interface=lo"]);
    let (code, text) = checked(&scene.server);
    assert!(code == Some(0) && text.contains("`wlan7` does not exist"), "{text}");
    let told = || said(&scene.server);
    assert!(wait_until(PATIENCE, || told().2 == "1" && told().1), "{:?}", told());
    assert!(told().0.contains("guard") && told().0.contains("`wlan7`"), "{:?}", told());
    scene.server.daemon();
}

#[test]
fn h1_a_capture_that_hears_nowhere_is_named() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &named("capture", "[\"eht0\"]"), &["ssh"]);
    scene.server.wait_log(&["event=not-protected", "interface=eht0", "list=capture"]);
    let (code, text) = checked(&scene.server);
    assert!(code == Some(78) && text.contains("no knock is received through it"), "{text}");
    let told = || said(&scene.server);
    assert!(wait_until(PATIENCE, || told().2 == "1"), "{:?}", told());
    assert!(
        told().0.contains("guard") && told().0.contains("no knock is received"),
        "{:?}",
        told()
    );
}

/// Names that people write, and by which no rule matches.
#[test]
fn h1_other_names_of_an_interface_are_told_with_the_right_one() {
    need_namespaces!();
    let net = lan();
    net.server.ip(&["link property add dev eth0 altname enp0s3long"]);
    let scene =
        Scene::ready(&net.server, &net.client, &named("firewall", "[\"enp0s3long\"]"), &["ssh"]);
    let words = ["event=not-protected", "interface=enp0s3long", "is another name of eth0"];
    scene.server.wait_log(&words);
    for (name, words) in [
        ("enp0s3long", "`enp0s3long` is another name of eth0, which rules do not know: write"),
        ("eth+", "`eth+` does not exist, and no pattern is taken"),
        ("eth0:0", "`eth0:0` is a label of an address on eth0; packets come in by eth0"),
        ("eth*", "`eth*` is a pattern; name each interface"),
    ] {
        scene.server.configure(&named("firewall", &format!("[\"{name}\"]")));
        let (code, text) = checked(&scene.server);
        assert!(code == Some(78) && text.contains(words), "{name}: {code:?}: {text}");
    }
}
