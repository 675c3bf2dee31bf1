//! Events on their way to the log, and where they go.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use spa_keys::mask_secrets;

use super::event::{FieldValue, Record};
use super::{Format, Level, LineBudget, format, journald};

/// A log. It can be shared between threads; lines never mix.
pub struct Logger {
    level: Level,
    sink: Sink,
    started: Instant,
    /// Lines by name of the event: whatever a peer has found to cause lines by, the disk has a
    /// bound.
    budgets: Mutex<HashMap<&'static str, LineBudget>>,
    /// Lines that could not be written since the last that could.
    unwritten: AtomicU64,
}

enum Sink {
    Text(Format, Mutex<Box<dyn Write + Send>>),
    Journal(UnixDatagram),
}

impl Logger {
    /// A log of text lines. For [`Format::Journald`] the lines are logfmt.
    #[must_use]
    pub fn text(format: Format, level: Level, writer: Box<dyn Write + Send>) -> Self {
        Self::new(level, Sink::Text(format, Mutex::new(writer)))
    }

    /// A log in the journal.
    ///
    /// # Errors
    /// Nothing listens there.
    pub fn journald(level: Level) -> io::Result<Self> {
        Self::journald_at(Path::new(journald::JOURNAL_SOCKET), level)
    }

    /// A log in a journal that listens elsewhere.
    ///
    /// # Errors
    /// Nothing listens there.
    pub fn journald_at(path: &Path, level: Level) -> io::Result<Self> {
        let name_it = |e: io::Error| {
            io::Error::new(e.kind(), format!("journald does not listen at {}: {e}", path.display()))
        };
        let journal = journald::connect_journal(path).map_err(name_it)?;
        Ok(Self::new(level, Sink::Journal(journal)))
    }

    fn new(level: Level, sink: Sink) -> Self {
        Self {
            level,
            sink,
            started: Instant::now(),
            budgets: Mutex::default(),
            unwritten: AtomicU64::new(0),
        }
    }

    /// Begins an event.
    pub fn event(&self, level: Level, name: &'static str) -> LogEvent<'_> {
        let record = Record { level, name, fields: Vec::new() };
        LogEvent { logger: (level <= self.level).then_some(self), record }
    }

    /// Takes a line of this event; how many were left out before it.
    fn take_line(&self, name: &'static str) -> Option<u64> {
        let now = self.started.elapsed();
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        budgets.entry(name).or_insert_with(|| LineBudget::of_event(now)).take_line(now)
    }

    /// Writes a line, and behind it how many could not be written before.
    fn write_record(&self, event: &Record) {
        if self.try_write(event).is_err() {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let lines = self.unwritten.swap(0, Ordering::Relaxed);
        if lines > 0 {
            let lost = FieldValue::Number(i64::try_from(lines).unwrap_or(i64::MAX));
            let fields = vec![("lines", lost)];
            let told = Record { level: Level::Warn, name: "log-not-written", fields };
            if self.try_write(&told).is_err() {
                self.unwritten.fetch_add(lines, Ordering::Relaxed);
            }
        }
    }

    fn try_write(&self, event: &Record) -> io::Result<()> {
        let time = format!("{:.3}", Timestamp::now());
        match &self.sink {
            Sink::Text(form, writer) => {
                let mut line = match form {
                    Format::Json => format::format_json(&time, event),
                    Format::Logfmt | Format::Journald => format::format_logfmt(&time, event),
                };
                line.push('\n');
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                // One write for the whole line, so that other processes on the same pipe cannot
                // come between.
                writer.write_all(line.as_bytes()).and_then(|()| writer.flush())
            }
            Sink::Journal(socket) => {
                let line = journald::encode_datagram(event, &format::format_message(event));
                socket.send(&line).map(drop)
            }
        }
    }
}

/// An event that collects its fields. Nothing is written before [`LogEvent::emit`].
#[must_use = "an event is written by emit()"]
pub struct LogEvent<'l> {
    /// `None` when the level is not logged: fields are not even formatted then.
    logger: Option<&'l Logger>,
    record: Record,
}

impl LogEvent<'_> {
    /// Adds a text, or anything that can be shown. Keys are `[a-z0-9-]`, written once per event.
    pub fn with(mut self, key: &'static str, value: impl Display) -> Self {
        if self.logger.is_some() {
            let text = mask_secrets(&value.to_string()).into_owned();
            self.record.fields.push((key, FieldValue::Text(text)));
        }
        self
    }

    /// Adds a number.
    pub fn number(mut self, key: &'static str, value: impl TryInto<i64>) -> Self {
        if self.logger.is_some() {
            self.record
                .fields
                .push((key, FieldValue::Number(value.try_into().unwrap_or(i64::MAX))));
        }
        self
    }

    /// Adds a text if there is one.
    pub fn maybe(self, key: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds the number of lines that were left out before this one, if there are any.
    pub fn left_out(self, lines: u64) -> Self {
        if lines > 0 { self.number("not-logged", lines) } else { self }
    }

    /// Writes the event. A log that cannot be written stops nothing.
    pub fn emit(self) {
        if let Some(logger) = self.logger
            && let Some(left_out) = logger.take_line(self.record.name)
        {
            logger.write_record(&self.left_out(left_out).record);
        }
    }
}
