//! A session on the wire: its packets out, its answers in.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use spa_proto::{Answer, MAX_PACKET, Session};

use super::icmp::IcmpError;
use crate::plan::session_keys::SessionKeys;

/// A session and the socket that all its packets leave from.
pub(crate) struct LiveSession {
    /// Packets and keys of the session.
    pub(super) session: Session,
    /// Keys of client and server that made it.
    pub(super) keys: Arc<SessionKeys>,
    /// Socket bound to the address that all its packets leave from.
    pub(super) socket: UdpSocket,
    /// The server, whichever its port.
    pub(super) target: SocketAddr,
    /// CONFIRMs made so far; the last one's number.
    pub(super) confirms: u8,
}

/// Incoming message.
pub(super) enum Received {
    /// An answer to this session.
    Answer(Answer),
    /// An error that somebody on the way has reported.
    Icmp(IcmpError),
}

impl LiveSession {
    /// Sends one datagram to a port of the server. An error that the network has reported on an
    /// earlier one takes the place of the first try: a server that refuses as a closed port does
    /// would cost every second stage.
    ///
    /// # Errors
    /// It was not sent.
    pub(super) fn send(&self, port: u16, packet: &[u8]) -> io::Result<usize> {
        let mut to = self.target;
        to.set_port(port);
        self.socket.send_to(packet, to).or_else(|_| self.socket.send_to(packet, to))
    }

    /// Sends a CONFIRM to the last stage's port. One that is lost here is as good as lost on the
    /// way: it is sent again.
    pub(super) fn send_confirm(&self, confirm: &[u8]) {
        if let Some((port, _)) = self.session.packets().last() {
            let _lost = self.send(*port, confirm);
        }
    }

    /// Sends the last stage again: each answer to it tells where it came from.
    pub(super) fn repeat_last_stage(&self) {
        if let Some((port, packet)) = self.session.packets().last() {
            let _lost = self.send(*port, packet);
        }
    }

    /// Receives what concerns the session, if it comes in time. Whatever else arrives is ignored:
    /// anybody can send to this port.
    ///
    /// # Errors
    /// The socket fails.
    pub(super) fn receive(&self, until: Instant) -> io::Result<Option<Received>> {
        // Longer than any answer, and so than what was cut off.
        let mut buffer = [0; MAX_PACKET];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left))?;
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) if from.ip() == self.target.ip() => {
                    let answer = self.session.open_answer(buffer.get(..len).unwrap_or_default());
                    if let Some(answer) = answer.filter(|one| one.ack.number <= self.confirms) {
                        return Ok(Some(Received::Answer(answer)));
                    }
                }
                Ok(_) => {}
                Err(error) => match IcmpError::of(error.kind()) {
                    Some(told) => return Ok(Some(Received::Icmp(told))),
                    None if is_transient(&error) => {}
                    None => return Err(error),
                },
            }
        }
    }
}

/// Returns true for errors that say nothing about the rest of the session.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}
