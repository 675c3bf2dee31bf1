//! The processes that the broker starts: listener and runner. Each is the same binary, started
//! anew, so that nothing of the broker's memory is in it.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::ipc::channel::Channel;
use crate::ipc::ends::{BrokerChannels, LISTENER_COMMAND};
use crate::ipc::hooks::{RUNNER_COMMAND, Task};
use crate::log::{Format, Level};

/// Starts the listener; its ends are its standard input and output.
pub(super) fn start_listener(config: &Path) -> io::Result<(Child, BrokerChannels)> {
    let (requests, its_requests) = Channel::pair()?;
    let (news, its_news) = Channel::pair()?;
    // Not by its name: the program may have been replaced since, and both must be of one version.
    let child = Command::new("/proc/self/exe")
        .arg0("spa-server")
        .arg(LISTENER_COMMAND)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::from(its_requests.into_fd()))
        .stdout(Stdio::from(its_news.into_fd()))
        // Readiness is the broker's to tell.
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .spawn()?;
    Ok((child, BrokerChannels { requests, news }))
}

/// Starts the runner, before the broker gives up what it needs for that.
pub(super) fn start_runner(format: Format, level: Level) -> io::Result<(Child, Channel)> {
    let (jobs, its_jobs) = Channel::pair()?;
    let child = Command::new("/proc/self/exe")
        .arg0("spa-server")
        .arg(RUNNER_COMMAND)
        .stdin(Stdio::from(its_jobs.into_fd()))
        .stdout(Stdio::null())
        .env_clear()
        .spawn()?;
    jobs.send(&Task::ConfigureLog { format, level }, &[])?;
    Ok((child, jobs))
}

/// Describes how a child ended.
pub(super) fn describe_exit(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => nix::sys::signal::Signal::try_from(signal)
            .map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned()),
        (None, None) => "an unknown status".to_owned(),
    }
}
