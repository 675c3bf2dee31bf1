//! A full disk for real: a small tmpfs in a mount namespace of its own, in a child.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use super::super::{RedbStore, State, Store, StoreError};
use super::{Scratch, snapshot};

const FOLDER: &str = "SPA_STORE_TEST_FULL";

/// Takes all the room there is.
pub(super) fn fill(folder: &Path) {
    let mut file = fs::File::create(folder.join("ballast")).unwrap();
    for size in [4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

pub(super) fn free(folder: &Path) {
    fs::remove_file(folder.join("ballast")).unwrap();
}

fn is_full(error: &StoreError) -> bool {
    let full = std::io::ErrorKind::StorageFull;
    matches!(error, StoreError::Io { source, .. } if source.kind() == full)
}

#[test]
#[ignore = "run by full_disk as its child"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let disk = Path::new(&folder);
    let state = disk.join("state");

    // No room at the first start.
    fill(disk);
    let error = RedbStore::open(&state).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert!(!state.join("spa.redb").exists());
    free(disk);
    let mut opened = RedbStore::open(&state).unwrap();
    assert_eq!(opened.state, State::Fresh);

    // Room runs out while it works. The file has some slack, so a few marks may still fit.
    let mut mark = 1;
    opened.store.advance(mark).unwrap();
    fill(disk);
    let big = (0..40_000_u32)
        .map(|i| super::Used { session: u128::from(i).to_be_bytes(), ..super::used(1) })
        .collect();
    for _ in 0..50 {
        if opened.store.advance(mark + 1).is_err() {
            break;
        }
        mark += 1;
    }
    // A snapshot that does not fit is an error, and a crash for the next start.
    let error = opened.store.stop(&super::Snapshot { used: big, ..snapshot(1) }).unwrap_err();
    assert!(is_full(&error), "{error}");
    assert!(
        error.to_string().contains("No space left")
            || error.to_string().contains("no storage space"),
        "{error}"
    );
    drop(opened);

    // The next start, still without room: an error or the truth.
    match RedbStore::open(&state) {
        Ok(mut opened) => {
            let State::Crashed { mark: found } = opened.state else { panic!("{:?}", opened.state) };
            assert!(found >= mark, "{found} {mark}");
            while opened.store.advance(mark + 1).is_ok() && mark < 100 {
                mark += 1;
            }
        }
        Err(error) => assert!(is_full(&error), "{error}"),
    }
    // With room again the mark is there, and the same process can go on after an error.
    free(disk);
    let mut opened = RedbStore::open(&state).unwrap();
    let State::Crashed { mark: found } = opened.state else { panic!("{:?}", opened.state) };
    assert!(found >= mark, "{found} {mark}");
    opened.store.advance(found + 1).unwrap();
    fill(disk);
    // The file is gone, and there is no room for a new one.
    fs::rename(state.join("spa.redb"), disk.join("away")).unwrap();
    assert!(is_full(&opened.store.advance(found + 2).unwrap_err()));
    free(disk);
    opened.store.advance(found + 3).unwrap();
    opened.store.stop(&snapshot(9)).unwrap();
    drop(opened);

    // A clean store on a full disk: the snapshot comes only if it could be marked as taken.
    fill(disk);
    let first = RedbStore::open(&state).map(|o| o.state);
    free(disk);
    let second = RedbStore::open(&state).unwrap().state;
    match first {
        Ok(State::Clean { .. }) => assert_eq!(second, State::Crashed { mark: found + 3 }),
        Ok(other) => panic!("{other:?}"),
        Err(error) => {
            assert!(is_full(&error), "{error}");
            assert!(matches!(second, State::Clean { .. } | State::Crashed { .. }), "{second:?}");
        }
    }
    println!("all of it");
}

/// Runs the ignored test `child` anew, with a disk of 4 MB at the folder that the environment's
/// `name` tells it. What it printed on standard error.
pub(super) fn on_small_disk(name: &str, child: &str) -> String {
    let scratch = Scratch::new();
    let script =
        format!("mount -t tmpfs -o size=4m,mode=700 tmpfs \"${name}\" && exec \"$0\" \"$@\"");
    let root = nix::unistd::geteuid().is_root();
    let output = Command::new("unshare")
        .args(if root { ["-m", "--"] } else { ["-rm", "--"] })
        .args(["sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", child, "--ignored", "--nocapture"])
        .env(name, &scratch.0)
        .output()
        .expect("unshare of util-linux");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("all of it"), "needs the right to make mount namespaces\n{out}\n{err}");
    err.into_owned()
}

#[test]
fn full_disk() {
    on_small_disk(FOLDER, "store::tests::disk_full::child");
}
