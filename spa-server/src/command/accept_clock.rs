//! `spa-server accept-clock`.

use clap::Args;
use spa_keys::Failure;

use super::table::time;
use super::talk::Asking;
use crate::control::Command;
use crate::control::rows::ClockAccepted;

/// Take knocks again after the clock was ahead and was corrected
#[derive(Debug, Args)]
#[command(
    after_help = "Look at the clock first. A knock that somebody recorded while it was ahead can \
                  open once more, when the time comes that it was made for.\n\n\
                  Example:\n  spa-server accept-clock"
)]
pub(super) struct AcceptClockArgs {
    #[command(flatten)]
    asking: Asking,
}

impl AcceptClockArgs {
    /// Asks the server to believe its clock.
    pub(super) fn run(self) -> Result<(), Failure> {
        self.asking.run(Command::AcceptClock, |done: &ClockAccepted| {
            format!("accepted: knocks are taken again in {}\n", time(done.wait_s))
        })
    }
}
