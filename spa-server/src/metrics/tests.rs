#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use spa_proto::Reason;

use super::{METRIC_NAMES, MetricsSnapshot, Tally, text, write};
use crate::engine::{Counters, Event, EventKind};

fn event(kind: EventKind, reason: Reason, took_us: u64) -> Event {
    Event {
        kind,
        client: "alice".into(),
        service: Some("ssh".into()),
        source: "192.0.2.1".parse().unwrap(),
        asked: None,
        network: None,
        took: Some(Duration::from_micros(took_us)),
        skew_ms: 0,
        reason,
        grant: None,
        ttl: None,
        keys: None,
        detail: None,
        by: None,
    }
}

fn snapshot() -> MetricsSnapshot {
    let mut tally = Tally::default();
    for (kind, reason, took_us) in [
        (EventKind::Granted, Reason::None, 200),
        (EventKind::Granted, Reason::None, 700),
        (EventKind::Renewed, Reason::None, 7_000_000),
        (EventKind::Denied, Reason::Hours, 0),
        (EventKind::Replay, Reason::Floor, 0),
    ] {
        tally.event(&event(kind, reason, took_us), 1_795_370_400_250);
    }
    tally.bait("telnet");
    tally.bait("telnet");
    tally.restores = 3;
    tally.reloads_refused = 4;
    MetricsSnapshot {
        version: "9.8.7",
        started_ms: 1_795_370_000_000,
        clients: 17,
        fence: Duration::from_millis(1500),
        counters: Counters {
            datagrams: 100,
            unknown_tag: 60,
            replayed: 5,
            stages: 15,
            ..Counters::default()
        },
        lost: 2,
        missing_ports: 1,
        grants: vec![("ssh".to_owned(), 2), ("web".to_owned(), 0)],
        exposed: 2,
        blocked: 1,
        useless_interfaces: 1,
        bans: Some(1),
        baits: vec![("telnet".to_owned(), 2)],
        hooks: vec![("ssh".to_owned(), "open", 0), ("ssh".to_owned(), "close", 3)],
        enforcers: vec![("edge".to_owned(), true, 2)],
        audit_lost: 0,
        audit_left_out: 0,
        tally,
    }
}

#[test]
fn golden() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metrics/golden.prom");
    let made = text(&snapshot(), 1_795_370_401_005);
    if std::env::var_os("SPA_GOLDEN").is_some_and(|word| word == "write") {
        fs::write(&golden, &made).unwrap();
    }
    assert_eq!(made, fs::read_to_string(golden).unwrap());
}

/// Everything that a label can say is known before the first packet: services and baits of the
/// configuration, words of ours. No address, no name of a client.
#[test]
fn labels_are_closed() {
    let made = text(&snapshot(), 0);
    assert!(!made.contains("alice") && !made.contains("192.0.2"));
    let labels: BTreeSet<&str> = made
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('{')?.1.split_once('}'))
        .flat_map(|(labels, _)| labels.split("\","))
        .filter_map(|label| label.split_once('=').map(|(name, _)| name))
        .collect();
    let known = [
        "bait", "enforcer", "hook", "kind", "le", "outcome", "reason", "service", "verdict",
        "version",
    ];
    assert_eq!(labels, known.into_iter().collect());
}

/// With the figure that is written only when there is something to tell.
fn faulty_snapshot() -> MetricsSnapshot {
    let mut faulty = snapshot();
    faulty.counters.internal_errors = 1;
    faulty
}

/// Each has its samples, its type and its help, and its name follows the conventions.
#[test]
fn names() {
    let made = text(&faulty_snapshot(), 0);
    for (name, kind, help) in METRIC_NAMES {
        assert!(
            name.starts_with("spa_") && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{name}"
        );
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        assert!(help.ends_with('.'), "{name}");
        assert!(made.contains(&format!("# TYPE {name} {kind}\n")), "{name}");
        let sample = |line: &str| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            rest.starts_with(['{', ' ']) || rest.starts_with("_bucket{")
        };
        assert!(made.lines().any(sample), "{name} has no sample");
    }
    // A firewall that does not answer leaves its figure out.
    let silent = text(&MetricsSnapshot { bans: None, ..snapshot() }, 0);
    assert!(!silent.contains("spa_bans"));
}

/// A name from the configuration cannot end its label, whatever the configuration lets through one
/// day.
#[test]
fn escaped() {
    let odd = MetricsSnapshot { grants: vec![("a\"b\\c\nd".to_owned(), 1)], ..snapshot() };
    assert!(text(&odd, 0).contains("spa_grants{service=\"a\\\"b\\\\c\\nd\"} 1\n"));
}

/// Every word of the dashboard's queries that looks like a metric of ours is one.
#[test]
fn the_dashboard_names_what_there_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pkg/grafana/spa.json");
    let dashboard: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            expressions.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    assert!(expressions.len() >= 12, "{}", expressions.len());
    let made = text(&faulty_snapshot(), 0);
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let mut used = BTreeSet::new();
    for expression in &expressions {
        for name in expression.split(word).filter(|name| name.starts_with("spa_")) {
            let there = made.lines().any(|line| {
                line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            });
            assert!(there, "`{name}` of `{expression}` is no metric");
            used.insert(name.trim_end_matches("_bucket").to_owned());
        }
    }
    // What nobody looks at need not be counted.
    let unused: Vec<_> = METRIC_NAMES
        .iter()
        .map(|(name, _, _)| *name)
        .filter(|name| !used.contains(*name))
        .collect();
    assert_eq!(unused, [""; 0]);
}

#[test]
fn the_file_is_replaced_at_once() {
    let folder = std::env::temp_dir().join(format!("spa-metrics-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let path = folder.join("spa.prom");
    write(&path, "first\n").unwrap();
    // Somebody has laid a link where the next one is made: what it points at stays as it is.
    fs::write(folder.join("precious"), "kept").unwrap();
    std::os::unix::fs::symlink(folder.join("precious"), folder.join("spa.prom.new")).unwrap();
    write(&path, "second\n").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
    assert_eq!(fs::read_to_string(folder.join("precious")).unwrap(), "kept");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert!(!folder.join("spa.prom.new").exists());
    assert!(write(&folder.join("nowhere/spa.prom"), "").is_err());
    fs::remove_dir_all(folder).unwrap();
}
