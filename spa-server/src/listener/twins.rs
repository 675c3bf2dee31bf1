//! Other servers with the same key on this machine: what one of them has let in, another lets in
//! once more, because each has a replay record of its own.
//!
//! The first server of a key holds an abstract Unix socket (unix(7)) whose name tells the key, in
//! the network namespace. A later one connects to it and stays connected, so each learns of the
//! other, and of its end. Which of two later ones are left when the first is gone, nobody notices.

use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use spa_keys::Fingerprint;
use spa_proto::ServerPublic;
use tokio::io::AsyncReadExt;

use super::retry::{is_in_use, retry_while_taken};
use crate::log::{self, Level};

/// Servers of the same key that are told apart; more are as bad.
const MAX_TWINS: u64 = 16;

/// The place of a key on this machine.
enum KeyPlace {
    Held(UnixListener),
    /// Another server holds it.
    Taken(UnixStream),
}

/// A watch for other servers of the same key.
pub(super) struct TwinWatch {
    place: Option<KeyPlace>,
    count: Arc<AtomicU64>,
}

impl TwinWatch {
    /// Takes the place of a key, or finds out who has it. Before the process gives up the right to
    /// make sockets.
    pub(super) fn open(server: &ServerPublic) -> Self {
        let place = retry_while_taken(|| hold_key(server), is_in_use)
            .or_else(|error| if is_in_use(&error) { meet_holder(server) } else { Err(error) });
        let place = place.inspect_err(|error| {
            log::event(Level::Warn, "second-server-unknown").with("error", error).emit();
        });
        Self { place: place.ok(), count: Arc::default() }
    }

    /// Number of other servers of this key that run now.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Begins to watch, on the runtime of the caller.
    ///
    /// # Errors
    /// The runtime does not take the socket.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        match self.place.take() {
            None => {}
            Some(KeyPlace::Taken(stream)) => {
                stream.set_nonblocking(true)?;
                let stream = tokio::net::UnixStream::from_std(stream)?;
                tokio::spawn(watch_twin(stream, Arc::clone(&self.count)));
            }
            Some(KeyPlace::Held(listener)) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                let count = Arc::clone(&self.count);
                tokio::spawn(async move {
                    while let Ok((stream, _)) = listener.accept().await {
                        if count.load(Ordering::Relaxed) < MAX_TWINS {
                            tokio::spawn(watch_twin(stream, Arc::clone(&count)));
                        }
                    }
                });
            }
        }
        Ok(())
    }
}

fn key_address(server: &ServerPublic) -> io::Result<SocketAddr> {
    let name = format!("spa-server {}", Fingerprint::from(server));
    SocketAddr::from_abstract_name(name)
}

fn hold_key(server: &ServerPublic) -> io::Result<KeyPlace> {
    UnixListener::bind_addr(&key_address(server)?).map(KeyPlace::Held)
}

fn meet_holder(server: &ServerPublic) -> io::Result<KeyPlace> {
    match UnixStream::connect_addr(&key_address(server)?) {
        Ok(stream) => Ok(KeyPlace::Taken(stream)),
        // It ended meanwhile.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => hold_key(server),
        Err(error) => Err(error),
    }
}

/// Counts the server at the other end as long as it is there.
async fn watch_twin(mut stream: tokio::net::UnixStream, count: Arc<AtomicU64>) {
    // Any local user can take the name or connect; only who could be a server is believed.
    let own = nix::unistd::geteuid().as_raw();
    let Ok(peer) = getsockopt(&stream, PeerCredentials) else { return };
    if peer.uid() != 0 && peer.uid() != own {
        return;
    }
    count.fetch_add(1, Ordering::Relaxed);
    log::event(Level::Error, "second-server")
        .with("pid", peer.pid())
        .with("cause", "it has the same key and accepts knocks that this one has accepted")
        .emit();
    // Nothing is ever said: this ends with the other process.
    let _end = stream.read(&mut [0; 1]).await;
    count.fetch_sub(1, Ordering::Relaxed);
    log::event(Level::Info, "second-server-ended").with("pid", peer.pid()).emit();
}
