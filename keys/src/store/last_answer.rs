//! When a host last answered this client's key: one small file per host, so that `spa check` can
//! tell what was never in use. Nobody needs it: it is written at most once a day or when the answer
//! is another, and no failure of it is one of the command.
//!
//! ```text
//! hosts/NAME.seen   0600, no secret:
//!                   key = "CHECK", last = "2026-05-01T12:00:00Z", answer = "granted"
//!                   renewal = "2026-05-01T12:00:00Z": new keys were asked for, and tried then
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

/// Answer to a knock that opened.
const GRANTED_WORD: &str = "granted";

/// Last answer of a host to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastAnswer {
    /// Time of the answer.
    pub last: Timestamp,
    /// `granted`, or the reason why not, in one word.
    pub answer: String,
    /// Time of the last attempt to take new keys that the host asked for.
    renewal: Option<Timestamp>,
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
        Some(Self {
            last: word("last")?.parse().ok()?,
            answer: word("answer")?.to_owned(),
            renewal: word("renewal").and_then(|renewal| renewal.parse().ok()),
        })
    }

    /// Claims the one attempt of a day to take new keys; false: it was made.
    #[must_use]
    pub fn claim_renewal(folder: &Folder, host: &str, line: &HostLine) -> bool {
        // Of several processes that are asked at once one goes.
        let Ok(_lock) = folder.lock_hosts() else { return false };
        let now = Timestamp::now();
        let known = Self::read(folder, host, line);
        let answer =
            known.unwrap_or(Self { last: now, answer: GRANTED_WORD.to_owned(), renewal: None });
        if answer.renewal.is_some_and(|last| now.duration_since(last) < RECORD_INTERVAL) {
            return false;
        }
        Self { renewal: Some(now), ..answer }.write(folder, host, line)
    }

    /// Writes it; true when it is written.
    fn write(&self, folder: &Folder, host: &str, line: &HostLine) -> bool {
        let Some(path) = file_path(folder, host) else { return false };
        let Self { last, answer, renewal } = self;
        let mut text = format!(
            "# What {host} last answered; written by spa-client, for: spa check\nkey = \
             \"{}\"\nlast = \"{last:.0}\"\nanswer = \"{answer}\"\n",
            line.check_text()
        );
        if let Some(renewal) = renewal {
            text += &format!("renewal = \"{renewal:.0}\"\n");
        }
        file::replace(&path, &text).is_ok()
    }

    /// Records that the host has answered now; `decided`: about a request that access depends
    /// on, and not only about closing something.
    pub fn record(folder: &Folder, host: &str, line: &HostLine, answer: &str, decided: bool) {
        // Threads of one process would write the same file.
        static WRITE_LOCK: Mutex<()> = Mutex::new(());
        let _one = WRITE_LOCK.lock();
        let (now, known) = (Timestamp::now(), Self::read(folder, host, line));
        let same = known.as_ref().is_some_and(|known| {
            let fresh = now.duration_since(known.last) < RECORD_INTERVAL;
            (!decided || known.answer == answer) && fresh
        });
        if !same {
            let renewal = known.and_then(|known| known.renewal);
            let _unimportant =
                Self { last: now, answer: answer.to_owned(), renewal }.write(folder, host, line);
        }
    }
}

fn file_path(folder: &Folder, host: &str) -> Option<PathBuf> {
    check_host_name(host).ok()?;
    Some(folder.hosts().join(format!("{host}.seen")))
}
