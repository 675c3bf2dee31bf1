//! Servers that never answer: who joins is told so, and keys do not rotate in the dark.

use spa_tests::daemon::Client;
use spa_tests::scene::config;
use spa_tests::{Family, need_namespaces, wait_until};

use super::{House, said};

#[test]
fn a_server_that_never_answers_enrols_and_rotates_nothing() {
    need_namespaces!();
    let mut house = House::with(&config(60).set("server.ack", "\"off\""));
    let line = house.invite("phone");
    let client = Client::new(&house.net.client);
    // Nobody hears it, and nobody could know.
    house.server.kill9();
    let output = house.join(&client, &line, &["-4", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["confirmed"], false);
    assert!(
        said(&output).contains("never answers") && said(&output).contains("run this again"),
        "{output:?}"
    );
    house.server.launch();
    house.server.wait_fence();
    // The same again asks again, with the same key.
    let key = std::fs::read(client.key()).unwrap();
    for _ in 0..2 {
        let output = house.join(&client, &line, &["-4"]);
        assert!(output.status.success() && said(&output).contains("never answers"), "{output:?}");
        house.server.wait_log(&["event=enrolled", "client=phone"]);
    }
    assert_eq!(
        (std::fs::read(client.key()).unwrap(), house.clients()),
        (key, vec!["phone".to_owned()])
    );
    let opens = || client.open("ssh", Family::V4, &["--timeout", "5s"]).status.success();
    assert!(wait_until(spa_tests::scene::PATIENCE, opens));

    let rotated = client.command("spa").args(["rotate", "server"]).output().unwrap();
    assert_eq!(rotated.status.code(), Some(1), "{rotated:?}");
    assert!(said(&rotated).contains("nothing was sent; get a new invitation"), "{rotated:?}");
    let left: Vec<_> = std::fs::read_dir(client.folder().join("hosts")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    // What it says: a new key by a new invitation, beside the old one until it works.
    let line = house.invite("phone-2");
    let key = client.folder().join("second");
    let output = house.join(&client, &line, &["-4", "--replace", "--key", key.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    house.server.wait_log(&["event=enrolled", "client=phone-2"]);
    assert!(wait_until(spa_tests::scene::PATIENCE, opens));
}
