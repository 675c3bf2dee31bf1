//! `spa join` and `spa rotate`: they knock, which is `spa-client`'s work.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use spa_keys::Failure;

use crate::command::source;

/// Becomes `spa-client join -`, with the line on its standard input: other users can see arguments.
pub(crate) fn run_join(line: &str, rest: &[OsString]) -> Result<(), Failure> {
    let text = source::read_argument(line, "spa join - (and paste it)")?;
    let (reader, mut writer) = std::io::pipe()?;
    // A line is much shorter than a pipe: nobody reads yet.
    writer.write_all(text.expose().as_bytes())?;
    drop(writer);
    let mut command = client_command();
    command.args(["join", "-"]).args(rest).stdin(Stdio::from(reader));
    Err(exec_command(command))
}

/// Becomes `spa-client rotate`.
pub(crate) fn run_rotate(rest: &[OsString]) -> Result<(), Failure> {
    let mut command = client_command();
    command.arg("rotate").args(rest);
    Err(exec_command(command))
}

/// The one beside this program, else the one in the path.
fn client_command() -> Command {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name("spa-client"));
    Command::new(beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("spa-client")))
}

fn exec_command(mut command: Command) -> Failure {
    let error = command.exec();
    Failure::failed(format!("spa-client: {error}; it knocks for `spa`: install it beside `spa`"))
}
