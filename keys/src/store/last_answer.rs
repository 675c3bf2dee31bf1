//! When a host last answered this client's key: one small file per host, so that `spa check` can
//! tell what was never in use. Nobody needs it: it is written at most once a day or when the answer
//! is another, and no failure of it is one of the command.
//!
//! ```text
//! hosts/NAME.seen   0600, no secret:
//!                   key = "CHECK", last = "2026-05-01T12:00:00Z", answer = "granted"
//! ```

use std::path::PathBuf;
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use toml_edit::DocumentMut;

use crate::{Folder, HostLine, check_host_name, file};

/// The largest such file, in bytes.
const MAX_FILE_BYTES: u64 = 4096;
/// Time within which the same answer is not written again.
const RECORD_INTERVAL: SignedDuration = SignedDuration::from_hours(24);

/// Last answer of a host to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastAnswer {
    /// Time of the answer.
    pub last: Timestamp,
    /// `granted`, or the reason why not, in one word.
    pub answer: String,
}

impl LastAnswer {
    /// Reads the last answer of this host to the key of this line; `None`: none is recorded.
    #[must_use]
    pub fn read(folder: &Folder, host: &str, line: &HostLine) -> Option<Self> {
        let text = file::read_public(&file_path(folder, host)?, MAX_FILE_BYTES).ok()?;
        let document: DocumentMut = text.parse().ok()?;
        let word = |key| document.get(key)?.as_str();
        if word("key")? != line.check_text() {
            return None;
        }
        Some(Self { last: word("last")?.parse().ok()?, answer: word("answer")?.to_owned() })
    }

    /// Records that the host has answered now; `decided`: about a request that access depends
    /// on, and not only about closing something.
    pub fn record(folder: &Folder, host: &str, line: &HostLine, answer: &str, decided: bool) {
        // Threads of one process would write the same file.
        static WRITE_LOCK: Mutex<()> = Mutex::new(());
        let _one = WRITE_LOCK.lock();
        let (now, known) = (Timestamp::now(), Self::read(folder, host, line));
        let same = known.is_some_and(|known| {
            let fresh = now.duration_since(known.last) < RECORD_INTERVAL;
            (!decided || known.answer == answer) && fresh
        });
        let Some(path) = file_path(folder, host).filter(|_| !same) else { return };
        let text = format!(
            "# What {host} last answered; written by spa-client, for: spa check\nkey = \
             \"{}\"\nlast = \"{now:.0}\"\nanswer = \"{answer}\"\n",
            line.check_text()
        );
        let _unimportant = file::replace(&path, &text);
    }
}

fn file_path(folder: &Folder, host: &str) -> Option<PathBuf> {
    check_host_name(host).ok()?;
    Some(folder.hosts().join(format!("{host}.seen")))
}
