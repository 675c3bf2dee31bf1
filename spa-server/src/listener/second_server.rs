//! Other servers with the same key on this machine: what one of them has let in, another lets in
//! once more, because each has a replay record of its own.
//!
//! A server holds an abstract Unix socket (unix(7)) in the network namespace, whose name tells the
//! key and one of a few numbers. It connects to all others of the key and stays connected, so each
//! two of them learn of each other, and of their ends.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use spa_keys::Fingerprint;
use spa_proto::ServerPublic;
use tokio::io::AsyncReadExt;

use super::retry::{is_in_use, retry_while_taken};
use crate::log::{self, Level};

/// Servers of the same key that hold a socket each; more are as bad.
const MAX_SERVERS: u32 = 16;

/// A watch for other servers of the same key.
pub(super) struct SecondServerWatch {
    listener: Option<UnixListener>,
    /// Connections to servers that were there before.
    met: Vec<UnixStream>,
    second_servers: SecondServers,
}

/// Connections to others, by their processes: two that start at once meet twice.
#[derive(Clone, Default)]
struct SecondServers(Arc<Mutex<HashMap<i32, u32>>>);

impl SecondServers {
    fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// One more connection; true: the first to this process.
    fn add(&self, pid: i32) -> bool {
        let mut second_servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = second_servers.entry(pid).or_default();
        *connections += 1;
        *connections == 1
    }

    /// One less; true: the last one.
    fn remove(&self, pid: i32) -> bool {
        let mut second_servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = second_servers.get_mut(&pid).map_or(0, |connections| {
            *connections = connections.saturating_sub(1);
            *connections
        });
        if left == 0 {
            second_servers.remove(&pid);
        }
        left == 0
    }
}

impl SecondServerWatch {
    /// Takes a place of the key, and finds out who has the others. Before the process gives up the
    /// right to make sockets.
    pub(super) fn open(server: &ServerPublic) -> Self {
        let unknown = |error: io::Error| {
            log::event(Level::Warn, "second-server-unknown").with("error", error).emit();
        };
        let mut this =
            Self { listener: None, met: Vec::new(), second_servers: SecondServers::default() };
        let mut own = None;
        for number in 0..MAX_SERVERS {
            // The process that this one takes the place of may be about to end.
            let held = if number == 0 {
                retry_while_taken(|| hold_place(server, number), is_in_use)
            } else {
                hold_place(server, number)
            };
            match held {
                Ok(listener) => (this.listener, own) = (Some(listener), Some(number)),
                Err(error) if is_in_use(&error) => continue,
                Err(error) => unknown(error),
            }
            break;
        }
        // After its own place is taken: of two that start at once one at least finds the other.
        for number in (0..MAX_SERVERS).filter(|number| Some(*number) != own) {
            match place_address(server, number).and_then(|place| UnixStream::connect_addr(&place)) {
                Ok(stream) => this.met.push(stream),
                // Nobody is there.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => unknown(error),
            }
        }
        this
    }

    /// Number of other servers of this key that run now.
    pub(super) fn count(&self) -> u64 {
        self.second_servers.count()
    }

    /// Begins to watch, on the runtime of the caller.
    ///
    /// # Errors
    /// The runtime does not take a socket.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        for stream in self.met.drain(..) {
            stream.set_nonblocking(true)?;
            let stream = tokio::net::UnixStream::from_std(stream)?;
            tokio::spawn(watch_second_server(stream, self.second_servers.clone()));
        }
        let Some(listener) = self.listener.take() else { return Ok(()) };
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let second_servers = self.second_servers.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if second_servers.count() < u64::from(MAX_SERVERS) {
                    tokio::spawn(watch_second_server(stream, second_servers.clone()));
                }
            }
        });
        Ok(())
    }
}

fn place_address(server: &ServerPublic, number: u32) -> io::Result<SocketAddr> {
    let name = format!("spa-server {} {number}", Fingerprint::from(server));
    SocketAddr::from_abstract_name(name)
}

fn hold_place(server: &ServerPublic, number: u32) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&place_address(server, number)?)
}

/// Counts the server at the other end as long as it is there.
async fn watch_second_server(mut stream: tokio::net::UnixStream, second_servers: SecondServers) {
    // Any local user can take the name or connect; only who could be a server is believed.
    let own = nix::unistd::geteuid().as_raw();
    let Ok(peer) = getsockopt(&stream, PeerCredentials) else { return };
    if peer.uid() != 0 && peer.uid() != own {
        return;
    }
    let pid = peer.pid();
    if second_servers.add(pid) {
        log::event(Level::Error, "second-server")
            .with("pid", pid)
            .with("cause", "it has the same key and accepts knocks that this one has accepted")
            .emit();
    }
    // Nothing is ever said: this ends with the other process.
    let _end = stream.read(&mut [0; 1]).await;
    if second_servers.remove(pid) {
        log::event(Level::Info, "second-server-ended").with("pid", pid).emit();
    }
}
