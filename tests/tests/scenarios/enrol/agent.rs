//! Keys whose signing half is in an ssh-agent: they join and rotate as those in files do.

use std::process::{Command, Output};

use spa_tests::agent::Agent;
use spa_tests::daemon::Client;
use spa_tests::{Family, need_namespaces};

use super::{House, said};

/// Runs it with this agent.
fn with(agent: &Agent, command: &mut Command) -> Output {
    command.env("SSH_AUTH_SOCK", agent.socket()).output().unwrap()
}

fn must(agent: &Agent, command: &mut Command) -> Output {
    let output = with(agent, command);
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

fn open(client: &Client, more: &[&str]) -> Command {
    let mut command = client.command("spa-client");
    command.args(["open", "ssh@server"]).args(more);
    command
}

fn rotate(client: &Client, more: &[&str]) -> Command {
    let mut command = client.command("spa");
    command.args(["rotate", "server"]).args(more);
    command
}

/// The key that the server has of the only client.
fn known(house: &House) -> String {
    let output = house.server.control(&["client", "list", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    json["clients"][0]["fingerprint"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned()
}

#[test]
fn a_key_of_the_agent_joins_and_rotates_to_others() {
    need_namespaces!();
    let house = House::new();
    let agent = Agent::start(&[]);
    agent.key("ed25519", "one");
    agent.key("ed25519", "two");
    agent.key("rsa", "old");
    let line = house.invite("laptop");
    let client = Client::new(&house.net.client);
    let join = |more: &[&str]| house.joining(&client, &line, more);
    // What cannot be is said before anything is made or sent.
    let absent = join(&["--agent", "one"]).output().unwrap();
    assert!(said(&absent).contains("eval \"$(ssh-agent)\""), "{absent:?}");
    let rsa = with(&agent, &mut join(&["--agent", "old"]));
    assert!(said(&rsa).contains("only Ed25519 can sign knocks"), "{rsa:?}");
    let unknown = with(&agent, &mut join(&["--agent", "three"]));
    assert!(said(&unknown).contains("has no key `three`"), "{unknown:?}");
    assert!([absent, rsa, unknown].iter().all(|refused| refused.status.code() == Some(1)));
    assert!(!client.key().exists() && house.invited() == 1);

    let file = agent.file("one");
    must(&agent, &mut join(&["--agent", file.to_str().unwrap()]));
    house.server.wait_log(&["event=enrolled", "client=laptop"]);
    must(&agent, &mut open(&client, &["-4"]));
    let again = must(&agent, &mut join(&["--agent", "one"]));
    assert!(said(&again).contains("enrolled already"), "{again:?}");
    let other = with(&agent, &mut join(&["--agent", "two"]));
    assert!(said(&other).contains("--key FILE"), "{other:?}");

    let mut keys = vec![known(&house)];
    // Without a word the agent's key signs on, beside a fresh half.
    must(&agent, &mut rotate(&client, &[]));
    must(&agent, &mut open(&client, &["-4"]));
    keys.push(known(&house));
    // To another key of the agent: the first is not needed any more.
    must(&agent, &mut rotate(&client, &["--agent", "two"]));
    agent.tool("ssh-add", &["-q", "-d", "one"]);
    must(&agent, &mut open(&client, &["-6"]));
    keys.push(known(&house));
    // Into a file, which needs no agent, and back.
    must(&agent, &mut rotate(&client, &["--no-agent"]));
    client.must_open("ssh", Family::V4, &[]);
    keys.push(known(&house));
    must(&agent, &mut rotate(&client, &["--agent", "two"]));
    must(&agent, &mut open(&client, &["-4"]));
    keys.push(known(&house));
    agent.tool("ssh-add", &["-q", "-d", "two"]);
    let gone = with(&agent, &mut open(&client, &["-4"]));
    assert_eq!(gone.status.code(), Some(4), "{gone:?}");
    keys.sort();
    keys.dedup();
    assert_eq!((keys.len(), house.clients()), (5, vec!["laptop".to_owned()]));
}

/// Each signature is a touch: one to join, one per knock, two to rotate from one half to the next,
/// none for nothing.
#[test]
fn a_security_key_is_touched_once_for_each_signature() {
    need_namespaces!();
    let mut house = House::new();
    let agent = Agent::with_security_key();
    let id = agent.file("id").to_str().unwrap().to_owned();
    let client = Client::new(&house.net.client);
    let touched = |command: &mut Command| {
        let before = agent.touches();
        let output = with(&agent, command);
        (output, agent.touches() - before)
    };
    let output = house.server.control(&["invite", "token", "--service", "ssh", "--rotate", "any"]);
    let line = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let (joined, touches) = touched(&mut house.joining(&client, &line, &["--agent", &id]));
    assert!(joined.status.success() && touches == 1, "{touches} {joined:?}");

    // The server has an address of each family: one is knocked at.
    let (opened, touches) = touched(&mut open(&client, &["-v"]));
    assert!(opened.status.success() && touches == 1, "{touches} {opened:?}");
    let (first, second) =
        (house.net.server.address(Family::V4), house.net.server.address(Family::V6));
    let says = format!("one touch, one address: knocking at {first}, not at {second}");
    assert!(said(&opened).contains(&says), "{opened:?}");
    let (closed, touches) = touched(client.command("spa-client").args(["close", "ssh@server"]));
    assert!(closed.status.success() && touches == 1, "{touches} {closed:?}");
    let connect = ["connect", "--fdpass", "ssh@server"];
    let (refused, touches) = touched(client.command("spa-client").args(connect));
    assert!(touches <= 1, "{touches} {refused:?}");

    // The signing half stays, and each half of the change is signed by it.
    let (same, touches) = touched(&mut rotate(&client, &["--agent", &id]));
    assert!(same.status.success() && touches == 2, "{touches} {same:?}");
    agent.security_key("spare");
    let spare = agent.file("spare").to_str().unwrap().to_owned();
    let (rotated, touches) = touched(&mut rotate(&client, &["--agent", &spare]));
    assert!(rotated.status.success() && touches == 2, "{touches} {rotated:?}");
    let (opened, touches) = touched(&mut open(&client, &["-6"]));
    assert!(opened.status.success() && touches == 1, "{touches} {opened:?}");

    // Nobody answers: it is not asked for again.
    house.server.kill9();
    let (silent, touches) = touched(&mut open(&client, &["--timeout", "4s"]));
    assert_eq!((silent.status.code(), touches), (Some(3), 1), "{silent:?}");
    let says = format!("One touch, one address: {second} was not tried");
    assert!(said(&silent).contains(&says), "{silent:?}");
    house.server.launch();
    house.server.wait_fence();

    let (rotated, touches) = touched(&mut rotate(&client, &["--no-agent"]));
    assert!(rotated.status.success() && touches == 1, "{touches} {rotated:?}");
    client.must_open("ssh", Family::V4, &[]);
    assert_eq!(house.clients(), ["token"]);
}

#[test]
fn what_an_earlier_run_has_begun_is_finished_first() {
    need_namespaces!();
    let mut house = House::new();
    let agent = Agent::start(&[]);
    agent.key("ed25519", "one");
    agent.key("ed25519", "two");
    let client = Client::new(&house.net.client);
    house.must_join(&client, &house.invite("laptop"));
    house.server.kill9();
    let silent = with(&agent, &mut rotate(&client, &["--agent", "one", "--timeout", "2s"]));
    assert_eq!(silent.status.code(), Some(3), "{silent:?}");
    for more in [&["--agent", "two"][..], &["--no-agent"]] {
        let other = with(&agent, &mut rotate(&client, more));
        assert_eq!(other.status.code(), Some(1), "{other:?}");
        assert!(said(&other).contains("finish that first: spa rotate server"), "{other:?}");
    }
    house.server.launch();
    house.server.wait_fence();
    // Without the agent nothing is sent, and nothing is lost.
    let alone = rotate(&client, &[]).output().unwrap();
    assert_eq!(alone.status.code(), Some(4), "{alone:?}");
    assert!(said(&alone).contains("SSH_AUTH_SOCK"), "{alone:?}");
    client.must_open("ssh", Family::V4, &[]);
    let done = must(&agent, &mut rotate(&client, &[]));
    assert!(said(&done).contains("earlier run"), "{done:?}");
    must(&agent, &mut open(&client, &["-4"]));
}
