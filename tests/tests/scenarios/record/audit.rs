//! The audit record of real grants.

use std::fs;
use std::process::Output;

use serde_json::Value;
use spa_proto::{Op, Request};
use spa_tests::daemon::{Client, Server};
use spa_tests::knocker::{Knocker, Sender};
use spa_tests::netns::lan;
use spa_tests::scene::{PATIENCE, SSH, Scene, WEB, both, config};
use spa_tests::wait::wait_for;
use spa_tests::{Family, need_namespaces, wait_until};

/// Exit codes, as the manual has them.
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const CONFIG: i32 = 78;

fn audit(server: &Server, arguments: &[&str]) -> Output {
    server.control(&[&["audit"], arguments].concat())
}

fn entries(server: &Server, arguments: &[&str]) -> Vec<Value> {
    let output = audit(server, &[&["--json"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["version"], 1);
    answer["entries"].as_array().unwrap().clone()
}

/// Waits until the newest entry has ended; the way it did.
fn ended(server: &Server) -> String {
    let end = || entries(server, &[]).last()?["ended-by"].as_str().map(str::to_owned);
    wait_for(PATIENCE, end).unwrap_or_else(|| panic!("it does not end: {:?}", entries(server, &[])))
}

/// Every line without its times and counts: grant, client, service, address, end, time asked,
/// renewals.
fn told(output: &Output) -> Vec<String> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    assert!(header.starts_with("GRANT  CLIENT"), "{text}");
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words.len(), 12, "{line}");
        // Between address and end: two dates and two times.
        let kept = [&words[..4], &words[8..10]].concat().join(" ");
        kept.replace(words[3], if words[3].contains(':') { "V6" } else { "V4" })
    };
    lines.map(row).collect()
}

#[test]
fn b13_what_has_ended_for_a_while_is_known_after_a_kill() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::ready(&net.server, &net.client, &config(600), &["ssh"]);
    scene.client.must_open("ssh", Family::V4, &["--ttl", "2s"]);
    let grants = || scene.server.status()["grants"].as_array().map(Vec::len);
    assert!(wait_until(PATIENCE, || grants() == Some(0)), "it never ends");
    // What is promised, and as much again for a machine that is busy.
    let begun = std::time::Instant::now();
    assert!(wait_until(PATIENCE, || begun.elapsed().as_secs() >= 4));
    scene.server.kill9();
    scene.server.launch();
    assert_eq!(ended(&scene.server), "expired");
}

#[test]
fn who_had_what_open_and_who_ended_it() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::new(&net.server, &net.client, &config(600), &["ssh", "web"]);
    scene.server.wait_fence();
    let nothing = audit(&scene.server, &[]);
    assert_eq!((nothing.status.code(), nothing.stdout.len()), (Some(0), 0), "{nothing:?}");

    // It ends by its time.
    scene.client.must_open("ssh", Family::V4, &["--ttl", "4s"]);
    assert!(scene.is_open(Family::V4, SSH));
    assert_eq!(ended(&scene.server), "expired");
    // Renewed, then closed by its client.
    scene.client.must_open("web", Family::V6, &[]);
    scene.client.must_open("web", Family::V6, &["--ttl", "5m"]);
    assert!(scene.is_open(Family::V6, WEB));
    let knocker = Knocker::of(&scene.client);
    let sender = Sender::new(&net.client, &net.server, Family::V6);
    sender.all(&knocker.session_with("web", |request| Request {
        op: Op::Close,
        all: true,
        ..request
    }));
    assert_eq!(ended(&scene.server), "client");
    // Another client's, which is removed.
    let friend = Client::enrolled(&net.client, &scene.server, "friend", &["ssh"]);
    friend.must_open("ssh", Family::V4, &[]);
    assert!(scene.server.control(&["client", "remove", "friend"]).status.success());
    assert_eq!(ended(&scene.server), "client-removed");
    scene.server.wait_log(&["event=closed", "client=friend", "reason=client-removed"]);
    assert!(scene.is_hidden(Family::V4, SSH));
    // And one that stays.
    scene.client.must_open("ssh", Family::V6, &[]);
    assert!(wait_until(PATIENCE, || entries(&scene.server, &[]).len() == 4));

    let all = [
        "g1 laptop ssh V4 expired 4s",
        "g2 laptop web V6 client 5m",
        "g3 friend ssh V4 client-removed -",
        "g4 laptop ssh V6 open -",
    ];
    let pick = |numbers: &[usize]| numbers.iter().map(|n| all[*n]).collect::<Vec<_>>();
    let questions: [(&[&str], &[usize]); 7] = [
        (&[], &[0, 1, 2, 3]),
        (&["--client", "friend"], &[2]),
        (&["--service", "web"], &[1]),
        (&["--client", "laptop", "--limit", "2"], &[1, 3]),
        (&["--limit", "0"], &[0, 1, 2, 3]),
        (&["--since", "7d"], &[0, 1, 2, 3]),
        (&["--since", "2099-01-01"], &[]),
    ];
    // From the running server, and from its file when it has stopped: the same.
    for round in ["running", "stopped"] {
        for (arguments, numbers) in questions {
            let output = audit(&scene.server, arguments);
            assert_eq!(output.status.code(), Some(0), "{round}, {arguments:?}: {output:?}");
            if numbers.is_empty() {
                assert!(output.stdout.is_empty(), "{round}, {arguments:?}: {output:?}");
            } else {
                assert_eq!(told(&output), pick(numbers), "{round}, {arguments:?}");
            }
        }
        figures(&entries(&scene.server, &[]));
        let wrong = audit(&scene.server, &["--since", "yesterday"]);
        assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(USAGE), 0), "{wrong:?}");
        if round == "running" {
            assert!(scene.server.stop().success());
        }
    }
    fs::write(scene.server.folder().join("state/audit.redb"), "no database").unwrap();
    let damaged = audit(&scene.server, &[]);
    assert_eq!(damaged.status.code(), Some(FAILED), "{damaged:?}");
    fs::write(scene.server.folder().join("server.toml"), "x = 1").unwrap();
    assert_eq!(audit(&scene.server, &[]).status.code(), Some(CONFIG));
}

/// The times of the four, and how often the second was renewed.
fn figures(entries: &[Value]) {
    let number = |at: usize, key: &str| {
        entries[at][key].as_u64().unwrap_or_else(|| panic!("{key}: {}", entries[at]))
    };
    assert_eq!([0, 1, 2, 3].map(|at| number(at, "renewed")), [0, 1, 0, 0]);
    assert_eq!([0, 1, 2, 3].map(|at| number(at, "ttl-s")), [4, 300, 600, 600]);
    assert_eq!(number(0, "ended-ms"), number(0, "opened-ms") + 4000);
    assert!(
        number(1, "ended-ms") < number(1, "until-ms")
            && number(2, "ended-ms") < number(2, "until-ms")
    );
    assert_eq!(number(3, "until-ms"), number(3, "opened-ms") + 600_000);
    assert!(entries[3]["ended-ms"].is_null() && entries[2]["asked-s"].is_null());
    // Where the kernel counts, both that were used say so.
    for entry in &entries[..2] {
        assert!(entry["used"].is_null() || entry["used"].as_u64() >= Some(1), "{entry}");
    }
}

/// What was open at a kill -9 goes on in the record, or is marked as ended by nobody knows whom.
#[test]
fn kill_9_in_between() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::new(&net.server, &net.client, &config(600), &["ssh", "web"]);
    scene.server.wait_fence();
    scene.client.must_open("web", Family::V4, &["--ttl", "3s"]);
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    assert!(wait_until(PATIENCE, || entries(&scene.server, &[]).len() == 3));
    // On the disk too, not only on its way there.
    let file = scene.server.folder().join("state/audit.redb");
    let written = || {
        let bytes = fs::read(&file).unwrap();
        ["g1", "g2", "g3"].iter().all(|grant| {
            let text = format!("\"grant\":\"{grant}\"");
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    };
    assert!(wait_until(PATIENCE, written), "the record is not written");
    scene.server.kill9();
    // The listener ends a moment after the broker. The file of a crash can be read, and is left as
    // it is.
    assert!(wait_until(PATIENCE, || audit(&scene.server, &[]).status.success()));
    let before = entries(&scene.server, &[]);
    assert_eq!(before.len(), 3);
    assert!(before.iter().all(|entry| entry["ended-ms"].is_null()), "{before:?}");
    assert!(wait_until(PATIENCE, || !scene.is_open(Family::V4, WEB)), "never closes");
    scene.server.launch();
    assert!(wait_until(PATIENCE, || entries(&scene.server, &[])
        .iter()
        .any(|e| e["ended-by"] == "unknown")));
    let after = entries(&scene.server, &[]);
    assert_eq!(after.len(), 3, "{after:?}");
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before["grant"], after["grant"]);
        assert_eq!(before["opened-ms"], after["opened-ms"]);
        if before["service"] == "web" {
            assert_eq!(
                (&after["ended-by"], &after["ended-ms"]),
                (&"unknown".into(), &before["until-ms"])
            );
        } else {
            // The kernel's timer is the truth; it tells whole milliseconds at best.
            let moved = before["until-ms"].as_i64().unwrap() - after["until-ms"].as_i64().unwrap();
            assert!(after["ended-by"].is_null() && moved.abs() < 1500, "{before} {after}");
        }
    }
}

/// Somebody broke the record: the server starts, opens, and keeps what was there.
#[test]
fn a_damaged_record_holds_up_nothing() {
    need_namespaces!();
    let net = lan();
    let server = Server::prepare(&net.server, &config(600));
    let state = server.folder().join("state");
    fs::write(state.join("audit.redb"), "no database").unwrap();
    let scene = Scene::of(server, &net.client, &["ssh"]);
    scene.server.wait_log(&["event=audit-damaged", "audit.redb.corrupt-1"]);
    scene.server.wait_fence();
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    assert!(wait_until(PATIENCE, || entries(&scene.server, &[]).len() == 2));
    assert_eq!(fs::read(state.join("audit.redb.corrupt-1")).unwrap(), b"no database");
}
