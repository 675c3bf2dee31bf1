//! `spa join` and `spa rotate` are killed before each of their steps: each file made, written,
//! synced, named or removed, and each packet sent. What is left works, and the same command
//! completes it.

use std::fs;
use std::process::{Command, Stdio};

use spa_tests::daemon::{Client, binary};
use spa_tests::{Family, need_namespaces, trace};

use super::House;

/// Kills it before its step of this number; how many were begun, and its exit code unless it was
/// killed.
fn killed(client: &Client, arguments: &[String], at: Option<u64>) -> (u64, Option<i32>) {
    let mut command: Command = client.tool("sh");
    command
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .arg(binary("spa-client"))
        .args(arguments);
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    trace::steps(command.spawn().unwrap().id(), at)
}

/// The server's keys of this client; of nobody else.
fn keys(house: &House, name: &str) -> Vec<String> {
    let output = house.server.control(&["client", "list", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let clients =
        json["clients"].as_array().unwrap().iter().filter(|client| client["name"] == name);
    clients.map(|client| client["fingerprint"].as_str().unwrap().to_owned()).collect()
}

/// What `spa check` says is left over.
fn findings(client: &Client) -> String {
    let output = client.command("spa").arg("check").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("hint: ") && !line.starts_with("    "))
        .collect();
    lines.join("\n")
}

#[test]
fn join_is_killed_at_every_step() {
    need_namespaces!();
    let house = House::new();
    let address = house.net.server.address(Family::V4).to_string();
    let mut at = 1;
    loop {
        let name = format!("join-{at}");
        let client = Client::new(&house.net.client);
        let line = client.folder().join("line");
        spa_keys::file::write_new(&line, &house.invite(&name)).unwrap();
        let arguments = ["join", line.to_str().unwrap(), "--name", "server", "--address", &address]
            .map(str::to_owned);
        let (steps, code) = killed(&client, &arguments, Some(at));
        assert!(
            code.is_none() || (steps < at && code == Some(0)),
            "{name}: {code:?} after {steps} steps"
        );
        let made = fs::read(client.key()).ok();
        assert_eq!(killed(&client, &arguments, None).1, Some(0), "{name}: it cannot be run again");
        client.must_open("ssh", Family::V4, &[]);
        assert!(
            made.is_none() || made == fs::read(client.key()).ok(),
            "{name}: another key was made"
        );
        assert_eq!((house.invited(), keys(&house, &name).len()), (0, 1), "{name}");
        if code.is_some() {
            assert!(at > 15, "only {at} steps: are they seen?");
            eprintln!("join: killed at {} steps", at - 1);
            return;
        }
        at += 1;
    }
}

#[test]
fn rotate_is_killed_at_every_step() {
    need_namespaces!();
    let house = House::new();
    let arguments = ["rotate", "server", "-4"].map(str::to_owned);
    let mut at = 1;
    loop {
        let name = format!("rotate-{at}");
        let client = Client::new(&house.net.client);
        house.must_join(&client, &house.invite(&name));
        let before = keys(&house, &name);
        // A second rotation has a key of the first to take away.
        assert_eq!(killed(&client, &arguments, None).1, Some(0), "{name}");
        let first = keys(&house, &name);
        let (steps, code) = killed(&client, &arguments, Some(at));
        assert!(
            code.is_none() || (steps < at && code == Some(0)),
            "{name}: {code:?} after {steps} steps"
        );
        client.must_open("ssh", Family::V4, &[]);
        assert_eq!(killed(&client, &arguments, None).1, Some(0), "{name}: it cannot be run again");
        client.must_open("ssh", Family::V4, &[]);
        let last = keys(&house, &name);
        assert!(
            last.len() == 1 && last != before && last != first,
            "{name}: {before:?} {first:?} {last:?}"
        );
        // What a crash left is named with what to do, and is never the key in use.
        let left = findings(&client);
        let told = ["an interrupted change left it behind", "no host uses this key"];
        assert!(
            left.lines().all(|line| told.iter().any(|told| line.contains(told))),
            "{name}: {left}"
        );
        if code.is_some() {
            assert_eq!(left, "", "{name}");
            assert!(at > 20, "only {at} steps: are they seen?");
            eprintln!("rotate: killed at {} steps", at - 1);
            return;
        }
        at += 1;
    }
}
