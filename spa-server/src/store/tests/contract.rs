//! What a store must do, whatever its file looks like.

use super::super::{DiskStore, StoreError, StoreSnapshot, StoreState};
use super::{Scratch, snapshot};

#[test]
fn fresh_then_crashed() {
    let scratch = Scratch::new();
    let open = || DiskStore::open(&scratch.state()).unwrap();
    let mut opened = open();
    assert_eq!(opened.state, StoreState::Missing);
    opened.store.advance(10).unwrap();
    opened.store.advance(30).unwrap();
    opened.store.advance(20).unwrap();
    drop(opened);
    assert_eq!(open().state, StoreState::Crashed { mark: 30 });
    assert_eq!(open().state, StoreState::Crashed { mark: 30 });
}

#[test]
fn fresh_then_crashed_at_once() {
    let scratch = Scratch::new();
    let open = || DiskStore::open(&scratch.state()).unwrap();
    drop(open());
    assert_eq!(open().state, StoreState::Crashed { mark: 0 });
}

#[test]
fn clean_once_only() {
    let scratch = Scratch::new();
    let open = || DiskStore::open(&scratch.state()).unwrap();
    let mut opened = open();
    opened.store.advance(500).unwrap();
    opened.store.stop(&snapshot(200)).unwrap();
    drop(opened);
    assert_eq!(open().state, StoreState::Clean { snapshot: snapshot(200) });
    // That run crashed right after its start.
    assert_eq!(open().state, StoreState::Crashed { mark: 500 });
}

#[test]
fn clean_again_with_another_snapshot() {
    let scratch = Scratch::new();
    let open = || DiskStore::open(&scratch.state()).unwrap();
    open().store.stop(&snapshot(9)).unwrap();
    open().store.stop(&StoreSnapshot::default()).unwrap();
    assert_eq!(open().state, StoreState::Clean { snapshot: StoreSnapshot::default() });
}

#[test]
fn nothing_after_the_stop() {
    let scratch = Scratch::new();
    let open = || DiskStore::open(&scratch.state()).unwrap();
    let mut opened = open();
    opened.store.advance(5).unwrap();
    opened.store.stop(&snapshot(3)).unwrap();
    assert!(matches!(opened.store.advance(1), Err(StoreError::Stopped)));
    assert!(matches!(opened.store.advance(6), Err(StoreError::Stopped)));
    assert!(matches!(opened.store.reserve(1), Err(StoreError::Stopped)));
    assert!(matches!(opened.store.stop(&snapshot(4)), Err(StoreError::Stopped)));
    drop(opened);
    assert_eq!(open().state, StoreState::Clean { snapshot: snapshot(3) });
}

#[test]
fn a_mark_is_taken_back_on_purpose_only() {
    let scratch = Scratch::new();
    let open = || DiskStore::open(&scratch.state()).unwrap();
    let mut opened = open();
    opened.store.advance(500).unwrap();
    opened.store.advance(400).unwrap();
    drop(opened);
    let mut opened = open();
    assert_eq!(opened.state, StoreState::Crashed { mark: 500 });
    opened.store.take_back(100).unwrap();
    opened.store.advance(90).unwrap();
    drop(opened);
    let mut opened = open();
    assert_eq!(opened.state, StoreState::Crashed { mark: 100 });
    opened.store.advance(200).unwrap();
    drop(opened);
    assert_eq!(open().state, StoreState::Crashed { mark: 200 });
}

#[test]
fn grant_numbers_are_given_once() {
    let scratch = Scratch::new();
    let open = || DiskStore::open(&scratch.state()).unwrap();
    let mut opened = open();
    assert_eq!(opened.store.reserve(100).unwrap(), 1..101);
    assert_eq!(opened.store.reserve(1).unwrap(), 101..102);
    drop(opened);
    let mut opened = open();
    assert_eq!(opened.store.reserve(2).unwrap(), 102..104);
    opened.store.stop(&snapshot(1)).unwrap();
    drop(opened);
    assert_eq!(open().store.reserve(1).unwrap(), 104..105);
}
