//! One client of many opens and closes without a pause: log and audit record are everybody's.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use spa_proto::{Request, Status};
use spa_tests::daemon::{Client, Server};
use spa_tests::knocker::{Knocker, Sender};
use spa_tests::netns::lan;
use spa_tests::scene::{PATIENCE, Scene, config};
use spa_tests::{Family, need_namespaces, wait_until};

/// Entries that the record keeps.
const KEPT: &str = "200";
/// Grants that the client opens: more than the record keeps, and more than one client has lines.
const GRANTS: u32 = 400;

fn entries(server: &Server) -> Vec<Value> {
    let output = server.control(&["audit", "--json", "--limit", "0"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["entries"].as_array().unwrap().clone()
}

/// A figure of the running server.
fn figure(server: &Server, name: &str) -> u64 {
    let output = server.control(&["metrics"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name}: {text}")).trim().parse().unwrap()
}

#[test]
fn b10_one_client_pushes_nobody_out() {
    need_namespaces!();
    let net = lan();
    let config = config(600).set("audit.max-entries", KEPT);
    let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
    let mallory = Client::enrolled_with(
        &net.client,
        &scene.server,
        "mallory",
        &["--service", "ssh", "--third-party", "--max-grants", "10000"],
    );
    scene.client.must_open("ssh", Family::V4, &[]);
    let (knocker, sender) =
        (Knocker::of(&mallory), Sender::new(&net.client, &net.server, Family::V4));
    let begun = Instant::now();
    for number in 0..GRANTS {
        // Each for another address: a grant of its own.
        let wanted: IpAddr = Ipv4Addr::from_bits(0x0a80_0000 + number).into();
        let session = knocker.session_with("ssh", |request| Request {
            for_addr: Some(wanted),
            bind_src: Some(sender.source()),
            ..request
        });
        sender.all(&session);
        assert!(sender.ack(&session, PATIENCE).is_some_and(|ack| ack.status == Status::Granted));
        if number >= 100 {
            // Its budget of sessions.
            thread::sleep(Duration::from_millis(110));
        }
    }
    let seconds = begun.elapsed().as_secs();
    let found = || entries(&scene.server);
    let of = |client: &str| found().iter().filter(|entry| entry["client"] == client).count();
    assert_eq!(of("laptop"), 1, "the other's entry is gone");
    let most = 128 + seconds as usize / 120 + 1;
    assert!((128..=most).contains(&of("mallory")), "{} entries", of("mallory"));
    assert!(figure(&scene.server, "spa_audit_left_out_total ") >= u64::from(GRANTS) - most as u64);
    let lines = scene.server.log().lines();
    let granted =
        |line: &&String| line.contains("event=granted") && line.contains("client=mallory");
    let granted = lines.iter().filter(granted).count() as u64;
    let most = 256 + seconds / 2 + 1;
    assert!((256..=most).contains(&granted), "{granted} lines of {most}");
    assert_eq!(figure(&scene.server, "spa_log_left_out_total "), u64::from(GRANTS) - granted);
    // Lines of the other client are written all the same.
    let mark = scene.server.log().mark();
    scene.client.must_open("ssh", Family::V6, &[]);
    scene.server.log().wait_since(mark, &["event=granted", "client=laptop"]);
    assert!(wait_until(PATIENCE, || of("laptop") == 2));
}
