//! `accept-clock`: the clock was ahead, and is right now.

use spa_keys::Failure;

use crate::control::rows::ClockAccepted;
use crate::listener::knock_server::KnockServer;
use crate::log::{self, Level};

/// Believes the clock of now for an administrator.
pub(in crate::listener) fn accept_clock(
    knocks: &mut KnockServer,
    by: u32,
) -> Result<ClockAccepted, Failure> {
    if !knocks.accept_clock() {
        return Err(Failure::failed("the clock is not behind the replay record".to_owned()));
    }
    let wait_s = knocks.engine.fence_left(knocks.now()).as_millis().div_ceil(1000);
    let wait_s = u64::try_from(wait_s).unwrap_or(u64::MAX);
    log::event(Level::Warn, "clock-accepted").number("by", by).number("wait-s", wait_s).emit();
    Ok(ClockAccepted { wait_s })
}
