//! What the engine wants done, and what it tells the log.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use spa_proto::{ACK_LEN, Reason, SessionId};

use crate::grant::{Grant, GrantId};

/// One thing to do. Carried out in the order in which they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make durable that every time stamp up to this one (unix ms) is spent, then call `recorded`.
    Record(u64),
    /// Open the firewall, then call `opened` with the session.
    Open {
        /// Whose outcome it is.
        session: SessionId,
        /// What to open.
        grant: Grant,
    },
    /// Close grants, then call `closed` with the session.
    Close {
        /// Whose outcome it is.
        session: SessionId,
        /// Which.
        grants: Vec<GrantId>,
    },
    /// Tell the firewall that a source is in the middle of a sequence.
    InSequence {
        /// The source.
        source: IpAddr,
        /// For how long.
        ttl: Duration,
    },
    /// Send an ack.
    Ack {
        /// From this address and port of ours: the one that was knocked at.
        from: SocketAddr,
        /// To the observed source.
        to: SocketAddr,
        /// The datagram.
        bytes: [u8; ACK_LEN],
    },
    /// Write one log line.
    Log(Event),
}

/// Kind of an authenticated event; its word is the `event` field of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A knock opened the firewall.
    Granted,
    /// A knock opened it anew while it was open.
    Renewed,
    /// A signed close ended a grant.
    Closed,
    /// Policy said no.
    Denied,
    /// The time stamp was outside the window or behind the fence.
    Stale,
    /// A spent session came again.
    Replay,
    /// A session's packets came from a second address.
    OtherSource,
    /// Authentic for the pair, but the signature is wrong: bound to another source, or made with a stolen pair key.
    BadSignature,
    /// Firewall or store failed.
    Failed,
    /// A session was begun and not finished in time.
    TimedOut,
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Granted => "granted",
            Self::Renewed => "renewed",
            Self::Closed => "closed",
            Self::Denied => "denied",
            Self::Stale => "stale",
            Self::Replay => "replay",
            Self::OtherSource => "other-source",
            Self::BadSignature => "bad-signature",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
        })
    }
}

/// One line of the log. Only packets that passed the AEAD make one; strangers are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The client.
    pub client: Arc<str>,
    /// The service, if the request named one that exists.
    pub service: Option<Arc<str>>,
    /// Observed source.
    pub source: IpAddr,
    /// Client's time stamp minus our clock, milliseconds.
    pub skew_ms: i64,
    /// Why.
    pub reason: Reason,
    /// The grant, when there is one.
    pub grant: Option<GrantId>,
    /// For how long.
    pub ttl: Option<Duration>,
    /// More words, for a failure.
    pub detail: Option<String>,
    /// The user id of the administrator who did it; `None`: a knock did.
    pub by: Option<u32>,
}
