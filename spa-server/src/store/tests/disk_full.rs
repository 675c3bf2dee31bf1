//! A full disk for real: a small tmpfs in a mount namespace of its own, in a child.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use super::super::{DiskStore, StoreError, StoreState};
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
    let error = DiskStore::open(&state).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert!(!state.join("spa.store").exists());
    free(disk);
    let mut opened = DiskStore::open(&state).unwrap();
    assert_eq!(opened.state, StoreState::Missing);

    // Room runs out while it works: a mark needs none.
    let mut mark = 1;
    opened.store.advance(mark).unwrap();
    fill(disk);
    let big = (0..40_000_u32)
        .map(|i| super::Used { session: u128::from(i).to_be_bytes(), ..super::used(1) })
        .collect();
    for _ in 0..50 {
        mark += 1;
        opened.store.advance(mark).unwrap();
        opened.store.settle();
    }
    // A snapshot that does not fit is an error, and a crash for the next start.
    let error = opened.store.stop(&super::StoreSnapshot { used: big, ..snapshot(1) }).unwrap_err();
    assert!(is_full(&error), "{error}");
    assert!(
        error.to_string().contains("No space left")
            || error.to_string().contains("no storage space"),
        "{error}"
    );
    drop(opened);

    // The next start, still without room.
    let mut opened = DiskStore::open(&state).unwrap();
    assert_eq!(opened.state, StoreState::Crashed { mark });
    mark += 1;
    opened.store.advance(mark).unwrap();
    // The file is gone, and there is no room for a new one.
    fs::rename(state.join("spa.store"), disk.join("away")).unwrap();
    assert!(is_full(&opened.store.advance(mark + 1).unwrap_err()));
    free(disk);
    mark += 2;
    opened.store.advance(mark).unwrap();
    opened.store.stop(&snapshot(9)).unwrap();
    drop(opened);

    // A clean store on a full disk is taken, once.
    fill(disk);
    assert!(matches!(DiskStore::open(&state).unwrap().state, StoreState::Clean { .. }));
    assert_eq!(DiskStore::open(&state).unwrap().state, StoreState::Crashed { mark });
    free(disk);
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
