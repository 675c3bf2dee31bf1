//! Asking the running server through its control socket.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Deserialize as _;
use serde_json::{Map, Value};
use spa_keys::{Failure, exit, printable};

use super::{Config, output};
use crate::config;
use crate::config::surroundings;
use crate::control::{Answer, Command, Question, VERSION};

/// A reload of very many clients takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What every command that asks the server takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Asking {
    /// The server's answer as one JSON object
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    config: Config,
}

impl Asking {
    /// Where the server listens.
    pub(super) fn place(&self) -> Place {
        Place::of(&self.config)
    }

    /// Asks one question.
    ///
    /// # Errors
    /// As [`Place::connect`] and [`Line::ask`].
    pub(super) fn ask(&self, command: Command) -> Result<Answer, Failure> {
        self.place().connect()?.ask(command)
    }

    /// Asks and prints the answer, as text that `text` makes of it.
    pub(super) fn run(
        self,
        command: Command,
        text: impl FnOnce(&Value) -> String,
    ) -> Result<(), Failure> {
        let outcome = self.ask(command);
        self.tell(outcome, text).map(drop)
    }

    /// As [`Line::ask_pages`], and prints the answer.
    pub(super) fn run_pages(
        self,
        name: &str,
        page: impl Fn(Option<String>) -> Result<Command, Failure>,
        text: impl FnOnce(&Value) -> String,
    ) -> Result<(), Failure> {
        let outcome = self.place().connect().and_then(|mut line| line.ask_pages(name, page));
        self.tell(outcome, text).map(drop)
    }

    /// Prints an outcome. With `--json` a refusal is an object as well; its sentence goes to
    /// standard error in any case.
    pub(super) fn tell(
        &self,
        outcome: Result<Answer, Failure>,
        text: impl FnOnce(&Value) -> String,
    ) -> Result<Map<String, Value>, Failure> {
        if self.json {
            let refused = outcome.as_ref().err().map(Answer::refused);
            let answer = refused.as_ref().or(outcome.as_ref().ok());
            let json = serde_json::to_string(&answer)
                .map_err(|error| Failure::failed(error.to_string()))?;
            output::answer(&(json + "\n"))?;
            return outcome.map(|answer| answer.body);
        }
        let body = Value::Object(outcome?.body);
        output::answer(&text(&body))?;
        match body {
            Value::Object(body) => Ok(body),
            _ => Ok(Map::new()),
        }
    }
}

/// Where the server listens, by a configuration that need not be without fault.
#[derive(Debug, Clone)]
pub(super) struct Place {
    config: PathBuf,
    socket: PathBuf,
}

impl Place {
    /// Reads no more than the socket's place.
    pub(super) fn of(config: &Config) -> Self {
        let socket = config::control_socket(&config.config, &surroundings(true));
        Self { config: config.config.clone(), socket }
    }

    /// Connects with the running server.
    ///
    /// # Errors
    /// As [`Line::connect`]; when no server runs, what is wrong with the configuration, or exit
    /// code 3.
    pub(super) fn connect(&self) -> Result<Line, Failure> {
        if let Some(line) = Line::connect(&self.socket)? {
            return Ok(line);
        }
        config::load_alone(&self.config, &surroundings(true))
            .map_err(|findings| Failure::config(findings.to_string()))?;
        Err(Failure::new(
            exit::UNREACHABLE,
            format!(
                "no server answers at {}; start it: systemctl start spa-server, or spa-server run \
                 --config FILE",
                self.socket.display()
            ),
        ))
    }
}

/// A connection to the server.
pub(super) struct Line {
    stream: BufReader<UnixStream>,
}

impl Line {
    /// Connects; `None` when no server runs.
    ///
    /// # Errors
    /// What is wrong with the socket.
    pub(super) fn connect(socket: &Path) -> Result<Option<Self>, Failure> {
        let stream = match UnixStream::connect(socket) {
            Ok(stream) => stream,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
            {
                return Ok(None);
            }
            Err(error) => {
                let failure = Failure::from(error);
                let hint = if failure.code == exit::PERMISSION {
                    "; be root or a member of the socket's group (spa)"
                } else {
                    ""
                };
                return Err(
                    failure.map_problem(|problem| format!("{}: {problem}{hint}", socket.display()))
                );
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Some(Self { stream: BufReader::new(stream) }))
    }

    /// One question, one answer.
    ///
    /// # Errors
    /// The server's refusal with its exit code, or what came in place of an answer.
    pub(super) fn ask(&mut self, command: Command) -> Result<Answer, Failure> {
        let question = serde_json::to_string(&Question { version: VERSION, command })
            .map_err(|error| Failure::failed(error.to_string()))?;
        let mut line = String::new();
        // Whoever refuses us at the door answers without reading: then the write fails, and the
        // answer is there.
        let written = writeln!(self.stream.get_mut(), "{question}");
        let read = self.stream.read_line(&mut line);
        match (read, written) {
            (Ok(1..), _) => understood(&line),
            (Ok(0), Ok(())) => {
                Err(Failure::failed("the server closed the connection without an answer"))
            }
            (Err(error), _) if error.kind() == ErrorKind::ConnectionReset => Err(Failure::failed(
                "the server ended while it was asked; its log says why: journalctl -u spa-server",
            )),
            (Err(error), Ok(()))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                Err(Failure::failed(format!(
                    "the server has not answered for {} s",
                    PATIENCE.as_secs()
                )))
            }
            (_, Err(error)) | (Err(error), _) => Err(error.into()),
        }
    }
}

impl Line {
    /// Asks page by page until there is no next one; all rows come together under `name`.
    ///
    /// # Errors
    /// As [`Line::ask`].
    pub(super) fn ask_pages(
        &mut self,
        name: &str,
        page: impl Fn(Option<String>) -> Result<Command, Failure>,
    ) -> Result<Answer, Failure> {
        let mut rows = Vec::new();
        let mut after = None;
        loop {
            let mut answer = self.ask(page(after)?)?;
            match answer.body.remove(name) {
                Some(Value::Array(more)) => rows.extend(more),
                _ => return Err(not_understood(&format!("no `{name}`"))),
            }
            match answer.body.remove("next") {
                Some(Value::String(next)) => after = Some(next),
                _ => {
                    answer.body.insert(name.to_owned(), Value::Array(rows));
                    return Ok(answer);
                }
            }
        }
    }
}

fn not_understood(why: &str) -> Failure {
    Failure::failed(format!("the server's answer is not understood: {}", printable(why)))
}

/// The answer in a line, if it is a good one.
fn understood(line: &str) -> Result<Answer, Failure> {
    // The version first: another one may answer in another form.
    let value: Value =
        serde_json::from_str(line).map_err(|error| not_understood(&error.to_string()))?;
    let version = value.get("version").and_then(Value::as_u64);
    let answer = Answer::deserialize(value);
    if version.is_some_and(|version| version != u64::from(VERSION)) {
        return Err(Failure::failed(format!(
            "the running server speaks version {} of the control socket, this program ({}) version \
             {VERSION}: after an \
             upgrade restart the server: systemctl restart spa-server",
            version.unwrap_or(0),
            env!("CARGO_PKG_VERSION")
        )));
    }
    let answer = answer.map_err(|error| not_understood(&error.to_string()))?;
    if answer.ok {
        return Ok(answer);
    }
    let text = answer.body.get("error").and_then(Value::as_str).unwrap_or("the server refused");
    let text: Vec<String> = text.lines().map(|line| printable(line).to_string()).collect();
    let code = answer
        .body
        .get("exit-code")
        .and_then(Value::as_u64)
        .and_then(|code| u8::try_from(code).ok());
    // A refusal is no success, whatever it says.
    let code = code.filter(|code| *code != exit::OK).unwrap_or(exit::FAILURE);
    Err(Failure::new(code, text.join("\n")))
}

/// Asks; `None` when no server runs.
///
/// # Errors
/// The server's refusal, or what is wrong with the socket.
pub(super) fn ask(socket: &Path, command: Command) -> Result<Option<Answer>, Failure> {
    match Line::connect(socket)? {
        None => Ok(None),
        Some(mut line) => line.ask(command).map(Some),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn answers() {
        assert!(
            understood(r#"{"version":1,"ok":true,"clients":2}"#)
                .unwrap()
                .body
                .contains_key("clients")
        );
        for (line, code, words) in [
            ("", 1, "not understood"),
            ("{}", 1, "not understood: missing field `version`"),
            (
                r#"{"version":2,"state":"fine"}"#,
                1,
                "speaks version 2 of the control socket, this program",
            ),
            (r#"{"version":1,"ok":false}"#, 1, "the server refused"),
            (
                r#"{"version":1,"ok":false,"error":"no\u001b[2J","exit-code":78}"#,
                78,
                "no\\u{1b}[2J",
            ),
            (r#"{"version":1,"ok":false,"error":"no","exit-code":0}"#, 1, "no"),
            (r#"{"version":1,"ok":false,"error":"no","exit-code":999}"#, 1, "no"),
        ] {
            let failure = understood(line).unwrap_err();
            assert_eq!(failure.code, code, "{line}");
            assert!(failure.to_string().contains(words), "{line}: {failure}");
        }
    }
}
