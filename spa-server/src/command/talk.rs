//! Asking the running server through its control socket.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use spa_keys::exit;

use crate::daemon::control::{Answer, Command, Question, VERSION};
use spa_keys::Failure;

/// A reload of very many clients takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks; `None` when no server runs.
///
/// # Errors
/// The server's refusal, or what is wrong with the socket.
pub(super) fn ask(socket: &Path, command: Command) -> Result<Option<Answer>, Failure> {
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => {
            let failure = Failure::from(error);
            return Err(Failure { text: format!("{}: {failure}", socket.display()), ..failure });
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let question = serde_json::to_string(&Question { version: VERSION, command })
        .map_err(|error| Failure::failed(error.to_string()))?;
    writeln!(stream, "{question}")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let answer: Answer = serde_json::from_str(&line)
        .map_err(|error| Failure::failed(format!("the server's answer is not understood: {error}")))?;
    if answer.ok {
        return Ok(Some(answer));
    }
    let text = answer.body.get("error").and_then(|error| error.as_str()).unwrap_or("the server refused");
    Err(Failure::failed(text))
}

/// As [`ask`], for commands that make no sense without a running server.
///
/// # Errors
/// As [`ask`], and exit code 3 when no server runs.
pub(super) fn must_ask(socket: &Path, command: Command) -> Result<Answer, Failure> {
    ask(socket, command)?.ok_or_else(|| Failure {
        code: exit::UNREACHABLE,
        text: format!(
            "no server answers at {}; start it: systemctl start spa-server, or spa-server run --config FILE",
            socket.display()
        ),
    })
}
