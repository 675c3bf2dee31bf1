//! The listener as a child of the broker: the same binary, started anew, so that nothing of the
//! broker's memory is in it.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::socket::getsockopt;
use nix::unistd::{dup2_stdin, dup2_stdout};
use spa_keys::Failure;

use crate::ipc::channel::Channel;

/// The hidden command that the listener runs.
pub const COMMAND: &str = "listen";

/// Both ends of a side: requests and news.
pub struct Ends {
    /// Requests and their answers.
    pub requests: Channel,
    /// Orders and notices.
    pub news: Channel,
}

/// Starts the listener; its ends are its standard input and output.
pub(super) fn start(config: &Path) -> io::Result<(Child, Ends)> {
    let (requests, its_requests) = Channel::pair()?;
    let (news, its_news) = Channel::pair()?;
    // Not by its name: the program may have been replaced since, and both must be of one version.
    let child = Command::new("/proc/self/exe")
        .arg0("spa-server")
        .arg(COMMAND)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::from(its_requests.into_fd()))
        .stdout(Stdio::from(its_news.into_fd()))
        // Readiness is the broker's to tell.
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .spawn()?;
    Ok((child, Ends { requests, news }))
}

impl Ends {
    /// The listener's side takes its ends and leaves nothing in their place.
    ///
    /// # Errors
    /// Somebody ran the hidden command by hand.
    pub fn inherited() -> Result<Self, Failure> {
        let refused = || {
            Failure::failed(
                "this command is a part of `spa-server run`, which starts it by itself: run that \
                 instead",
            )
        };
        let take = |fd: io::Result<std::os::fd::OwnedFd>| -> Result<Channel, Failure> {
            Channel::inherited(fd?).map_err(|_| refused())
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

/// How a child ended, in words.
pub(super) fn words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => nix::sys::signal::Signal::try_from(signal)
            .map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned()),
        (None, None) => "an unknown status".to_owned(),
    }
}
