//! REKEY by age: a psk that stood in a line is replaced at first contact, by itself where nobody
//! has to do anything for it.

use std::process::{Command, Output, Stdio};

use spa_tests::agent::Agent;
use spa_tests::daemon::Client;
use spa_tests::scene::{PATIENCE, config};
use spa_tests::{Family, need_namespaces, wait_until};

use super::{House, said};

fn house() -> House {
    House::with(&config(60).set("server.pair-age", "\"90d\""))
}

/// Key changes of this client in the server's log.
fn changes(house: &House, name: &str) -> usize {
    let client = format!("client={name}");
    let is_one = |line: &&String| line.contains("event=rekeyed") && line.contains(&client);
    house.server.log().lines().iter().filter(is_one).count()
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

#[test]
fn a_psk_that_stood_in_a_line_is_replaced_at_first_contact() {
    need_namespaces!();
    let house = house();
    let words: [&[&str]; 3] = [
        &["open", "ssh@server", "-4"],
        &["run", "ssh@server", "--", "true"],
        &["connect", "ssh@server", "-6"],
    ];
    for (at, words) in words.into_iter().enumerate() {
        let name = format!("listed-{at}");
        let client = Client::enrolled(&house.net.client, &house.server, &name, &["ssh"]);
        let first = run(client.command("spa-client").args(words).stdin(Stdio::null()));
        assert!(said(&first).contains("has new keys now"), "{first:?}");
        house.server.wait_log(&["event=rekeyed", &format!("client={name}")]);
        // Of no age: nothing more is asked for.
        let second = client.open("ssh", Family::V4, &[]);
        assert!(second.status.success() && !second.stderr.contains("new keys"), "{second:?}");
        assert_eq!(changes(&house, &name), 1);
    }
    // One that came by an invitation was never in a line.
    let client = Client::new(&house.net.client);
    house.must_join(&client, &house.invite("invited"));
    let opened = client.open("ssh", Family::V6, &[]);
    assert!(opened.status.success() && !opened.stderr.contains("new keys"), "{opened:?}");
    assert_eq!(changes(&house, "invited"), 0);
}

/// A key that asks for a touch is the user's to rotate: a note, once a day.
#[test]
fn who_must_do_something_for_it_is_told_once_a_day() {
    need_namespaces!();
    let house = house();
    let agent = Agent::with_security_key();
    let client = Client::new(&house.net.client);
    let id = agent.file("id").to_str().unwrap().to_owned();
    let mut keygen = client.command("spa");
    keygen.args(["keygen", "--agent", &id, "-o"]).arg(client.key());
    run(keygen.env("SSH_AUTH_SOCK", agent.socket()));
    client.enrol(&house.server, "token", &["ssh"]);
    for told in [true, false] {
        let before = agent.touches();
        let mut open = client.command("spa-client");
        open.args(["open", "ssh@server", "-4"]).env("SSH_AUTH_SOCK", agent.socket());
        let opened = run(&mut open);
        assert_eq!(said(&opened).contains("run: spa rotate server"), told, "{opened:?}");
        assert_eq!(agent.touches() - before, 1);
    }
    assert_eq!(changes(&house, "token"), 0);
}

#[test]
fn what_is_not_allowed_is_not_asked_for() {
    need_namespaces!();
    let house = house();
    let arguments = ["--service", "ssh", "--rotate", "never"];
    let client = Client::enrolled_with(&house.net.client, &house.server, "shared", &arguments);
    let opened = client.open("ssh", Family::V4, &[]);
    assert!(opened.status.success() && !opened.stderr.contains("new keys"), "{opened:?}");
    assert_eq!(changes(&house, "shared"), 0);
}

/// Another process takes the keys of one that holds a service open: it goes on with the new ones.
#[test]
fn what_is_held_open_follows_to_the_new_keys() {
    need_namespaces!();
    let house = House::new();
    let client = Client::enrolled(&house.net.client, &house.server, "laptop", &["ssh"]);
    let mut hold = client
        .command("spa-client")
        .args(["open", "ssh@server", "-4", "--hold", "--ttl", "2s"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    house.server.wait_log(&["event=renewed", "client=laptop"]);
    run(client.command("spa").args(["rotate", "server"]));
    let renewed = || {
        let log = house.server.log().lines();
        let since = log.iter().position(|line| line.contains("event=rekeyed")).unwrap();
        log.iter().skip(since).filter(|line| line.contains("event=renewed")).count()
    };
    let held = wait_until(PATIENCE, || renewed() > 3);
    hold.kill().unwrap();
    hold.wait().unwrap();
    assert!(held, "{} renewals since", renewed());
}
