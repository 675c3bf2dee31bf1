//! The control socket: one JSON object per line, asked and answered. `docs/control.md` lists the commands.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::store::audit::Query;

/// Version of the conversation.
pub const VERSION: u32 = 1;
/// Longest line that is read, bytes.
const LINE_LIMIT: u64 = 64 * 1024;
/// A peer that says nothing for this long is let go.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a peer asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// How the server is.
    Status,
    /// Read configuration and clients anew.
    Reload,
    /// Grants of before and now, a page of them.
    Audit(Query),
}

/// A question with the version that it is asked in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// [`VERSION`].
    pub version: u32,
    /// The command.
    #[serde(flatten)]
    pub command: Command,
}

/// An answer: `ok`, and either what was asked for or why not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// [`VERSION`].
    pub version: u32,
    /// Whether it worked.
    pub ok: bool,
    /// What was asked for, or `{"error": "…"}`.
    #[serde(flatten)]
    pub body: serde_json::Map<String, serde_json::Value>,
}

impl Answer {
    /// A good answer from a value that is an object.
    #[must_use]
    pub fn good(value: serde_json::Value) -> Self {
        let body = match value {
            serde_json::Value::Object(body) => body,
            _ => serde_json::Map::new(),
        };
        Self { version: VERSION, ok: true, body }
    }

    /// A refusal.
    #[must_use]
    pub fn bad(text: impl Into<String>) -> Self {
        let mut body = serde_json::Map::new();
        body.insert("error".to_owned(), text.into().into());
        Self { version: VERSION, ok: false, body }
    }
}

/// A question on its way to the server's loop, with the place for the answer.
pub(super) type Asked = (Command, oneshot::Sender<Answer>);

/// Binds the socket. A stale one of a dead server is replaced, a live one is not.
pub(super) fn bind(path: &Path) -> std::io::Result<UnixListener> {
    if let Ok(meta) = std::fs::symlink_metadata(path) {
        if !meta.file_type().is_socket() {
            return Err(std::io::Error::other(format!("{} is there and is no socket", path.display())));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(std::io::Error::other(format!(
                "another spa-server answers at {}: stop it first, or give this one its own [server] control",
                path.display()
            )));
        }
        std::fs::remove_file(path)?;
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Talks with one peer until it goes.
pub(super) async fn serve(stream: UnixStream, asked: mpsc::Sender<Asked>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    loop {
        let mut line = String::new();
        let mut bounded = (&mut lines).take(LINE_LIMIT);
        match tokio::time::timeout(PATIENCE, bounded.read_line(&mut line)).await {
            Ok(Ok(1..)) => {}
            _ => return,
        }
        let answer = answer(&line, &asked).await;
        let Ok(mut text) = serde_json::to_string(&answer) else { return };
        text.push('\n');
        if !matches!(tokio::time::timeout(PATIENCE, write.write_all(text.as_bytes())).await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn answer(line: &str, asked: &mpsc::Sender<Asked>) -> Answer {
    let question: Question = match serde_json::from_str(line) {
        Ok(question) => question,
        Err(error) => return Answer::bad(format!("not understood: {error}")),
    };
    if question.version != VERSION {
        return Answer::bad(format!("this server speaks version {VERSION}, not {}", question.version));
    }
    let (sender, receiver) = oneshot::channel();
    if asked.send((question.command, sender)).await.is_err() {
        return Answer::bad("the server is stopping");
    }
    receiver.await.unwrap_or_else(|_| Answer::bad("the server is stopping"))
}
