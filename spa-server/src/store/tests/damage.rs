//! Bytes flipped, slots torn and files cut: never a panic, never an older state, never a snapshot
//! twice.

use std::fs;
use std::os::unix::fs::DirBuilderExt;

use super::super::content::{SLOT_BYTES, Slot, encode_slot};
use super::super::{DiskStore, StoreError, StoreState};
use super::{Scratch, open, snapshot};

/// Distance of the bytes of a snapshot that are flipped. Both slots are flipped wholly.
const STEP: usize = 37;
const SLOTS: usize = 2 * SLOT_BYTES;
/// What a disk writes whole, or not at all.
const SECTOR: usize = 512;

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
    opened.store.settle();
    // Copied while it is open: as a power failure leaves it.
    fs::read(scratch.state().join("spa.store")).unwrap()
}

fn clean() -> Vec<u8> {
    let scratch = Scratch::in_memory();
    let mut opened = open(&scratch.state());
    opened.store.advance(300).unwrap();
    opened.store.stop(&snapshot(50)).unwrap();
    drop(opened);
    fs::read(scratch.state().join("spa.store")).unwrap()
}

/// Opens a store with this file.
fn found(scratch: &Scratch, file: &[u8]) -> StoreState {
    let state = scratch.state();
    let _ = fs::remove_dir_all(&state);
    fs::DirBuilder::new().mode(0o700).create(&state).unwrap();
    fs::write(state.join("spa.store"), file).unwrap();
    let opened = DiskStore::open(&state).unwrap_or_else(|e| panic!("damage is no error: {e}"));
    let found = opened.state;
    if matches!(found, StoreState::Unreadable { .. }) {
        assert_eq!(fs::read(state.join("spa.store.corrupt-1")).unwrap(), file);
    }
    found
}

/// Files of which one byte was changed.
fn flipped(file: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    let places = (0..file.len()).filter(|at| *at < SLOTS || at % STEP == 0);
    places.map(|at| {
        let mut bad = file.to_vec();
        bad[at] ^= 1 << (at % 8);
        (at, bad)
    })
}

#[test]
fn flipped_after_a_crash() {
    let file = crashed();
    assert_eq!(file.len(), SLOTS);
    let scratch = Scratch::in_memory();
    assert_eq!(found(&scratch, &file), StoreState::Crashed { mark: 300 });
    for (at, bad) in flipped(&file) {
        assert_eq!(found(&scratch, &bad), StoreState::Crashed { mark: 300 }, "byte {at}");
    }
}

#[test]
fn flipped_after_a_clean_stop() {
    let file = clean();
    let scratch = Scratch::in_memory();
    assert_eq!(found(&scratch, &file), StoreState::Clean { snapshot: snapshot(50) });
    let mut lost = 0;
    for (at, bad) in flipped(&file) {
        match found(&scratch, &bad) {
            StoreState::Clean { snapshot: s } => assert_eq!(s, snapshot(50), "byte {at}"),
            StoreState::Crashed { mark: 300 } if at >= SLOTS => lost += 1,
            other => panic!("byte {at}: {other:?}"),
        }
    }
    assert!(lost > 0, "no byte of the snapshot counts");
}

#[test]
fn both_slots_damaged() {
    let scratch = Scratch::in_memory();
    for file in [crashed(), clean()] {
        for at in (0..SLOT_BYTES).step_by(STEP) {
            let mut bad = file.clone();
            bad[at] ^= 0x80;
            bad[2 * SLOT_BYTES - 1 - at] ^= 1;
            let state = found(&scratch, &bad);
            assert!(matches!(state, StoreState::Unreadable { .. }), "{at}: {state:?}");
        }
    }
}

#[test]
fn cut() {
    let scratch = Scratch::in_memory();
    for file in [crashed(), clean()] {
        for length in (0..file.len()).step_by(499) {
            let state = found(&scratch, &file[..length]);
            let whole_slots = length / SLOT_BYTES;
            match state {
                StoreState::Unreadable { .. } => assert_eq!(whole_slots, 0, "{length}"),
                StoreState::Crashed { mark: 300 } => assert!(whole_slots > 0, "{length}"),
                other => panic!("{length}: {other:?}"),
            }
        }
    }
}

/// All mixtures of an old and a new file that a power failure may leave: the new one up to some
/// byte or from there on, and each choice of the sectors that differ.
fn torn(old: &[u8], new: &[u8]) -> Vec<Vec<u8>> {
    let length = old.len().max(new.len());
    let grown = |file: &[u8]| {
        let mut file = file.to_vec();
        file.resize(length, 0);
        file
    };
    let (old, new) = (grown(old), grown(new));
    let differ = |at: usize| old.get(at..at + SECTOR) != new.get(at..at + SECTOR);
    let sectors: Vec<usize> = (0..length).step_by(SECTOR).filter(|at| differ(*at)).collect();
    let mut files = Vec::new();
    for sector in &sectors {
        for at in (*sector..(sector + SECTOR).min(length)).step_by(61) {
            files.push([&new[..at], &old[at..]].concat());
            files.push([&old[..at], &new[at..]].concat());
        }
    }
    for choice in 0..1_u32 << sectors.len().min(8) {
        let mut file = old.clone();
        for (bit, at) in sectors.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1) {
            let end = if bit == 7 { length } else { (at + SECTOR).min(length) };
            file[*at..end].copy_from_slice(&new[*at..end]);
        }
        files.push(file);
    }
    files
}

/// The file before and after something is done to an open store.
fn around(from: &[u8], work: impl FnOnce(&mut DiskStore)) -> (Vec<u8>, Vec<u8>) {
    let scratch = Scratch::in_memory();
    fs::DirBuilder::new().mode(0o700).create(scratch.state()).unwrap();
    let path = scratch.state().join("spa.store");
    fs::write(&path, from).unwrap();
    let mut opened = open(&scratch.state());
    let old = fs::read(&path).unwrap();
    work(&mut opened.store);
    (old, fs::read(&path).unwrap())
}

#[test]
fn a_torn_mark_is_the_old_or_the_new_one() {
    let scratch = Scratch::in_memory();
    let (old, new) = around(&crashed(), |store| store.advance(400).unwrap());
    let mut states = [0, 0];
    for file in torn(&old, &new) {
        match found(&scratch, &file) {
            StoreState::Crashed { mark: 300 } => states[0] += 1,
            StoreState::Crashed { mark: 400 } => states[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(states.iter().all(|count| *count > 0), "{states:?}");
    assert_eq!(found(&scratch, &new), StoreState::Crashed { mark: 400 });
    // What was answered stays, whatever becomes of its second copy.
    let (_, settled) = around(&crashed(), |store| {
        store.advance(400).unwrap();
        store.settle();
    });
    for file in torn(&new, &settled) {
        assert_eq!(found(&scratch, &file), StoreState::Crashed { mark: 400 });
    }
}

#[test]
fn a_torn_stop_is_a_crash_or_a_stop() {
    let scratch = Scratch::in_memory();
    let (old, new) = around(&crashed(), |store| store.stop(&snapshot(50)).unwrap());
    let mut states = [0, 0];
    for file in torn(&old, &new) {
        match found(&scratch, &file) {
            StoreState::Crashed { mark: 300 } => states[0] += 1,
            StoreState::Clean { snapshot: s } => {
                assert_eq!(s, snapshot(50));
                states[1] += 1;
            }
            other => panic!("{other:?}"),
        }
        let again = open(&scratch.state()).state;
        assert_eq!(again, StoreState::Crashed { mark: 300 }, "a snapshot is given out once");
    }
    assert!(states.iter().all(|count| *count > 0), "{states:?}");
}

/// A snapshot that was given out does not come back, whichever slot is lost afterwards.
#[test]
fn a_taken_snapshot_is_in_no_slot() {
    let scratch = Scratch::in_memory();
    let (taken, _) = around(&clean(), |_| ());
    for slot in 0..2 {
        let mut bad = taken.clone();
        bad[slot * SLOT_BYTES..(slot + 1) * SLOT_BYTES].fill(0);
        assert_eq!(found(&scratch, &bad), StoreState::Crashed { mark: 300 });
    }
}

/// The number says which slot is the newer, not its place, and not how high its mark is.
#[test]
fn the_newer_slot_counts() {
    let scratch = Scratch::in_memory();
    let slot = |sequence, mark, next_grant| {
        encode_slot(&Slot { sequence, mark, next_grant, last_run: None, snapshot: None }).unwrap()
    };
    for (first, second) in [
        (slot(8, 400, 1), slot(9, 300, 77)),
        (slot(9, 300, 77), slot(8, 400, 1)),
        (slot(9, 300, 77), slot(8, 100, 99)),
        (slot(u64::MAX, 300, 77), slot(0, 400, 1)),
    ] {
        assert_eq!(found(&scratch, &[first, second].concat()), StoreState::Crashed { mark: 300 });
        assert_eq!(open(&scratch.state()).store.reserve(1).unwrap(), 77..78);
    }
}

/// A server of today does not touch what a later one has written, even in one slot only.
#[test]
fn a_later_layout_is_refused_and_left_as_it_is() {
    let mut later = encode_slot(&Slot {
        sequence: 1,
        mark: 900,
        next_grant: 1,
        last_run: None,
        snapshot: None,
    })
    .unwrap();
    assert_eq!(later[32..40], *b"SPASTOR1");
    later[39] = b'2';
    let hash = ring::digest::digest(&ring::digest::SHA256, &later[32..]);
    later[..32].copy_from_slice(hash.as_ref());
    let whole = crashed();
    for bytes in [
        [later.clone(), later.clone()].concat(),
        [&later[..], &whole[SLOT_BYTES..SLOTS]].concat(),
        [&whole[..SLOT_BYTES], &later[..]].concat(),
    ] {
        let scratch = Scratch::in_memory();
        drop(open(&scratch.state()));
        let path = scratch.state().join("spa.store");
        fs::write(&path, &bytes).unwrap();
        let error = DiskStore::open(&scratch.state()).err().unwrap();
        assert!(matches!(error, StoreError::Later(_)), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
        // Damage to it is damage, as of any other.
        let mut damaged = bytes;
        [0, SLOT_BYTES].iter().for_each(|at| damaged[*at] ^= 1);
        fs::write(&path, damaged).unwrap();
        assert!(matches!(open(&scratch.state()).state, StoreState::Unreadable { .. }));
    }
}
