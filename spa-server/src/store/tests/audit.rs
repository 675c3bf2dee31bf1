//! The audit record: what it keeps, in which order it tells, and what it survives.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::super::audit::{
    AuditFile, AuditQuery, End, EndedBy, Entry, Limits, MAX_PAGE_ENTRIES, read,
};
use super::Scratch;
use crate::domain::grant::GrantId;
use crate::domain::grant::RevokeReason;

pub(super) const LIMITS: Limits =
    Limits { keep: Duration::from_secs(86_400), max_entries: 1_000_000 };

pub(super) fn entry(i: u64) -> Entry {
    Entry {
        grant: GrantId(i),
        client: format!("client-{}", i % 3),
        opened_by: None,
        service: if i.is_multiple_of(2) { "ssh" } else { "web" }.to_owned(),
        network: "192.0.2.0/24".parse().unwrap(),
        opened_ms: 1000 * i,
        until_ms: 1000 * i + 5000,
        asked_s: i.is_multiple_of(2).then_some(5),
        ttl_s: 5,
        renewed: 0,
        used: None,
        left_out: 0,
        end: None,
    }
}

pub(super) fn ended(i: u64) -> Entry {
    let end = Some(End { ended_ms: 1000 * i + 2500, ended_by: EndedBy::Client });
    Entry { end, used: Some(i), ..entry(i) }
}

fn file(folder: &Path) -> AuditFile {
    fs::create_dir_all(folder).unwrap();
    let (file, aside) = AuditFile::open(folder).unwrap();
    assert_eq!(aside, None);
    file
}

fn put(file: &mut AuditFile, entries: &[Entry]) {
    file.put(entries.iter(), LIMITS, 0).unwrap();
}

fn numbers(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.grant.0).collect()
}

/// All pages, one after the other.
fn all(
    file: &mut AuditFile,
    query: &AuditQuery,
    unwritten: &BTreeMap<(u64, u64), Entry>,
) -> Vec<Entry> {
    let (mut query, mut found) = (query.clone(), Vec::new());
    loop {
        let page = file.page(&query, unwritten).unwrap();
        found.extend(page.entries);
        match page.next {
            Some(next) => query.before = Some(next),
            None => return found,
        }
    }
}

#[test]
fn what_is_written_is_told() {
    let scratch = Scratch::in_memory();
    let mut record = file(&scratch.state());
    assert_eq!(all(&mut record, &AuditQuery::default(), &BTreeMap::new()), []);
    put(&mut record, &(0..10).map(entry).collect::<Vec<_>>());
    put(&mut record, &[ended(3), ended(7)]);
    let told = all(&mut record, &AuditQuery::default(), &BTreeMap::new());
    assert_eq!(numbers(&told), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    assert_eq!((&told[6], &told[5]), (&ended(3), &entry(4)));
    assert_eq!(numbers(&record.open_entries().unwrap()), [0, 1, 2, 4, 5, 6, 8, 9]);
    drop(record);
    // The same in the next run, and read beside it.
    let mut record = file(&scratch.state());
    assert_eq!(all(&mut record, &AuditQuery::default(), &BTreeMap::new()), told);
    let busy = read(&scratch.state(), &AuditQuery::default()).unwrap_err().to_string();
    assert!(busy.contains("a running spa-server uses it"), "{busy}");
    drop(record);
    assert_eq!(read(&scratch.state(), &AuditQuery::default()).unwrap(), told);
    assert_eq!(read(&scratch.0.join("nothing"), &AuditQuery::default()).unwrap(), []);
}

#[test]
fn what_is_asked_for() {
    let scratch = Scratch::in_memory();
    let mut record = file(&scratch.state());
    put(&mut record, &(0..12).map(ended).collect::<Vec<_>>());
    let mut ask = |query: AuditQuery| {
        let told = numbers(&all(&mut record, &query, &BTreeMap::new()));
        drop(record.page(&query, &BTreeMap::new()));
        told
    };
    let client = |name: &str| AuditQuery { client: Some(name.to_owned()), ..AuditQuery::default() };
    assert_eq!(ask(client("client-1")), [10, 7, 4, 1]);
    assert_eq!(ask(client("client")), [0; 0]);
    assert_eq!(ask(AuditQuery { service: Some("ssh".to_owned()), ..client("client-1") }), [10, 4]);
    // Open at 9.5 s or later: opened at 8 s, it ended at 10.5 s.
    assert_eq!(
        ask(AuditQuery { since_ms: Some(9_500), ..AuditQuery::default() }),
        [11, 10, 9, 8, 7]
    );
    assert_eq!(ask(AuditQuery { since_ms: Some(9_501), ..AuditQuery::default() }), [11, 10, 9, 8]);
    assert_eq!(ask(AuditQuery { limit: Some(5), ..AuditQuery::default() }).len(), 12);
    drop(record);
    let newest = AuditQuery { limit: Some(2), ..client("client-2") };
    assert_eq!(numbers(&read(&scratch.state(), &newest).unwrap()), [11, 8]);
}

#[test]
fn pages_meet() {
    let scratch = Scratch::in_memory();
    let mut record = file(&scratch.state());
    let many: Vec<Entry> = (0..1000).map(ended).collect();
    put(&mut record, &many);
    let first = record.page(&AuditQuery::default(), &BTreeMap::new()).unwrap();
    assert_eq!((first.entries.len(), first.next), (MAX_PAGE_ENTRIES, Some((800_000, 800))));
    // What is not written yet takes its place: newer words about the old, and the new.
    let newer = [Entry { renewed: 7, ..ended(500) }, ended(1000), entry(1001)];
    let unwritten = newer.iter().map(|entry| (entry.key(), entry.clone())).collect();
    for limit in [1, 3, 7, MAX_PAGE_ENTRIES, 5000] {
        let told = all(
            &mut record,
            &AuditQuery { limit: Some(limit), ..AuditQuery::default() },
            &unwritten,
        );
        assert_eq!(numbers(&told), (0..=1001).rev().collect::<Vec<_>>());
        assert_eq!(told[501].renewed, 7);
    }
    // Nobody of this name: every entry is looked at, none is told.
    let nobody = AuditQuery { client: Some("nobody".to_owned()), ..AuditQuery::default() };
    assert_eq!(all(&mut record, &nobody, &unwritten), []);
}

#[test]
fn bounded_in_number_and_age() {
    let scratch = Scratch::in_memory();
    let mut record = file(&scratch.state());
    let limits = Limits { keep: Duration::from_secs(86_400), max_entries: 100 };
    for i in 0..300 {
        record.put([ended(i)].iter(), limits, 300_000).unwrap();
    }
    let told =
        |record: &mut AuditFile| numbers(&all(record, &AuditQuery::default(), &BTreeMap::new()));
    assert_eq!(told(&mut record), (200..300).rev().collect::<Vec<_>>());
    // A day after the opening of the last but nine.
    record.put([entry(300)].iter(), limits, 86_400_000 + 290_000).unwrap();
    assert_eq!(told(&mut record), (290..=300).rev().collect::<Vec<_>>());
    record.put([].iter(), limits, 1 << 60).unwrap();
    assert_eq!(told(&mut record), [0; 0]);
    assert_eq!(record.open_entries().unwrap(), []);
}

/// Whatever is in the file's place: it is kept aside, and a new record begins.
#[test]
fn damage_is_kept_aside() {
    let scratch = Scratch::in_memory();
    let path = scratch.state().join("audit.redb");
    for (at, damage) in [&b""[..], b"no database", &[0; 65_536]].into_iter().enumerate() {
        fs::create_dir_all(scratch.state()).unwrap();
        fs::write(&path, damage).unwrap();
        assert!(read(&scratch.state(), &AuditQuery::default()).is_err());
        let (mut record, aside) = AuditFile::open(&scratch.state()).unwrap();
        assert_eq!(aside, Some(scratch.state().join(format!("audit.redb.corrupt-{}", at + 1))));
        assert_eq!(fs::read(aside.unwrap()).unwrap(), damage);
        put(&mut record, &[entry(1)]);
        assert_eq!(record.open_entries().unwrap(), [entry(1)]);
    }
}

/// Every 61st byte of a good file is turned around: an error, another record or the truth, and
/// never an end of the process.
#[test]
fn flipped_bytes() {
    let scratch = Scratch::in_memory();
    put(&mut file(&scratch.state()), &(0..40).map(ended).collect::<Vec<_>>());
    let path = scratch.state().join("audit.redb");
    let good = fs::read(&path).unwrap();
    for at in (0..good.len().min(24_576)).step_by(61) {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        fs::write(&path, &bad).unwrap();
        drop(read(&scratch.state(), &AuditQuery::default()));
        let (mut record, _) = AuditFile::open(&scratch.state()).unwrap();
        drop(record.page(&AuditQuery::default(), &BTreeMap::new()));
        // After an error it is opened anew: the second attempt works.
        if record.put([entry(99)].iter(), LIMITS, 0).is_err() {
            record
                .put([entry(99)].iter(), LIMITS, 0)
                .unwrap_or_else(|error| panic!("byte {at}: {error}"));
        }
    }
}

/// The file is removed under a running server.
#[test]
fn a_file_that_goes_away() {
    let scratch = Scratch::in_memory();
    let mut record = file(&scratch.state());
    put(&mut record, &[entry(1)]);
    fs::remove_file(scratch.state().join("audit.redb")).unwrap();
    put(&mut record, &[entry(2)]);
    drop(record);
    assert_eq!(read(&scratch.state(), &AuditQuery::default()).unwrap(), [entry(2)]);
}

#[test]
fn words() {
    for by in [
        EndedBy::Expired,
        EndedBy::Client,
        EndedBy::Uid(0),
        EndedBy::Uid(u32::MAX),
        EndedBy::Reload(RevokeReason::Client),
        EndedBy::Reload(RevokeReason::Service),
        EndedBy::Reload(RevokeReason::Right),
        EndedBy::Unknown,
    ] {
        assert_eq!(by.to_string().parse(), Ok(by));
    }
    for word in ["", "uid:", "uid:-1", "uid:4294967296", "Expired"] {
        assert!(word.parse::<EndedBy>().is_err(), "{word}");
    }
    let text = serde_json::to_string(&ended(4)).unwrap();
    assert_eq!(
        text,
        r#"{"grant":"g4","client":"client-1","service":"ssh","network":"192.0.2.0/24","opened-ms":4000,"until-ms":9000,"asked-s":5,"ttl-s":5,"renewed":0,"used":4,"ended-ms":6500,"ended-by":"client"}"#
    );
    assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), ended(4));
    assert_eq!(
        serde_json::from_str::<Entry>(&serde_json::to_string(&entry(5)).unwrap()).unwrap(),
        entry(5)
    );
}

/// How large the file gets, and how long the questions take. Shown by --nocapture; limits would
/// fail on a busy machine.
#[test]
#[ignore = "a measurement"]
fn a_hundred_thousand() {
    let scratch = Scratch::new();
    let mut record = file(&scratch.state());
    let limits = Limits { max_entries: 100_000, ..LIMITS };
    let start = std::time::Instant::now();
    for round in 0..400_u64 {
        let some: Vec<Entry> = (round * 500..round * 500 + 500).map(ended).collect();
        record.put(some.iter(), limits, 0).unwrap();
    }
    println!("200 000 entries in batches of 500: {:?}", start.elapsed());
    let size = fs::metadata(scratch.state().join("audit.redb")).unwrap().len();
    println!("{} MiB for 100 000", size >> 20);
    let start = std::time::Instant::now();
    record.put([entry(200_000)].iter(), limits, 0).unwrap();
    println!("one more: {:?}", start.elapsed());
    let start = std::time::Instant::now();
    let nobody = AuditQuery { client: Some("nobody".to_owned()), ..AuditQuery::default() };
    record.page(&nobody, &BTreeMap::new()).unwrap();
    println!("a page that finds nothing: {:?}", start.elapsed());
    drop(record);
    let start = std::time::Instant::now();
    assert_eq!(read(&scratch.state(), &nobody).unwrap(), []);
    println!("all of it, from the file: {:?}", start.elapsed());
    let start = std::time::Instant::now();
    drop(file(&scratch.state()));
    println!("open and close: {:?}", start.elapsed());
}
