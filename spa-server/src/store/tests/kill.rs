//! Killed at every system call that touches the store, and told by each that it failed: strace
//! does both to a child, which says what it was told to be durable.

use std::path::Path;
use std::process::Command;

use super::super::{DiskStore, OpenedStore, StoreError, StoreState};
use super::{Scratch, snapshot};

const FOLDER: &str = "SPA_STORE_TEST_KILL";
/// What opening, writing and stopping do with files.
const CALLS: &str = "open,openat,mkdir,flock,fchmod,fstat,stat,lstat,newfstatat,statx,pread64,\
                     pwrite64,fsync,fdatasync,ftruncate,rename,unlink,close";

/// Runs something until it has worked, three times at most.
fn insist<T>(mut work: impl FnMut() -> Result<T, StoreError>) -> T {
    let mut last = None;
    for _ in 0..3 {
        match work() {
            Ok(done) => return done,
            Err(error) => last = Some(error),
        }
    }
    panic!("{last:?}");
}

/// The child: two runs of a store, the second ends cleanly.
#[test]
#[ignore = "run by the tests below as their child"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    println!("begin");
    let mut opened = insist(|| DiskStore::open(folder.as_ref()));
    println!("durable 0");
    for mark in [100, 200, 300] {
        insist(|| opened.store.advance(mark));
        println!("durable {mark}");
        opened.store.settle();
    }
    let numbers = insist(|| opened.store.reserve(10));
    println!("grants {}", numbers.end);
    drop(opened);
    let mut opened = insist(|| DiskStore::open(folder.as_ref()));
    insist(|| opened.store.advance(400));
    println!("durable 400");
    println!("stopping");
    // Takes nothing more afterwards, error or not.
    if opened.store.stop(&snapshot(20)).is_ok() {
        println!("stopped");
    }
}

/// What a child has said, and whether it came to its end.
struct Told {
    mark: Option<u64>,
    next_grant: u64,
    stopping: bool,
    stopped: bool,
    whole: bool,
    text: String,
}

/// Runs the child under strace, which does `fault` to the system calls.
fn run_child(folder: &Path, fault: &str) -> Told {
    let output = Command::new("strace")
        .args([
            "-f",
            "-qqq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace=?{}", CALLS.replace(',', ",?")),
        ])
        .args(["-e", fault, "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::kill::child", "--ignored", "--nocapture"])
        .arg("--test-threads=1")
        .env(FOLDER, folder)
        .output()
        .expect("strace, which tests/install-tools.sh installs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = |word: &str| {
        let values = text.lines().filter_map(|line| line.strip_prefix(word)?.parse().ok());
        values.max()
    };
    Told {
        mark: last("durable "),
        next_grant: last("grants ").unwrap_or(1),
        stopping: text.contains("stopping"),
        stopped: text.contains("stopped"),
        whole: output.status.success(),
        text,
    }
}

/// What the child was told is there; a snapshot only if it was being written, and once.
fn check_store(folder: &Path, told: &Told, when: &str) {
    let OpenedStore { state, mark, mut store, .. } =
        DiskStore::open(folder).unwrap_or_else(|error| panic!("{when}: {error}"));
    let least = told.mark.unwrap_or(0);
    assert!(mark >= least && mark <= 400, "{when}: {mark}\n{}", told.text);
    match state {
        StoreState::Crashed { .. } => assert!(!told.stopped, "{when}"),
        StoreState::Clean { snapshot: found } => {
            assert!(told.stopping && found == snapshot(20), "{when}");
        }
        StoreState::Missing => assert_eq!(told.mark, None, "{when}"),
        StoreState::Unreadable { why } => panic!("{when}: {why}"),
    }
    assert!(store.reserve(1).unwrap().start >= told.next_grant, "{when}");
    drop(store);
    let state = DiskStore::open(folder).unwrap().state;
    assert_eq!(state, StoreState::Crashed { mark }, "{when}: a snapshot twice");
}

/// Does `fault` to the first, second, … call of each name, until none is left.
fn at_every_call(calls: &str, fault: &str) -> usize {
    let mut reached = 0;
    for call in calls.split(',') {
        for number in 1..200 {
            let scratch = Scratch::in_memory();
            let when = format!("{call} {number} {fault}");
            let told =
                run_child(&scratch.state(), &format!("inject=?{call}:{fault}:when={number}"));
            if told.text.contains("begin") {
                check_store(&scratch.state(), &told, &when);
                reached += 1;
            }
            if told.whole && fault.starts_with("signal") {
                break;
            }
            assert!(number < 199, "{call} never ends");
            if told.whole && told.stopped && is_over(call, number, fault) {
                break;
            }
        }
    }
    reached
}

/// Tells whether the child makes fewer calls of this name: then even a kill does nothing to it.
fn is_over(call: &str, number: usize, fault: &str) -> bool {
    if fault.starts_with("signal") {
        return true;
    }
    let scratch = Scratch::in_memory();
    run_child(&scratch.state(), &format!("inject=?{call}:signal=KILL:when={number}")).whole
}

#[test]
fn killed_at_every_system_call() {
    let reached = at_every_call(CALLS, "signal=KILL");
    assert!(reached > 60, "only {reached} calls");
}

/// A disk that fails once: whatever was told to be durable after that is. Reading must not fail
/// here, because a store that cannot be read is an error and no new one.
#[test]
fn every_write_fails_once() {
    for error in ["EIO", "ENOSPC"] {
        let reached =
            at_every_call("pwrite64,fsync,fdatasync,ftruncate,rename", &format!("error={error}"));
        assert!(reached > 15, "only {reached} calls");
    }
}
