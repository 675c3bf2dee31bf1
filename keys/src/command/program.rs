//! The commands of `spa` that knock: they become `spa-client`.

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use spa_keys::{Failure, kind_of};

/// Most bytes of a line that is handed on: what every pipe holds (PIPE_BUF), several times a line.
const MAX_LINE_BYTES: usize = 4096;

/// Becomes `spa-client join`. A line among the arguments goes to its standard input: other users
/// can see arguments.
pub(crate) fn run_join(line: &OsStr, rest: &[OsString]) -> Result<(), Failure> {
    let mut command = client_command();
    if let Some(text) = line.to_str().filter(|text| kind_of(text).is_some()) {
        let text = spa_keys::read_argument(text, "spa join -")?;
        if text.expose().len() > MAX_LINE_BYTES {
            return Err(Failure::failed(format!(
                "got {} characters, and a line has {MAX_LINE_BYTES} at most: paste the one line \
                 that the server printed",
                text.expose().len()
            )));
        }
        let (reader, mut writer) = std::io::pipe()?;
        // Nobody reads yet.
        writer.write_all(text.expose().as_bytes())?;
        command.args(["join", "-"]).stdin(Stdio::from(reader));
    } else {
        command.arg("join").arg(line);
    }
    command.args(rest);
    Err(exec_command(command))
}

/// Becomes the command `name` of `spa-client`.
pub(crate) fn run_client(name: &str, rest: &[OsString]) -> Result<(), Failure> {
    let mut command = client_command();
    command.arg(name).args(rest);
    Err(exec_command(command))
}

/// The one beside this program, else the one in the path.
fn client_command() -> Command {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name("spa-client"));
    Command::new(beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("spa-client")))
}

fn exec_command(mut command: Command) -> Failure {
    let error = command.exec();
    if error.kind() == ErrorKind::NotFound {
        return Failure::failed(
            "spa-client is not installed: it knocks for `spa`; install it beside `spa` or in PATH",
        );
    }
    Failure::failed(format!("spa-client: {error}; it knocks for `spa`"))
}
