//! Progress on the terminal when something takes long.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use spa_keys::duration;

/// Time after which the first line is shown.
const FIRST_LINE_DELAY: Duration = Duration::from_millis(500);
/// Time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Progress lines until it is dropped; only where a person reads. Whole lines, without
/// escape codes: they stand beside other messages and in every terminal.
pub(crate) struct Progress {
    /// Channel whose end means that it is over.
    _done: Option<Sender<()>>,
}

impl Progress {
    /// Shows that a knock at these addresses of a host goes on, for `timeout` at most.
    pub(crate) fn show_knocking(host: &str, addresses: &[SocketAddr], timeout: Duration) -> Self {
        let addresses: Vec<String> =
            addresses.iter().map(|address| address.ip().to_string()).collect();
        Self::show_after_delay(format!("knocking at {host} ({})", addresses.join(", ")), timeout)
    }

    fn show_after_delay(text: String, limit: Duration) -> Self {
        if !io::stderr().is_terminal() {
            return Self { _done: None };
        }
        let (done, over) = mpsc::channel::<()>();
        let begun = Instant::now();
        // Without a thread there is no sign of life, and nothing else is lost.
        let _ = thread::Builder::new().spawn(move || {
            let mut pause = FIRST_LINE_DELAY;
            while over.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let left = limit.saturating_sub(begun.elapsed()).as_secs();
                spa_keys::note!(
                    "spa-client: {text}, for another {}",
                    duration::format(Duration::from_secs(left))
                );
                pause = LINE_INTERVAL;
            }
        });
        Self { _done: Some(done) }
    }
}
