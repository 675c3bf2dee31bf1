//! Bytes of the audit record flipped, pages zeroed, the file cut: the process that the record is a
//! part of must not die of it. A panic in a destructor cannot be caught, so the deed is done by
//! children.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::super::audit::{AuditFile, AuditQuery, read};
use super::Scratch;
use super::audit::{LIMITS, ended, entry};

/// Folder with the file `good`, for the child.
const FOLDER: &str = "SPA_AUDIT_DAMAGE";
/// Distance of the bytes that are flipped. redb's header is flipped wholly.
const STEP: usize = 397;
const HEADER: usize = 512;

/// A record after a clean stop, when redb trusts what it says; after a crash it verifies each page.
fn closed(scratch: &Scratch) -> Vec<u8> {
    let folder = scratch.state();
    fs::create_dir_all(&folder).unwrap();
    let (mut file, _) = AuditFile::open(&folder).unwrap();
    for batch in 0..4 {
        let entries: Vec<_> = (batch * 50..batch * 50 + 50).map(entry).collect();
        file.put(entries.iter(), LIMITS, 0).unwrap();
        let entries: Vec<_> = (batch * 50..batch * 50 + 40).map(ended).collect();
        file.put(entries.iter(), LIMITS, 0).unwrap();
    }
    drop(file);
    fs::read(folder.join("audit.redb")).unwrap()
}

/// All that a server and its commands do with a record. What comes of it is theirs to tell; here it
/// counts that they live.
fn use_record(folder: &Path) {
    let _whatever = read(folder, &AuditQuery::default());
    if let Ok((mut file, _)) = AuditFile::open(folder) {
        let _whatever = file.open_entries();
        let _whatever = file.page(&AuditQuery::default(), &BTreeMap::new());
        let new: Vec<_> = (0..5).map(ended).chain((1000..1005).map(entry)).collect();
        let _whatever = file.put(new.iter(), LIMITS, 0);
    }
    // The next start can write and read whatever became of it.
    let (mut file, _) = AuditFile::open(folder).unwrap();
    file.put([entry(2000)].iter(), LIMITS, 0).unwrap();
    let page = file.page(&AuditQuery::default(), &BTreeMap::new()).unwrap();
    assert!(page.entries.iter().any(|one| one.grant.0 == 2000), "{page:?}");
}

#[test]
#[ignore = "run by b5_damage_of_the_audit_record_ends_no_process as its child"]
fn damage_child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let good = fs::read(folder.join("good")).unwrap();
    let flip = |at: usize, bits: u8| {
        let mut bad = good.clone();
        bad[at] ^= bits;
        (format!("byte {at} xor {bits}"), bad)
    };
    let header = (0..HEADER).flat_map(|at| [1, 0xff].map(|bits| flip(at, bits)));
    let rest = (HEADER..good.len()).step_by(STEP).flat_map(|at| [1, 0xff].map(|b| flip(at, b)));
    let pages = (0..good.len()).step_by(4096).flat_map(|page| {
        [0, 0xff].map(|byte| {
            let mut bad = good.clone();
            let end = (page + 4096).min(bad.len());
            bad[page..end].fill(byte);
            (format!("page {page} filled with {byte}"), bad)
        })
    });
    let cut =
        (0..good.len()).step_by(16_411).map(|to| (format!("cut at {to}"), good[..to].to_vec()));
    let state = folder.join("state");
    for (what, bad) in header.chain(rest).chain(pages).chain(cut) {
        // Read by the parent if this is the last that is heard.
        fs::write(folder.join("what"), &what).unwrap();
        let _none = fs::remove_dir_all(&state);
        fs::create_dir(&state).unwrap();
        fs::write(state.join("audit.redb"), &bad).unwrap();
        fs::set_permissions(
            state.join("audit.redb"),
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .unwrap();
        use_record(&state);
    }
    println!("all of it");
}

#[test]
fn b5_damage_of_the_audit_record_ends_no_process() {
    let scratch = Scratch::in_memory();
    let good = closed(&scratch);
    fs::write(scratch.0.join("good"), &good).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::audit_damage::damage_child", "--ignored", "--nocapture"])
        .env(FOLDER, &scratch.0)
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let last = fs::read_to_string(scratch.0.join("what")).unwrap();
    let tail: String = err.lines().rev().take(12).map(|line| format!("{line}\n")).collect();
    assert!(out.contains("all of it"), "{last}: {}\n{tail}", output.status);
}
