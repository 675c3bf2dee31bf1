//! The journal's native protocol (systemd's JOURNAL_NATIVE_PROTOCOL document): one datagram per
//! event.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::event::{FieldValue, Record};

/// Where journald listens (systemd-journald.service(8)).
pub(crate) const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// Connects to journald's socket; sends never block.
pub(super) fn connect_journal(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    // A journal that does not keep up must not stop the daemon: such events are lost.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The datagram: PRIORITY, SYSLOG_IDENTIFIER, MESSAGE and one `SPA_…` field per key.
pub(super) fn encode_datagram(event: &Record, message: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    push_field(&mut out, "PRIORITY", &event.level.priority().to_string());
    push_field(&mut out, "SYSLOG_IDENTIFIER", "spa-server");
    push_field(&mut out, "MESSAGE", message);
    push_field(&mut out, "SPA_EVENT", event.name);
    for (key, value) in &event.fields {
        let name = format!("SPA_{}", key.to_ascii_uppercase().replace('-', "_"));
        match value {
            FieldValue::Number(n) => push_field(&mut out, &name, &n.to_string()),
            FieldValue::Text(text) => push_field(&mut out, &name, text),
        }
    }
    out
}

/// `NAME LF length (u64, little-endian) value LF`: the form in which no byte of a value can pass
/// for the start of another field.
fn push_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}
