//! `rotate` and `undo`: whoever gets at a key for a moment does not keep its client.

use std::process::Output;

use spa_tests::agent::Agent;
use spa_tests::daemon::Client;
use spa_tests::{Family, need_namespaces};

use super::rotate::copied;
use super::{House, said};

/// A house, the agent with a security key, and the client whose signing half is on it.
fn token_house(more: &[&str]) -> (House, Agent, Client) {
    let house = House::new();
    let agent = Agent::with_security_key();
    let invite = ["invite", "token", "--service", "ssh"];
    let output = house.server.control(&[&invite, more].concat());
    assert!(output.status.success(), "{output:?}");
    let line = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let client = Client::new(&house.net.client);
    let id = agent.file("id").to_str().unwrap().to_owned();
    let joined = run(&agent, &mut house.joining(&client, &line, &["--agent", &id]));
    assert!(joined.status.success(), "{joined:?}");
    (house, agent, client)
}

fn run(agent: &Agent, command: &mut std::process::Command) -> Output {
    command.env("SSH_AUTH_SOCK", agent.socket()).output().unwrap()
}

fn rotate(agent: &Agent, client: &Client, more: &[&str]) -> Output {
    run(agent, client.command("spa").args(["rotate", "server"]).args(more))
}

/// A grant of its own, not the port that somebody else has opened for the same address.
fn opens(agent: &Agent, client: &Client) -> bool {
    let words = ["open", "ssh@server", "-4", "--timeout", "3s", "--json"];
    let output = run(agent, client.command("spa-client").args(words));
    let json = serde_json::from_slice(&output.stdout).unwrap_or(serde_json::Value::Null);
    output.status.success() && json["services"][0]["granted"] == true
}

fn listed(house: &House) -> serde_json::Value {
    let output = house.server.control(&["client", "list", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    json["clients"][0].clone()
}

#[test]
fn p5_one_touch_hands_a_client_over_to_nobody() {
    need_namespaces!();
    let (house, agent, client) = token_house(&[]);
    let thief = Client::new(&house.net.client);
    copied(&client, &thief);
    // One touch, for the old key: the new one would need none.
    let before = agent.touches();
    let stolen = rotate(&agent, &thief, &["--no-agent"]);
    assert_eq!((stolen.status.code(), agent.touches() - before), (Some(1), 1), "{stolen:?}");
    assert!(said(&stolen).contains("may not take the place"), "{stolen:?}");
    let words = ["event=denied", "old-kind=security-key", "new-kind=ed25519", "reason=kind"];
    house.server.wait_log(&words);
    // Such keys will never be taken: nothing of them is left.
    assert!(!thief.folder().join("hosts/server.rotating").exists());
    assert!(opens(&agent, &client));
    let row = listed(&house);
    assert_eq!((&row["kind"], &row["rotate"]), (&"security-key".into(), &"refresh".into()));
    // Its own signing key stays, and all else is new.
    let before = agent.touches();
    let refreshed = rotate(&agent, &client, &[]);
    assert!(refreshed.status.success(), "{refreshed:?}");
    assert_eq!(agent.touches() - before, 2, "one for the old pair, one for the new");
    house.server.wait_log(&["event=rekeyed", "old-kind=security-key", "new-kind=security-key"]);
    assert!(opens(&agent, &client));
    let fresh = listed(&house);
    assert_ne!(row["fingerprint"], fresh["fingerprint"]);
    assert_eq!(fresh["undo"]["fingerprint"], row["fingerprint"]);
}

#[test]
fn what_a_thief_has_rotated_is_undone() {
    need_namespaces!();
    let (house, agent, client) = token_house(&["--rotate", "any"]);
    let owners = listed(&house)["fingerprint"].as_str().unwrap().to_owned();
    let thief = Client::new(&house.net.client);
    copied(&client, &thief);
    let stolen = rotate(&agent, &thief, &["--no-agent"]);
    assert!(stolen.status.success(), "{stolen:?}");
    thief.must_open("ssh", Family::V4, &[]);
    // Whoever rotates again does not cover it up.
    let again = rotate(&agent, &thief, &[]);
    assert!(again.status.success(), "{again:?}");
    thief.must_open("ssh", Family::V4, &[]);
    assert!(!opens(&agent, &client), "the owner is out");
    let check = house.server.control(&["check", "--offline"]);
    let says = format!("changed its keys from {owners} (security-key) to");
    let told = String::from_utf8_lossy(&check.stdout);
    assert!(told.contains(&says) && told.contains("client undo token"), "{check:?}");
    let list = house.server.control(&["client", "list"]);
    assert!(said(&list).contains(&says), "{list:?}");

    let undone = house.server.control(&["client", "undo", "token"]);
    assert!(undone.status.success(), "{undone:?}");
    house.server.wait_log(&["event=closed", "client=token", "reason=client-removed"]);
    assert!(String::from_utf8_lossy(&undone.stdout).contains(&owners), "{undone:?}");
    assert!(opens(&agent, &client));
    assert!(!opens(&agent, &thief));
    let twice = house.server.control(&["client", "undo", "token"]);
    assert_eq!(twice.status.code(), Some(1), "{twice:?}");
}
