//! Client of the control socket: asks the running server.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use spa_keys::{Failure, exit, printable};

use super::response::{RefusalBody, not_understood};
use super::{Command, PROTOCOL_VERSION, Question, Response};

/// Longest wait for a response: a reload of very many clients takes its time.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to the server.
pub(crate) struct Connection {
    stream: BufReader<UnixStream>,
}

impl Connection {
    /// Connects; `None` when no server runs.
    ///
    /// # Errors
    /// What is wrong with the socket.
    pub(crate) fn connect(socket: &Path) -> Result<Option<Self>, Failure> {
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
        stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
        stream.set_write_timeout(Some(RESPONSE_TIMEOUT))?;
        Ok(Some(Self { stream: BufReader::new(stream) }))
    }

    /// Sends a request and reads the response.
    ///
    /// # Errors
    /// The server's refusal with its exit code, or what came in place of an answer.
    pub(crate) fn request<T: DeserializeOwned + Serialize>(
        &mut self,
        command: Command,
    ) -> Result<T, Failure> {
        self.request_raw(command)?.read_body()
    }

    /// Sends a request and hands over the response as it came.
    ///
    /// # Errors
    /// As [`Connection::request`].
    pub(crate) fn request_raw(&mut self, command: Command) -> Result<Response, Failure> {
        let question = serde_json::to_string(&Question { version: PROTOCOL_VERSION, command })
            .map_err(|error| Failure::failed(error.to_string()))?;
        let mut line = String::new();
        // Whoever refuses us at the door answers without reading: then the write fails, and the
        // answer is there.
        let written = writeln!(self.stream.get_mut(), "{question}");
        let read = self.stream.read_line(&mut line);
        match (read, written) {
            (Ok(1..), _) => read_response(&line),
            (Ok(0), Ok(())) => {
                Err(Failure::failed("the server closed the connection without an answer"))
            }
            (Err(error), _) if error.kind() == ErrorKind::ConnectionReset => Err(Failure::failed(
                "the server ended during the request; its log says why: journalctl -u spa-server",
            )),
            (Err(error), Ok(()))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                Err(Failure::failed(format!(
                    "the server has not answered for {} s",
                    RESPONSE_TIMEOUT.as_secs()
                )))
            }
            (_, Err(error)) | (Err(error), _) => Err(error.into()),
        }
    }
}

impl Connection {
    /// Asks page by page until there is no next one; all rows come together under `name`.
    ///
    /// # Errors
    /// As [`Connection::request_raw`].
    pub(crate) fn ask_pages(
        &mut self,
        name: &str,
        page: impl Fn(Option<String>) -> Result<Command, Failure>,
    ) -> Result<Response, Failure> {
        let mut rows = Vec::new();
        let mut after = None;
        loop {
            let mut answer = self.request_raw(page(after)?)?;
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

/// The answer in a line, if it is a good one.
fn read_response(line: &str) -> Result<Response, Failure> {
    // The version first: another one may answer in another form.
    let value: Value =
        serde_json::from_str(line).map_err(|error| not_understood(&error.to_string()))?;
    let version = value.get("version").and_then(Value::as_u64);
    let answer = Response::deserialize(value);
    if version.is_some_and(|version| version != u64::from(PROTOCOL_VERSION)) {
        return Err(Failure::failed(format!(
            "the running server speaks version {} of the control socket, this program ({}) version \
             {PROTOCOL_VERSION}: after an \
             upgrade restart the server: systemctl restart spa-server",
            version.unwrap_or(0),
            env!("CARGO_PKG_VERSION")
        )));
    }
    let answer = answer.map_err(|error| not_understood(&error.to_string()))?;
    if answer.ok {
        return Ok(answer);
    }
    let RefusalBody { error, exit_code } = answer.read_refusal()?;
    let text = error.unwrap_or_else(|| "the server refused".to_owned());
    let text: Vec<String> = text.lines().map(|line| printable(line).to_string()).collect();
    let code = exit_code.and_then(|code| u8::try_from(code).ok());
    // A refusal is no success, whatever it says.
    let code = code.filter(|code| *code != exit::OK).unwrap_or(exit::FAILURE);
    Err(Failure::new(code, text.join("\n")))
}

/// Asks; `None` when no server runs.
///
/// # Errors
/// The server's refusal, or what is wrong with the socket.
pub(crate) fn request<T: DeserializeOwned + Serialize>(
    socket: &Path,
    command: Command,
) -> Result<Option<T>, Failure> {
    Connection::connect(socket)?.map(|mut line| line.request(command)).transpose()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::control::rows::{GrantsClosed, ReloadDone};

    #[test]
    fn a_newer_server_may_say_more_and_not_less() {
        let grant = r#"{"grant":"g1","client":"a","service":"b","source":"192.0.2.1","colour":1}"#;
        let line = format!(r#"{{"version":1,"ok":true,"closed":[{grant}],"more":{{}}}}"#);
        let closed: GrantsClosed = read_response(&line).unwrap().read_body().unwrap();
        assert_eq!(closed.closed.first().unwrap().service, "b");
        for (line, words) in [
            (line.replace(r#""service":"b","#, ""), "not understood: missing field `service`"),
            (line.replace(r#""closed""#, r#""close""#), "not understood: missing field `closed`"),
            (line.replace("192.0.2.1", "here"), "not understood: invalid IP address"),
        ] {
            let failure = read_response(&line).unwrap().read_body::<GrantsClosed>().unwrap_err();
            assert!(failure.to_string().contains(words), "{failure}");
        }
    }

    #[test]
    fn answers() {
        let response = read_response(r#"{"version":1,"ok":true,"clients":2}"#).unwrap();
        let done: ReloadDone = response.read_body().unwrap();
        assert_eq!(done, ReloadDone { clients: 2, note: None });
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
            let failure = read_response(line).unwrap_err();
            assert_eq!(failure.code, code, "{line}");
            assert!(failure.to_string().contains(words), "{line}: {failure}");
        }
    }
}
