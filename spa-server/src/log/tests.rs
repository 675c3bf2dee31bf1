#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Format, Level, Logger, Strangers};

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

fn logger(format: Format, level: Level) -> (Logger, Shared) {
    let out = Shared::default();
    (Logger::text(format, level, Box::new(out.clone())), out)
}

/// Texts that try to start a line, a field or a terminal sequence of their own.
const NASTY: [&str; 12] = [
    "a\nlevel=error event=forged",
    "a\r\nb",
    "\u{1b}[31mred",
    "quote\" reason=forged",
    "back\\slash",
    "a=b",
    "",
    "nul\0",
    "line\u{2028}separator",
    "\u{202e}turned",
    "\u{85}next\u{9b}31m",
    "ünïcödé 字",
];

#[test]
fn logfmt_line() {
    let (log, out) = logger(Format::Logfmt, Level::Info);
    log.event(Level::Info, "knock")
        .with("client", "alice")
        .with("source", "2001:db8::1")
        .with("reason", "outside hours")
        .number("skew-ms", -12)
        .emit();
    let line = out.take();
    let (time, rest) = line.split_once(' ').unwrap();
    let stamp = time.strip_prefix("time=").unwrap();
    assert_eq!(stamp.len(), "2026-11-22T18:40:11.123Z".len(), "{stamp}");
    assert!(stamp.parse::<jiff::Timestamp>().is_ok());
    assert_eq!(
        rest,
        "level=info event=knock client=alice source=2001:db8::1 reason=\"outside hours\" \
         skew-ms=-12\n"
    );
}

#[test]
fn one_line_whatever_the_text() {
    for text in NASTY {
        let (log, out) = logger(Format::Logfmt, Level::Info);
        log.event(Level::Warn, "reject").with("reason", text).number("ttl", 30).emit();
        let line = out.take();
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(line.ends_with(" ttl=30\n"));
        assert!(
            !line.trim_end().chars().any(|c| c.is_control() || c == '\u{2028}' || c == '\u{202e}'),
            "{line:?}"
        );
        // What follows `reason=` up to ` ttl` is one token: bare, or a JSON string that reads back.
        let token = line.split_once("reason=").unwrap().1.strip_suffix(" ttl=30\n").unwrap();
        if token.starts_with('"') {
            assert_eq!(serde_json::from_str::<String>(token).unwrap(), text);
        } else {
            assert_eq!(token, text);
            assert!(!token.contains([' ', '"', '=']));
        }
    }
}

#[test]
fn json_line_reads_back() {
    for text in NASTY {
        let (log, out) = logger(Format::Json, Level::Info);
        log.event(Level::Info, "grant")
            .with("client", text)
            .number("ttl", 1800_u32)
            .maybe("service", None::<&str>)
            .emit();
        let line = out.take();
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["client"], text);
        assert_eq!(value["ttl"], 1800);
        assert_eq!(value["event"], "grant");
        assert_eq!(value.as_object().unwrap().len(), 5);
    }
}

#[test]
fn long_texts_are_cut() {
    let (log, out) = logger(Format::Json, Level::Info);
    log.event(Level::Info, "x").with("reason", "é".repeat(1_000_000)).emit();
    let value: serde_json::Value = serde_json::from_str(&out.take()).unwrap();
    assert_eq!(value["reason"].as_str().unwrap().chars().count(), 1025);
}

#[test]
fn levels() {
    let (log, out) = logger(Format::Logfmt, Level::Warn);
    log.event(Level::Info, "quiet").with("a", 1).emit();
    log.event(Level::Debug, "quiet").emit();
    assert_eq!(out.take(), "");
    log.event(Level::Warn, "loud").emit();
    log.event(Level::Error, "loud").emit();
    assert_eq!(out.take().lines().count(), 2);
}

#[test]
fn journal_gets_one_datagram_per_event() {
    let path = std::env::temp_dir().join(format!("spa-log-{}.sock", std::process::id()));
    let journal = UnixDatagram::bind(&path).unwrap();
    let log = Logger::journald_at(&path, Level::Info).unwrap();
    log.event(Level::Warn, "reject")
        .with("client", "alice")
        .with("reason", "a\nPRIORITY=0")
        .number("skew-ms", 7)
        .emit();
    let mut bytes = [0; 4096];
    let n = journal.recv(&mut bytes).unwrap();
    std::fs::remove_file(&path).unwrap();

    let mut rest = &bytes[..n];
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let newline = rest.iter().position(|b| *b == b'\n').unwrap();
        let name = std::str::from_utf8(&rest[..newline]).unwrap();
        let length =
            u64::from_le_bytes(rest[newline + 1..newline + 9].try_into().unwrap()) as usize;
        let value = std::str::from_utf8(&rest[newline + 9..newline + 9 + length]).unwrap();
        assert_eq!(rest[newline + 9 + length], b'\n');
        fields.push((name, value));
        rest = &rest[newline + 10 + length..];
    }
    assert_eq!(
        fields,
        [
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "spa-server"),
            ("MESSAGE", "reject client=alice reason=\"a\\nPRIORITY=0\" skew-ms=7"),
            ("SPA_EVENT", "reject"),
            ("SPA_CLIENT", "alice"),
            ("SPA_REASON", "a\nPRIORITY=0"),
            ("SPA_SKEW_MS", "7"),
        ]
    );
    let gone = Logger::journald_at(&path, Level::Info).err().unwrap();
    assert!(gone.to_string().contains("journald does not listen at"), "{gone}");
}

#[test]
fn strangers_are_summed_up() {
    let (log, out) = logger(Format::Logfmt, Level::Info);
    let mut strangers = Strangers::new(["unknown-tag", "wrong-length"]);
    let at = Duration::from_secs;
    assert!(strangers.summary(at(0), &log).is_none(), "nothing came");
    for _ in 0..1_000_000 {
        strangers.add(0, 1);
    }
    strangers.add(9, 1);
    strangers.summary(at(1), &log).unwrap().emit();
    assert!(out.take().ends_with("event=strangers packets=1000000 unknown-tag=1000000\n"));
    strangers.add(1, 5);
    assert!(strangers.summary(at(60), &log).is_none(), "the last one is 59 s ago");
    assert_eq!(strangers.total(), 5, "kept for the next");
    strangers.summary(at(61), &log).unwrap().emit();
    assert!(out.take().ends_with("event=strangers packets=5 wrong-length=5\n"));
    assert!(strangers.summary(at(500), &log).is_none());
    strangers.add(0, u64::MAX);
    strangers.add(0, 1);
    strangers.summary(at(501), &log).unwrap().emit();
    assert!(out.take().contains("packets=9223372036854775807"));
}
