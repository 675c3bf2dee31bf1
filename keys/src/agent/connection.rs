//! The connection to an agent. Everything that it says is bounded in size and time: it may be
//! another machine's, by agent forwarding.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::error::AgentError;
use super::wire::{Exchange, SSH_AGENT_FAILURE};

/// The largest answer, `AGENT_MAX_LEN` of OpenSSH's authfd.c.
const MAX_ANSWER_BYTES: u32 = 256 * 1024;
/// Time that an agent may take to list its keys.
pub(super) const LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// Time that an agent may take to sign: a touch or a confirmation takes its time, but the server
/// takes no knock that is older than 30 seconds.
pub(super) const SIGN_TIMEOUT: Duration = Duration::from_secs(25);

/// Returns the path where the agent listens.
pub(super) fn socket_path() -> Result<PathBuf, AgentError> {
    let named = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
    named.map(PathBuf::from).ok_or(AgentError::NoAgent)
}

/// Sends one request and returns the content of the answer, which must have the wanted number;
/// `None` when the agent refuses.
pub(super) fn send_request(
    exchange: Exchange,
    content: &[u8],
    time: Duration,
) -> Result<Option<Vec<u8>>, AgentError> {
    let path = socket_path()?;
    let end = Instant::now() + time;
    let gone = |source: io::Error| match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AgentError::Slow(time),
        _ => AgentError::Gone { path: path.clone(), source },
    };
    let mut stream = UnixStream::connect(&path).map_err(gone)?;
    let mut message = u32::try_from(content.len() + 1).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    message.push(exchange.request);
    message.extend_from_slice(content);
    stream.set_write_timeout(Some(time)).map_err(gone)?;
    stream.write_all(&message).map_err(gone)?;

    let mut head = [0; 5];
    read_until(&mut stream, &mut head, end).map_err(gone)?;
    let [a, b, c, d, answer] = head;
    let len = u32::from_be_bytes([a, b, c, d]);
    if len == 0 || len > MAX_ANSWER_BYTES {
        return Err(AgentError::Protocol("an answer of an impossible length"));
    }
    let mut content = vec![0; usize::try_from(len - 1).unwrap_or(0)];
    read_until(&mut stream, &mut content, end).map_err(gone)?;
    match answer {
        SSH_AGENT_FAILURE => Ok(None),
        _ if answer == exchange.answer => Ok(Some(content)),
        _ => Err(AgentError::Protocol("an answer to another question")),
    }
}

/// Fills the buffer before `end`; an agent that sends one byte a second does not get more time by
/// it.
fn read_until(stream: &mut UnixStream, mut buffer: &mut [u8], end: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => buffer = buffer.get_mut(len..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
