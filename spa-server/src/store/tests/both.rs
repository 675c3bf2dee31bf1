//! What every store must do, on disk and in memory.

use super::super::{
    DiskStore, Fault, MemoryDisk, OpenedStore, Store, StoreError, StoreSnapshot, StoreState,
};
use super::{Scratch, snapshot};

/// Opens the store that a test is about; the last one was dropped before.
type Reopen<'a> = &'a dyn Fn() -> OpenedStore<Box<dyn Store>>;

fn on_both(test: impl Fn(Reopen<'_>)) {
    let scratch = Scratch::new();
    test(&|| {
        let OpenedStore { store, state, mark, last_run } =
            DiskStore::open(&scratch.state()).unwrap();
        OpenedStore { store: Box::new(store), state, mark, last_run }
    });
    let disk = MemoryDisk::new();
    test(&|| {
        let OpenedStore { store, state, mark, last_run } = disk.open().unwrap();
        OpenedStore { store: Box::new(store), state, mark, last_run }
    });
}

#[test]
fn fresh_then_crashed() {
    on_both(|open| {
        let mut opened = open();
        assert_eq!(opened.state, StoreState::Fresh);
        opened.store.advance(10).unwrap();
        opened.store.advance(30).unwrap();
        opened.store.advance(20).unwrap();
        drop(opened);
        assert_eq!(open().state, StoreState::Crashed { mark: 30 });
        assert_eq!(open().state, StoreState::Crashed { mark: 30 });
    });
}

#[test]
fn fresh_then_crashed_at_once() {
    on_both(|open| {
        drop(open());
        assert_eq!(open().state, StoreState::Crashed { mark: 0 });
    });
}

#[test]
fn clean_once_only() {
    on_both(|open| {
        let mut opened = open();
        opened.store.advance(500).unwrap();
        opened.store.stop(&snapshot(200)).unwrap();
        drop(opened);
        assert_eq!(open().state, StoreState::Clean { snapshot: snapshot(200) });
        // That run crashed right after its start.
        assert_eq!(open().state, StoreState::Crashed { mark: 500 });
    });
}

#[test]
fn clean_again_with_another_snapshot() {
    on_both(|open| {
        open().store.stop(&snapshot(9)).unwrap();
        open().store.stop(&StoreSnapshot::default()).unwrap();
        assert_eq!(open().state, StoreState::Clean { snapshot: StoreSnapshot::default() });
    });
}

#[test]
fn nothing_after_the_stop() {
    on_both(|open| {
        let mut opened = open();
        opened.store.advance(5).unwrap();
        opened.store.stop(&snapshot(3)).unwrap();
        assert!(matches!(opened.store.advance(1), Err(StoreError::Stopped)));
        assert!(matches!(opened.store.advance(6), Err(StoreError::Stopped)));
        assert!(matches!(opened.store.reserve(1), Err(StoreError::Stopped)));
        assert!(matches!(opened.store.stop(&snapshot(4)), Err(StoreError::Stopped)));
        drop(opened);
        assert_eq!(open().state, StoreState::Clean { snapshot: snapshot(3) });
    });
}

#[test]
fn a_mark_is_taken_back_on_purpose_only() {
    on_both(|open| {
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
    });
}

#[test]
fn grant_numbers_are_given_once() {
    on_both(|open| {
        let mut opened = open();
        assert_eq!(opened.store.reserve(100).unwrap(), 1..101);
        assert_eq!(opened.store.reserve(1).unwrap(), 101..102);
        drop(opened);
        let mut opened = open();
        assert_eq!(opened.store.reserve(2).unwrap(), 102..104);
        opened.store.stop(&snapshot(1)).unwrap();
        drop(opened);
        assert_eq!(open().store.reserve(1).unwrap(), 104..105);
    });
}

#[test]
fn faults_in_memory() {
    let disk = MemoryDisk::new();
    let mut opened = disk.open().unwrap();
    assert!(matches!(disk.open(), Err(StoreError::Busy(_))));
    opened.store.advance(10).unwrap();
    disk.fail(Fault::Refuse, 1);
    assert!(opened.store.advance(20).is_err());
    assert_eq!(disk.mark(), Some(10));
    disk.fail(Fault::WriteAndRefuse, 1);
    assert!(opened.store.advance(20).is_err());
    assert_eq!(disk.mark(), Some(20));
    opened.store.advance(20).unwrap();
    disk.fail(Fault::Refuse, 2);
    assert!(opened.store.stop(&snapshot(1)).is_err());
    drop(opened);
    assert!(disk.open().is_err(), "the snapshot cannot be marked as taken");
    assert_eq!(disk.open().unwrap().state, StoreState::Crashed { mark: 20 });
    disk.rot();
    assert!(matches!(disk.open().unwrap().state, StoreState::Unreadable { .. }));
    disk.wipe();
    assert_eq!(disk.open().unwrap().state, StoreState::Fresh);

    // The snapshot must not be given out when taking it cannot be recorded.
    disk.open().unwrap().store.stop(&snapshot(2)).unwrap();
    disk.fail(Fault::Refuse, 1);
    assert!(disk.open().is_err());
    assert_eq!(disk.open().unwrap().state, StoreState::Clean { snapshot: snapshot(2) });
}
