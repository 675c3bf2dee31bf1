//! Waiting for the end of a trial on a terminal: one line that counts down.
//!
//! The time itself runs in the broker. Whatever becomes of this program, the trial ends as it was
//! begun: only Ctrl-C is an order, to go back at once.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use spa_keys::{Failure, exit};

use super::output;
use super::table::time;
use crate::control::Command;
use crate::control::client::Connection;
use crate::control::rows::Done;
use crate::control::status::{ServerStatus, TrialStatus};

/// Between two looks at the server.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Message of every end without a confirmation.
pub(super) const ROLLED_BACK: &str = "rolled back, and verified in the kernel; correct the \
    configuration on disk: the next reload or restart reads it";

/// Ctrl-C, held back until somebody looks.
pub(super) struct Interrupt(SignalFd);

impl Interrupt {
    /// From now on: between the beginning of a trial and the first line there must be no moment in
    /// which Ctrl-C only ends this program.
    pub(super) fn hold_back() -> Result<Self, Failure> {
        let set: SigSet = [Signal::SIGINT].into_iter().collect();
        set.thread_block().map_err(io::Error::from)?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        Ok(Self(signals.map_err(io::Error::from)?))
    }

    /// Waits so long; true: it was pressed.
    fn wait_within(&self, time: Duration) -> Result<bool, Failure> {
        let end = Instant::now() + time;
        loop {
            if let Ok(Some(_)) = self.0.read_signal() {
                return Ok(true);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let patience =
                PollTimeout::from(u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX));
            match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], patience) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
        }
    }
}

/// Shows how long the trial of this number has yet, until its end.
///
/// # Errors
/// It did not stay, whoever or whatever ended it.
pub(super) fn wait(
    line: &mut Connection,
    interrupt: &Interrupt,
    trial: u64,
) -> Result<(), Failure> {
    loop {
        let status: ServerStatus = line
            .request(Command::Status { brief: true })
            .map_err(|failure| explain_end(&failure))?;
        match status.trial.as_ref().filter(|row| row.number == trial) {
            None => return ended(&status),
            Some(row) => output::redraw_line(&format_row(row))?,
        }
        if interrupt.wait_within(POLL_INTERVAL)? {
            return cancelled(line);
        }
    }
}

fn format_row(row: &TrialStatus) -> String {
    if row.rolls_back {
        "rolling back; the kernel is checked until it has the old rules".to_owned()
    } else {
        format!("{} left; Ctrl-C rolls back at once", time(row.left_s))
    }
}

/// The trial is over.
fn ended(status: &ServerStatus) -> Result<(), Failure> {
    match status.rolled_back {
        None => output::redraw_line("confirmed: what was on trial stays\n"),
        Some(_) => {
            output::redraw_line("")?;
            Err(Failure::failed(format!("not confirmed, so it was {}", ROLLED_BACK)))
        }
    }
}

fn cancelled(line: &mut Connection) -> Result<(), Failure> {
    output::redraw_line("Ctrl-C: rolling back\n")?;
    line.request::<Done>(Command::Cancel)?;
    Err(Failure::failed(format!("cancelled: {}", ROLLED_BACK)))
}

/// No answer is no confirmation.
fn explain_end(failure: &Failure) -> Failure {
    let _gone = output::redraw_line("");
    Failure::new(
        exit::UNREACHABLE,
        format!(
            "{failure}; a server that ends during a trial returns to the previous state, and its \
            next start says so: journalctl -u spa-server"
        ),
    )
}
