//! Rotated keys: at every step at least one works, and in the end exactly one.

use std::fs;
use std::path::Path;
use std::process::Output;

use spa_tests::daemon::Client;
use spa_tests::{Family, need_namespaces, wait_until};

use super::{Deaf, House, said};

fn rotate(client: &Client, more: &[&str]) -> Output {
    client.command("spa").args(["rotate", "server"]).args(more).output().unwrap()
}

/// A copy of the folder, as a thief or an old backup has it.
pub(super) fn copied(client: &Client, to: &Client) {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    copy(&client.folder(), &to.folder());
}

/// A grant of its own, not the port that somebody else has opened for the same address.
fn opens(client: &Client) -> bool {
    let opened = client.open("ssh", Family::V4, &["--timeout", "2s"]);
    opened.status.success() && opened.json["services"][0]["granted"] == true
}

#[test]
fn a_rotated_key_takes_the_others_place() {
    need_namespaces!();
    let house = House::new();
    // Of both kinds: one of the administrator's file, and one that enrolled itself.
    for kind in ["listed", "invited"] {
        let client = if kind == "listed" {
            Client::enrolled(&house.net.client, &house.server, kind, &["ssh"])
        } else {
            let client = Client::new(&house.net.client);
            house.must_join(&client, &house.invite(kind));
            client
        };
        assert!(opens(&client));
        for round in 0..3 {
            let before = Client::new(&house.net.client);
            copied(&client, &before);
            let output = rotate(&client, &["--json"]);
            assert!(output.status.success(), "{kind} {round}: {output:?}");
            assert!(opens(&client), "{kind} {round}");
            let over = wait_until(spa_tests::scene::PATIENCE, || !opens(&before));
            assert!(over, "{kind} {round}: the old key still opens");
        }
        // Its grants are not cut: it is the same client.
        house.server.wait_log(&["event=rekeyed", &format!("client={kind}")]);
        let removed = house.server.control(&["client", "remove", kind]);
        assert!(removed.status.success(), "{removed:?}");
        assert!(!opens(&client), "{kind} is removed, whatever its keys were");
    }
    assert!(house.clients().is_empty());
}

#[test]
fn interrupted_at_every_step() {
    need_namespaces!();
    let mut house = House::new();
    let client = Client::enrolled(&house.net.client, &house.server, "laptop", &["ssh"]);
    // The server is away: new keys are made, and the old ones hold.
    house.server.kill9();
    let output = rotate(&client, &["--timeout", "3s"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    house.server.launch();
    house.server.wait_fence();
    assert!(opens(&client));
    let pending = fs::read(client.folder().join("hosts/server.rotating")).unwrap();
    // The answer is lost: both hold, also after a crash of the server.
    let deaf = Deaf::new(&house.net.client);
    let output = rotate(&client, &["-4", "--timeout", "2s"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    drop(deaf);
    house.server.wait_log(&["event=rekeyed", "client=laptop"]);
    house.server.kill9();
    house.server.launch();
    house.server.wait_fence();
    assert_eq!(
        fs::read(client.folder().join("hosts/server.rotating")).unwrap(),
        pending,
        "the same new keys"
    );
    let output = rotate(&client, &[]);
    assert!(output.status.success() && said(&output).contains("earlier run"), "{output:?}");
    assert!(opens(&client));
    assert!(!client.folder().join("hosts/server.rotating").exists());
    // Nobody who has the former keys gets new ones with them, and nobody takes a key that is
    // another's.
    assert_eq!(house.clients(), ["laptop"]);
    house.server.restart();
    house.server.wait_fence();
    assert!(opens(&client));
}
