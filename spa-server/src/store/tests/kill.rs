//! kill -9 for real: the test runs itself as a child.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::super::{RedbStore, State, Store};
use super::{Scratch, snapshot};

const FOLDER: &str = "SPA_STORE_TEST_KILL";

/// The child: advances for ever and says what it was told to be durable.
#[test]
#[ignore = "run by survives_kill_9 as its child"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let mut opened = RedbStore::open(folder.as_ref()).unwrap();
    let first = match opened.state {
        State::Crashed { mark } => mark + 1,
        _ => 1,
    };
    for mark in first.. {
        opened.store.advance(mark).unwrap();
        println!("durable {mark}");
    }
}

#[test]
fn survives_kill_9() {
    let scratch = Scratch::new();
    let mut last = 0;
    for round in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::kill::child", "--ignored", "--nocapture"])
            .env(FOLDER, scratch.state())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The number of lines varies, so that the kill falls on different moments of a commit.
        let mut durable = || {
            lines.find_map(|l| {
                l.unwrap().strip_prefix("durable ").map(|m| m.parse::<u64>().unwrap())
            })
        };
        for _ in 0..=(round * 7) {
            last = durable().expect("the child works");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it wrote between our last line and the kill.
        while let Some(mark) = durable() {
            last = mark;
        }
        let mut opened = RedbStore::open(&scratch.state()).unwrap();
        match opened.state {
            State::Crashed { mark } => {
                assert!(mark == last || mark == last + 1, "{mark}, told {last}")
            }
            other => panic!("{other:?}"),
        }
        opened.store.advance(last + 2).unwrap();
        if round == 5 {
            // From here on a snapshot is around that no crash may bring back.
            opened.store.stop(&snapshot(20)).unwrap();
            drop(opened);
            assert!(matches!(
                RedbStore::open(&scratch.state()).unwrap().state,
                State::Clean { .. }
            ));
        }
    }
}
