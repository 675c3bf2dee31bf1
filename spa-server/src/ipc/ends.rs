//! The two channels between broker and listener, as each side holds them.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::getsockopt;
use nix::unistd::{dup2_stdin, dup2_stdout};
use spa_keys::Failure;

use super::channel::Channel;

/// The hidden command that the listener runs.
pub const LISTENER_COMMAND: &str = "listen";

/// Both ends of a side: requests and news.
pub struct BrokerChannels {
    /// Requests and their answers.
    pub requests: Channel,
    /// Orders and notices.
    pub news: Channel,
}

impl BrokerChannels {
    /// The listener's side takes its ends and leaves nothing in their place.
    ///
    /// # Errors
    /// Somebody ran the hidden command by hand.
    pub fn take_inherited() -> Result<Self, Failure> {
        let refused = || {
            Failure::failed(
                "this command is a part of `spa-server run`, which starts it by itself: run that \
                 instead",
            )
        };
        let take = |fd: io::Result<std::os::fd::OwnedFd>| -> Result<Channel, Failure> {
            Channel::from_inherited(fd?).map_err(|_| refused())
        };
        let requests = take(io::stdin().as_fd().try_clone_to_owned())?;
        let news = take(io::stdout().as_fd().try_clone_to_owned())?;
        let peer = getsockopt(&news, nix::sys::socket::sockopt::PeerCredentials)
            .map_err(io::Error::from)?;
        if peer.pid() != nix::unistd::getppid().as_raw() {
            return Err(refused());
        }
        let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).map_err(io::Error::from)?;
        Ok(Self { requests, news })
    }
}
