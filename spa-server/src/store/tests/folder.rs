//! Modes, locks, foreign files, a store that vanishes while it is open.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::super::{DiskStore, StoreError, StoreState};
use super::{Scratch, open, snapshot};

#[test]
fn private() {
    let scratch = Scratch::new();
    let mut opened = open(&scratch.state());
    opened.store.advance(1).unwrap();
    assert_eq!(fs::metadata(scratch.state()).unwrap().mode() & 0o7777, 0o700);
    let names: Vec<_> = fs::read_dir(scratch.state()).unwrap().map(|e| e.unwrap()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    for entry in names {
        assert_eq!(entry.metadata().unwrap().mode() & 0o7777, 0o600, "{entry:?}");
    }
}

#[test]
fn exposed_folder() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.state()).unwrap();
    for mode in [0o770, 0o707, 0o777] {
        fs::set_permissions(scratch.state(), fs::Permissions::from_mode(mode)).unwrap();
        let error = DiskStore::open(&scratch.state()).unwrap_err();
        assert!(matches!(error, StoreError::Exposed(_)), "{error}");
    }
    fs::set_permissions(scratch.state(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(open(&scratch.state()).state, StoreState::Missing);
}

#[test]
fn one_daemon_at_a_time() {
    let scratch = Scratch::new();
    let first = open(&scratch.state());
    let error = DiskStore::open(&scratch.state()).unwrap_err();
    assert!(matches!(error, StoreError::Busy(_)), "{error}");
    assert!(error.to_string().contains("in use by another spa-server"));
    drop(first);
    open(&scratch.state());
}

#[test]
fn foreign_files_are_kept() {
    let scratch = Scratch::new();
    let path = scratch.state().join("spa.store");
    drop(open(&scratch.state()));
    let elsewhere = scratch.0.join("elsewhere");
    fs::write(&elsewhere, "somebody's").unwrap();
    let foreign: [&dyn Fn(); 6] = [
        &|| fs::write(&path, "no store at all").unwrap(),
        &|| fs::write(&path, "").unwrap(),
        &|| fs::create_dir(&path).unwrap(),
        &|| symlink(&elsewhere, &path).unwrap(),
        &|| drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
        &|| nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
    ];
    for (at, make) in foreign.iter().enumerate() {
        fs::remove_file(&path).unwrap();
        make();
        let StoreState::Unreadable { why } = open(&scratch.state()).state else { panic!("{at}") };
        let aside = scratch.state().join(format!("spa.store.corrupt-{}", at + 1));
        assert!(why.contains("is kept as") && why.contains(aside.to_str().unwrap()), "{why}");
        assert!(fs::symlink_metadata(aside).is_ok());
        assert_eq!(open(&scratch.state()).state, StoreState::Crashed { mark: 0 });
    }
    assert_eq!(fs::read(scratch.state().join("spa.store.corrupt-1")).unwrap(), b"no store at all");
    assert_eq!(fs::read(&elsewhere).unwrap(), b"somebody's");
}

/// What was acknowledged is in the file that the next start finds, not in a deleted one.
#[test]
fn removed_or_replaced_while_open() {
    let scratch = Scratch::new();
    let path = scratch.state().join("spa.store");
    let mut opened = open(&scratch.state());
    opened.store.advance(10).unwrap();
    fs::remove_file(&path).unwrap();
    opened.store.advance(20).unwrap();
    fs::rename(&path, scratch.state().join("away")).unwrap();
    fs::write(&path, "replaced").unwrap();
    opened.store.advance(30).unwrap();
    assert!(scratch.state().join("spa.store.corrupt-1").exists());
    drop(opened);
    assert_eq!(open(&scratch.state()).state, StoreState::Crashed { mark: 30 });
}

#[test]
fn folder_removed_while_open() {
    let scratch = Scratch::new();
    let mut opened = open(&scratch.state());
    opened.store.advance(10).unwrap();
    fs::remove_dir_all(scratch.state()).unwrap();
    let error = opened.store.advance(20).unwrap_err();
    assert!(error.to_string().contains("nothing is opened while"), "{error}");
    assert!(opened.store.stop(&snapshot(1)).is_err());
    drop(opened);
    assert_eq!(open(&scratch.state()).state, StoreState::Missing);
}
