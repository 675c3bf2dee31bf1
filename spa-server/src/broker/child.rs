//! Processes that the broker starts. Each is the same binary, started anew, so that nothing of the
//! broker's memory is in it.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus};

use nix::sys::signal::Signal;

/// This program, with a hidden command. Not by its name: it may have been replaced since, and all
/// processes must be of one version.
pub(super) fn own_program(command: &str) -> Command {
    let mut own = Command::new("/proc/self/exe");
    own.arg0("spa-server").arg(command);
    own
}

/// Describes how a child ended.
pub(super) fn describe_exit(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => Signal::try_from(signal)
            .map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned()),
        (None, None) => "an unknown status".to_owned(),
    }
}
