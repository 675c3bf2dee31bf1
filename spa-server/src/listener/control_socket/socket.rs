//! The socket itself: bound once, a bounded number of peers at a time, each with bounded lines and
//! patience.

use std::collections::HashMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, umask};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::peer::SocketPeer;
use crate::control::{Command, LINE_LIMIT, Question, Response};
use crate::log::{self, Level};

/// A peer that says nothing, or does not read its answer, for this long is let go.
const PEER_TIMEOUT: Duration = Duration::from_secs(10);
/// Peers at a time, and those of one user. Root's come on top: the others cannot lock it out.
const MAX_PEERS: usize = 64;
const MAX_PEERS_PER_USER: usize = 16;
/// A user's next look at the server waits so many times as long as the last one took; root's does
/// not. What is looked at may be much: all bans, all grants, others' firewall rules.
const REST_FACTOR: u32 = 3;
/// And no longer than this.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// Time for which no peer is taken when the kernel cannot give one, as without free descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// One user's turn to look at the server.
type Turn = tokio::sync::Mutex<()>;

/// A question on its way to the server's loop, who asks, and the place for the answer.
pub(in crate::listener) struct PendingRequest {
    /// The command.
    pub(in crate::listener) command: Command,
    /// User id of the peer.
    pub(in crate::listener) by: u32,
    /// Where the response goes.
    pub(in crate::listener) answer: oneshot::Sender<Response>,
}

/// Binds the socket. A stale one of a dead server is replaced, a live one is not.
pub(in crate::listener) fn bind_socket(path: &Path) -> std::io::Result<UnixListener> {
    if let Ok(meta) = std::fs::symlink_metadata(path) {
        if !meta.file_type().is_socket() {
            return Err(std::io::Error::other(format!(
                "{} exists and is not a socket",
                path.display()
            )));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            let text = format!(
                "another spa-server answers at {}: stop it first, or give this one its own \
                 [server] control",
                path.display()
            );
            return Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, text));
        }
        std::fs::remove_file(path)?;
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // By the mask and not by the path: in a lesser user's folder the path may be a link by then.
    let before = umask(Mode::from_bits_truncate(0o117));
    let listener = UnixListener::bind(path);
    umask(before);
    listener
}

/// Connections of each user.
#[derive(Debug, Default)]
struct Peers(Mutex<HashMap<u32, UserPeers>>);

/// Connections of one user.
#[derive(Debug, Default)]
struct UserPeers {
    count: usize,
    /// Held while something is looked at for this user, and for a rest after it.
    turn: Arc<Turn>,
}

/// A place among the peers; free again when dropped.
struct PeerSlot {
    peers: Arc<Peers>,
    uid: u32,
    turn: Arc<Turn>,
}

impl Peers {
    fn take_slot(self: &Arc<Self>, uid: u32) -> Option<PeerSlot> {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = peers.values().map(|user| user.count).sum();
        let of_one = peers.get(&uid).map_or(0, |user| user.count);
        if of_one >= MAX_PEERS_PER_USER || (all >= MAX_PEERS && uid != 0) {
            return None;
        }
        let user = peers.entry(uid).or_default();
        user.count += 1;
        Some(PeerSlot { peers: Arc::clone(self), uid, turn: Arc::clone(&user.turn) })
    }
}

impl Drop for PeerSlot {
    fn drop(&mut self) {
        let mut peers = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(user) = peers.get_mut(&self.uid) {
            user.count -= 1;
            // While the user rests, a new connection must find the same turn.
            if user.count == 0 && Arc::strong_count(&user.turn) <= 2 {
                peers.remove(&self.uid);
            }
        }
    }
}

/// Takes peers for ever. `group`: of the socket, whose members may speak.
pub(in crate::listener) async fn accept_peers(
    listener: UnixListener,
    path: std::path::PathBuf,
    asked: mpsc::Sender<PendingRequest>,
) {
    let own = nix::unistd::geteuid().as_raw();
    // Of the bound file, before anybody can have been let in.
    let group = std::fs::metadata(&path).map_or(own, |meta| meta.gid());
    let peers = Arc::new(Peers::default());
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            continue;
        };
        tokio::spawn(admit_peer(stream, own, group, Arc::clone(&peers), asked.clone()));
    }
}

async fn admit_peer(
    stream: UnixStream,
    own: u32,
    group: u32,
    peers: Arc<Peers>,
    asked: mpsc::Sender<PendingRequest>,
) {
    let peer = match SocketPeer::of_socket(&stream) {
        Ok(peer) => peer,
        Err(error) => {
            log::event(Level::Warn, "control-refused").with("error", error).emit();
            return;
        }
    };
    let refusal = if !peer.may_speak(own, group) {
        log::event(Level::Warn, "control-refused").number("by", peer.uid).emit();
        Response::from_failure(&spa_keys::Failure::new(
            spa_keys::exit::PERMISSION,
            format!(
                "not permitted: the control socket is for root, the server's user and members of \
                 group {group}"
            ),
        ))
    } else if let Some(place) = peers.take_slot(peer.uid) {
        return serve_peer(stream, place, asked).await;
    } else {
        Response::from_error("too many connections to the control socket: close some, or wait")
    };
    let (_, mut write) = stream.into_split();
    let _gone = write_response(&mut write, &refusal).await;
}

/// Talks with one peer until it goes.
async fn serve_peer(stream: UnixStream, place: PeerSlot, asked: mpsc::Sender<PendingRequest>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    loop {
        let mut line = String::new();
        let mut bounded = (&mut lines).take(LINE_LIMIT);
        match tokio::time::timeout(PEER_TIMEOUT, bounded.read_line(&mut line)).await {
            Ok(Ok(1..)) => {}
            _ => return,
        }
        if !line.ends_with('\n') && line.len() as u64 >= LINE_LIMIT {
            // What follows is the middle of this line, not a question.
            let _gone = write_response(
                &mut write,
                &Response::from_error(format!("a line is at most {LINE_LIMIT} bytes")),
            )
            .await;
            return;
        }
        let answer = answer_line(&line, &place, &asked).await;
        if write_response(&mut write, &answer).await.is_none() {
            return;
        }
    }
}

async fn write_response(write: &mut OwnedWriteHalf, answer: &Response) -> Option<()> {
    let mut text = serde_json::to_string(answer).ok()?;
    text.push('\n');
    tokio::time::timeout(PEER_TIMEOUT, write.write_all(text.as_bytes())).await.ok()?.ok()
}

async fn answer_line(
    line: &str,
    place: &PeerSlot,
    asked: &mpsc::Sender<PendingRequest>,
) -> Response {
    let question = match Question::read(line) {
        Ok(question) => question,
        Err(failure) => return Response::from_failure(&failure),
    };
    let (command, by) = (question.command, place.uid);
    let turn = match by == 0 || command.changes_something() {
        true => None,
        false => Some(Arc::clone(&place.turn).lock_owned().await),
    };
    let begun = Instant::now();
    let (answer, receiver) = oneshot::channel();
    if asked.send(PendingRequest { command, by, answer }).await.is_err() {
        return Response::from_error("the server is stopping");
    }
    let response =
        receiver.await.unwrap_or_else(|_| Response::from_error("the server is stopping"));
    if let Some(turn) = turn {
        // Packets come after all requests: who asks without a pause would keep them waiting.
        let rest = (begun.elapsed() * REST_FACTOR).min(LONGEST_REST);
        tokio::spawn(async move {
            tokio::time::sleep(rest).await;
            drop(turn);
        });
    }
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_user_cannot_take_all_places() {
        let peers = Arc::new(Peers::default());
        let mut places: Vec<PeerSlot> = std::iter::from_fn(|| peers.take_slot(1000)).collect();
        assert_eq!(places.len(), MAX_PEERS_PER_USER);
        places.extend((1001..2000).filter_map(|uid| peers.take_slot(uid)));
        assert_eq!(places.len(), MAX_PEERS);
        places.extend(std::iter::from_fn(|| peers.take_slot(0)));
        assert_eq!(places.len(), MAX_PEERS + MAX_PEERS_PER_USER);
        places.drain(..2 * MAX_PEERS_PER_USER);
        assert!(peers.take_slot(1000).is_some());
        places.clear();
        assert!(peers.0.lock().unwrap().is_empty());
        // Who rests does so over a new connection.
        let rests = peers.take_slot(1000).map(|place| Arc::clone(&place.turn)).unwrap();
        let _rest = rests.clone().try_lock_owned().unwrap();
        assert!(peers.take_slot(1000).unwrap().turn.try_lock().is_err());
    }
}
