//! ML-KEM where pairs are made: ENROL and REKEY bring a key, and the answer what makes the psk.

use std::fs;

use spa_keys::HostLine;
use spa_keys::key_file::only_line;
use spa_tests::daemon::Client;
use spa_tests::scene::{PATIENCE, config};
use spa_tests::{Family, need_namespaces, wait_until};

use super::{Deaf, House, said};

fn host_line(client: &Client) -> HostLine {
    let text = fs::read_to_string(client.folder().join("hosts/server.host")).unwrap();
    HostLine::from_text(only_line(&text).unwrap().1).unwrap()
}

/// What the server keeps for whoever asks again.
fn kept(house: &House) -> usize {
    let file = house.server.folder().join("state-broker/enrolled.toml");
    fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .filter(|line| line.starts_with("kem = "))
        .count()
}

fn rotate(client: &Client, more: &[&str]) -> std::process::Output {
    client.command("spa").args(["rotate", "server"]).args(more).output().unwrap()
}

#[test]
fn each_new_pair_has_an_ml_kem_half() {
    need_namespaces!();
    let house = House::new();
    let client = Client::new(&house.net.client);
    house.must_join(&client, &house.invite("phone"));
    let first = host_line(&client);
    assert!(first.kem);
    client.must_open("ssh", Family::V6, &[]);
    let rotated = rotate(&client, &[]);
    assert!(rotated.status.success(), "{rotated:?}");
    assert!(host_line(&client).kem && host_line(&client).psk != first.psk);
    client.must_open("ssh", Family::V4, &[]);
    // What it was made from is erased with the keys before.
    assert!(wait_until(PATIENCE, || kept(&house) == 0));
}

/// The line of an enrolment from before says nothing about ML-KEM: the next rotation finds out.
#[test]
fn an_enrolment_from_before_moves_by_itself() {
    need_namespaces!();
    let house = House::new();
    let client = Client::enrolled(&house.net.client, &house.server, "old", &["ssh"]);
    let file = client.folder().join("hosts/server.host");
    let before = HostLine { kem: false, ..host_line(&client) };
    fs::write(&file, before.to_text().unwrap().expose()).unwrap();
    client.must_open("ssh", Family::V4, &[]);
    let rotated = rotate(&client, &[]);
    assert!(rotated.status.success(), "{rotated:?}");
    assert!(host_line(&client).kem);
    client.must_open("ssh", Family::V6, &[]);
}

/// Lost answers of a request that brings a key, with either form of enrolment, also over a crash:
/// the same psk.
#[test]
fn a_lost_answer_is_asked_for_again() {
    need_namespaces!();
    let mut house = House::new();
    let client = Client::enrolled(&house.net.client, &house.server, "laptop", &["ssh"]);
    for known in [true, false] {
        let file = client.folder().join("hosts/server.host");
        let line = HostLine { kem: known, ..host_line(&client) };
        fs::write(&file, line.to_text().unwrap().expose()).unwrap();
        let deaf = Deaf::new(&house.net.client);
        let output = rotate(&client, &["-4", "--timeout", "2s"]);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        drop(deaf);
        assert!(wait_until(PATIENCE, || kept(&house) == 1));
        house.server.kill9();
        house.server.launch();
        house.server.wait_fence();
        let output = rotate(&client, &[]);
        assert!(output.status.success() && said(&output).contains("earlier run"), "{output:?}");
        assert!(host_line(&client).kem);
        client.must_open("ssh", Family::V4, &[]);
        assert_eq!(house.clients(), ["laptop"]);
        assert!(wait_until(PATIENCE, || kept(&house) == 0));
    }
}

/// One stage has no room for the key, and without an answer nobody could have the psk.
#[test]
fn without_room_or_answer_pairs_are_made_as_before() {
    need_namespaces!();
    let house = House::with(&config(60).set("sequence.ports", "[40001]"));
    let client = Client::new(&house.net.client);
    house.must_join(&client, &house.invite("phone"));
    assert!(!host_line(&client).kem);
    client.must_open("ssh", Family::V4, &[]);
    let rotated = rotate(&client, &[]);
    assert!(rotated.status.success(), "{rotated:?}");
    assert!(!host_line(&client).kem);
    client.must_open("ssh", Family::V6, &[]);
}
