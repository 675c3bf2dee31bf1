//! Bytes flipped and files cut: never a panic, never an older state, never a snapshot twice.

use std::fs;
use std::os::unix::fs::DirBuilderExt;

use super::super::{RedbStore, State, Store};
use super::{Scratch, open, snapshot};

/// Distance of the bytes that are flipped. The first pages, with redb's header, are flipped wholly.
const STEP: usize = 97;
const HEADER: usize = 512;

/// A store that a crash left behind: it had an older mark, and a snapshot that was taken.
fn crashed() -> Vec<u8> {
    let scratch = Scratch::in_memory();
    let mut opened = open(&scratch.state());
    opened.store.advance(100).unwrap();
    opened.store.stop(&snapshot(50)).unwrap();
    drop(opened);
    let mut opened = open(&scratch.state());
    opened.store.advance(200).unwrap();
    opened.store.advance(300).unwrap();
    // Copied while it is open: as a power failure leaves it.
    fs::read(scratch.state().join("spa.redb")).unwrap()
}

fn clean() -> Vec<u8> {
    let scratch = Scratch::in_memory();
    let mut opened = open(&scratch.state());
    opened.store.advance(300).unwrap();
    opened.store.stop(&snapshot(50)).unwrap();
    drop(opened);
    fs::read(scratch.state().join("spa.redb")).unwrap()
}

/// Opens a store with this file.
fn found(scratch: &Scratch, file: &[u8]) -> State {
    let state = scratch.state();
    let _ = fs::remove_dir_all(&state);
    fs::DirBuilder::new().mode(0o700).create(&state).unwrap();
    fs::write(state.join("spa.redb"), file).unwrap();
    let opened = RedbStore::open(&state).unwrap_or_else(|e| panic!("damage is no error: {e}"));
    let found = opened.state;
    if matches!(found, State::Unreadable { .. }) {
        assert_eq!(fs::read(state.join("spa.redb.corrupt-1")).unwrap().len(), file.len());
    }
    found
}

fn flips(file: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    let header = (0..HEADER.min(file.len())).flat_map(|at| [(at, 1), (at, 2), (at, 4), (at, 0xff)]);
    header.chain((HEADER..file.len()).step_by(STEP).map(|at| (at, 0x10)))
}

#[test]
fn flipped_after_a_crash() {
    let file = crashed();
    let scratch = Scratch::in_memory();
    assert_eq!(found(&scratch, &file), State::Crashed { mark: 300 });
    let mut unreadable = 0;
    for (at, bits) in flips(&file) {
        let mut bad = file.clone();
        bad[at] ^= bits;
        match found(&scratch, &bad) {
            State::Crashed { mark: 300 } => {}
            State::Unreadable { .. } => unreadable += 1,
            other => panic!("byte {at} xor {bits}: {other:?}"),
        }
    }
    assert!(unreadable > 0);
}

#[test]
fn flipped_after_a_clean_stop() {
    let file = clean();
    let scratch = Scratch::in_memory();
    assert_eq!(found(&scratch, &file), State::Clean { snapshot: snapshot(50) });
    for (at, bits) in flips(&file) {
        let mut bad = file.clone();
        bad[at] ^= bits;
        match found(&scratch, &bad) {
            State::Clean { snapshot: s } => assert_eq!(s, snapshot(50), "byte {at}"),
            State::Crashed { mark: 300 } | State::Unreadable { .. } => {}
            other => panic!("byte {at} xor {bits}: {other:?}"),
        }
    }
}

#[test]
fn cut() {
    let scratch = Scratch::in_memory();
    for file in [crashed(), clean()] {
        for length in (0..file.len()).step_by(997) {
            let state = found(&scratch, &file[..length]);
            assert!(
                matches!(state, State::Unreadable { .. } | State::Crashed { mark: 300 }),
                "{length}: {state:?}"
            );
        }
    }
}

#[test]
fn zeroed_pages() {
    let scratch = Scratch::in_memory();
    for file in [crashed(), clean()] {
        for page in (0..file.len()).step_by(4096) {
            let mut bad = file.clone();
            let end = (page + 4096).min(bad.len());
            bad[page..end].fill(0);
            match found(&scratch, &bad) {
                State::Clean { snapshot: s } => assert_eq!(s, snapshot(50), "page {page}"),
                State::Crashed { mark: 300 } | State::Unreadable { .. } => {}
                other => panic!("page {page}: {other:?}"),
            }
        }
    }
}
