//! The record's thread on a disk that is full, and with nobody to read it.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use super::super::audit::{AuditLog, AuditQuery, End, EndedBy, Entry, Limits, Page, read};
use super::Scratch;
use super::disk_full::{fill, free, on_small_disk};
use crate::domain::grant::GrantId;

const FOLDER: &str = "SPA_AUDIT_TEST_FULL";
const LIMITS: Limits = Limits { keep: Duration::from_secs(86_400), max_entries: 1_000_000 };

fn entry(i: u64) -> Entry {
    Entry {
        grant: GrantId(i),
        client: "a-client-with-a-long-name-".repeat(2),
        opened_by: None,
        service: "ssh".to_owned(),
        network: "2001:db8::/64".parse().unwrap(),
        opened_ms: i,
        until_ms: i + 5,
        asked_s: None,
        ttl_s: 5,
        renewed: 0,
        used: None,
        left_out: 0,
        end: Some(End { ended_ms: i + 5, ended_by: EndedBy::Expired }),
    }
}

fn now() -> u64 {
    1000
}

fn ask(log: &AuditLog, query: &AuditQuery) -> Result<Page, spa_keys::Failure> {
    let (sender, answer) = mpsc::channel();
    log.ask(query.clone(), Box::new(move |page| sender.send(page).unwrap()));
    answer.recv_timeout(Duration::from_secs(20)).unwrap()
}

fn all(log: &AuditLog) -> Vec<u64> {
    let (mut query, mut found) = (AuditQuery::default(), Vec::new());
    loop {
        let page = ask(log, &query).unwrap();
        found.extend(page.entries.iter().map(|entry| entry.grant.0));
        match page.next {
            Some(next) => query.before = Some(next),
            None => return found,
        }
    }
}

#[test]
fn told_at_once_and_kept() {
    let scratch = Scratch::in_memory();
    fs::create_dir(scratch.state()).unwrap();
    let (log, open) = AuditLog::start(&scratch.state(), LIMITS, now).unwrap();
    assert_eq!(open, []);
    for i in 0..500 {
        log.put(entry(i));
    }
    log.put(Entry { end: None, ..entry(500) });
    assert_eq!(all(&log), (0..=500).rev().collect::<Vec<_>>());
    log.stop();
    let (log, open) = AuditLog::start(&scratch.state(), LIMITS, now).unwrap();
    assert_eq!(open.iter().map(|entry| entry.grant.0).collect::<Vec<_>>(), [500]);
    // Less is kept from now on.
    log.limit(Limits { max_entries: 100, ..LIMITS });
    assert_eq!(log.lost(), 0);
    log.stop();
    assert_eq!(read(&scratch.state(), &AuditQuery::default()).unwrap().len(), 100);
}

#[test]
#[ignore = "run by full_disk as its child"]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let disk = Path::new(&folder);
    let state = disk.join("state");
    fs::create_dir(&state).unwrap();

    // No room for the file: it starts all the same, and knows what it is told.
    fill(disk);
    let (log, open) = AuditLog::start(&state, LIMITS, now).unwrap();
    assert_eq!(open, []);
    log.put(entry(1));
    assert!(ask(&log, &AuditQuery::default()).unwrap_err().problem.contains("audit record"));
    log.stop();
    free(disk);
    assert_eq!(read(&state, &AuditQuery::default()).unwrap(), []);

    // Room runs out while it works: nothing waits, the answers still come, and what was kept is
    // written later.
    let (log, _) = AuditLog::start(&state, LIMITS, now).unwrap();
    log.put(entry(2));
    assert_eq!(all(&log), [2]);
    log.stop();
    let (log, _) = AuditLog::start(&state, LIMITS, now).unwrap();
    fill(disk);
    let mut i = 3;
    while log.lost() == 0 {
        log.put(entry(i));
        // Not faster than the thread takes them: they shall be lost for want of room, not of time.
        if i % 1000 == 0 {
            let _either = ask(&log, &AuditQuery::default());
        }
        i += 1;
    }
    log.stop();
    free(disk);
    let written = read(&state, &AuditQuery::default()).unwrap().len();
    assert!((1..10_000).contains(&written), "{written}");

    // With room again the same file goes on.
    let (log, _) = AuditLog::start(&state, LIMITS, now).unwrap();
    log.put(entry(1_000_000));
    log.stop();
    assert_eq!(read(&state, &AuditQuery::default()).unwrap().len(), written + 1);
    println!("all of it");
}

#[test]
fn full_disk() {
    let err = on_small_disk(FOLDER, "store::tests::audit_thread::child");
    for event in ["event=audit-not-written", "event=audit-lost"] {
        assert!(err.contains(event), "{event}: {err}");
    }
    // The second time, thousands had waited for room until the thread was stopped.
    let lost = err
        .lines()
        .rfind(|line| line.contains("event=audit-lost"))
        .and_then(|line| line.rsplit_once("lost="));
    let lost: u64 = lost.unwrap().1.trim().parse().unwrap();
    assert!(lost > 1000, "{err}");
}
