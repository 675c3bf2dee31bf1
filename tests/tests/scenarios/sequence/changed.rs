//! Another sequence: who is locked out is named, and `previous-ports` are an overlap.

use std::process::Output;

use spa_tests::config::Config;
use spa_tests::need_namespaces;
use spa_tests::netns::lan;
use spa_tests::scene::{Scene, both, config};

const OLD: &str = "[40001, 40002, 40003]";

fn changed() -> Config {
    config(60).set("sequence.ports", "[50001, 50002, 50003]")
}

fn said(output: &Output) -> String {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    text.concat()
}

#[test]
fn who_knocks_at_other_ports_is_named_by_every_command() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(60), &["ssh"]);
    let say = |arguments: &[&str]| said(&scene.server.control(arguments));
    assert!(!say(&["check", "--offline"]).contains("locked out"));
    assert!(!say(&["status"]).contains("locked out"));
    scene.server.configure(&changed());
    let named = |arguments: &[&str]| {
        let text = say(arguments);
        for part in ["locked out is laptop", &format!("previous-ports = {OLD}"), "client line"] {
            assert!(text.contains(part), "{arguments:?} does not say {part:?}:\n{text}");
        }
    };
    named(&["check", "--offline"]);
    named(&["try", "--for", "1h"]);
    assert!(scene.server.control(&["confirm"]).status.success());
    named(&["reload"]);
    named(&["status"]);
    scene.server.wait_log(&["event=locked-out", "clients=1"]);
}

#[test]
fn previous_ports_let_in_who_knows_them_until_each_has_a_new_line() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(60), &["ssh"]);
    let reload = |config: &Config| {
        scene.server.configure(config);
        let output = scene.server.control(&["reload"]);
        assert!(output.status.success(), "{output:?}");
    };
    reload(&changed().set("sequence.previous-ports", OLD));
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let status = said(&scene.server.control(&["status"]));
    assert!(status.contains("laptop still knocks at previous-ports"), "{status}");

    let line = scene.server.control(&["client", "line", "laptop"]);
    assert!(line.status.success(), "{line:?}");
    let line = String::from_utf8(line.stdout).unwrap();
    let addresses = ["192.0.2.1", "2001:db8:1::1"].map(|address| ["--address", address]);
    let mut add = scene.client.command("spa");
    add.args(["host", "add", line.trim(), "--name", "server", "--replace"]);
    assert!(add.args(addresses.as_flattened()).output().unwrap().status.success());
    let status = said(&scene.server.control(&["status"]));
    assert!(!status.contains("previous-ports"), "{status}");
    reload(&changed());
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
}

#[test]
fn a_client_of_which_nothing_is_known_is_called_unknown() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::new(&net.server, &net.client, &config(60), &["ssh"]);
    let file = scene.server.folder().join("clients.toml");
    let stanza = std::fs::read_to_string(&file).unwrap();
    let old: String = stanza
        .lines()
        .filter(|l| !l.starts_with("sequence"))
        .fold(String::new(), |text, line| text + line + "\n");
    assert_ne!(stanza, old, "it is written down:\n{stanza}");
    std::fs::write(&file, old).unwrap();
    scene.server.configure(&changed());
    let text = said(&scene.server.control(&["check", "--offline"]));
    assert!(text.contains("unknown whether these know the knock ports: laptop"), "{text}");
}
