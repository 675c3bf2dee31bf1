//! The process that starts an enforcer's anew: it holds the channel, so that nothing of what the
//! broker has said is lost meanwhile.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};
use spa_keys::Failure;

use crate::ipc::channel::Channel;
use crate::ipc::enforcers::ENFORCER_COMMAND;
use crate::sandbox;

/// Shortest and longest time between two starts.
const RESTART_DELAY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// A process that ran for longer was no failed start.
const GOOD_RUN: Duration = Duration::from_secs(60);

/// Somebody ran a hidden command by hand.
pub(super) fn refuse_by_hand() -> Failure {
    Failure::failed(
        "this command is a part of `spa-server run`, which starts it by itself: run that instead",
    )
}

/// Starts an enforcer's process until it ends because the broker has.
///
/// # Errors
/// Somebody ran the hidden command by hand, or a wall is missing.
pub fn watch_enforcer() -> Result<(), Failure> {
    let channel = Channel::from_inherited(io::stdin().as_fd().try_clone_to_owned()?)
        .map_err(|_not_ours| refuse_by_hand())?;
    let peer = getsockopt(&channel, sockopt::PeerCredentials).map_err(io::Error::from)?;
    if peer.pid() != nix::unistd::getppid().as_raw() {
        return Err(refuse_by_hand());
    }
    sandbox::keep_from_programs()?;
    sandbox::enforcer()?;
    let mut delay = RESTART_DELAY.0;
    loop {
        let started = Instant::now();
        let status = Command::new("/proc/self/exe")
            .arg0("spa-server")
            .arg(ENFORCER_COMMAND)
            .stdin(Stdio::from(channel.as_fd().try_clone_to_owned()?))
            .status()?;
        if status.success() || is_closed(&channel) {
            return Ok(());
        }
        if started.elapsed() > GOOD_RUN {
            delay = RESTART_DELAY.0;
        }
        thread::sleep(delay);
        delay = (delay * 2).min(RESTART_DELAY.1);
    }
}

/// The broker is gone.
fn is_closed(channel: &Channel) -> bool {
    let mut fds = [PollFd::new(channel.as_fd(), PollFlags::empty())];
    let _any = poll(&mut fds, PollTimeout::ZERO);
    let [fd] = fds;
    fd.revents().is_some_and(|seen| seen.contains(PollFlags::POLLHUP))
}
