//! Actions that the engine wants done, and events that it logs.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use spa_proto::{ClientPublic, Evidence, KemRandom, Psk, Reason, SessionId};

use crate::domain::datagram::ReplyPath;
use crate::domain::grant::{Grant, GrantId, RevokeReason};
use crate::domain::server_key::ServerKeyVersion;

/// Step of the wall clock against the monotonic one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockStep {
    /// Ahead, in milliseconds: from now on the past is unknown again.
    Ahead(u64),
    /// Back, in milliseconds.
    Back(u64),
}

/// One thing to do. Carried out in the order in which they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A session of this time stamp (unix ms) will probably be claimed soon. Needs no answer.
    ExpectClaim {
        /// Time stamp of the session, unix ms.
        ts_ms: u64,
    },
    /// Claim a session: nobody may ever let it in again. Then call
    /// [`Engine::apply_claim`](super::Engine::apply_claim).
    Claim {
        /// Whose outcome it is.
        session: SessionId,
        /// Time stamp of the session, unix ms.
        ts_ms: u64,
    },
    /// Open the firewall and end other grants of the session with their flows, then call
    /// `apply_open_outcome`.
    Open {
        /// Whose outcome it is.
        session: SessionId,
        /// The grant to open.
        grant: Grant,
        /// Grants of the same session for addresses that its client does not confirm.
        ends: Vec<GrantId>,
    },
    /// Close grants, then call `apply_close_outcome`.
    Close {
        /// Whose outcome it is.
        session: SessionId,
        /// Which.
        grants: Vec<GrantId>,
    },
    /// Make durable that new keys have taken the place of an invitation's or a client's, then call
    /// `apply_replace_outcome`.
    Replace {
        /// Whose outcome it is.
        session: SessionId,
        /// Which.
        keys: KeyReplacement,
    },
    /// A client has knocked with its new keys: the former ones may go.
    ConfirmKeys {
        /// Name of the client.
        client: Arc<str>,
    },
    /// While the server has two keys: by which of them a complete knock came.
    NoteServerKey {
        /// The client's signing key.
        client: [u8; 32],
        /// The server's key.
        by: ServerKeyVersion,
    },
    /// The wall clock has jumped.
    NoteClockStep(ClockStep),
    /// Close a grant that nobody may hold any more, then call `confirm_revocation`.
    Revoke(Revoked),
    /// Tell the firewall that a source is in the middle of a sequence.
    InSequence {
        /// The source.
        source: IpAddr,
        /// For how long.
        ttl: Duration,
    },
    /// Send an answer.
    Ack {
        /// Path back to where the datagram that it answers came from.
        reply_path: ReplyPath,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// Write one log line.
    Log(Event),
}

/// New keys in the place of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyReplacement {
    /// Name of the client that is or will be.
    pub client: Arc<str>,
    /// The old ones are an invitation's: they end at once.
    pub invited: bool,
    /// The old ones.
    pub old: ClientPublic,
    /// The new ones.
    pub new: ClientPublic,
    /// The new pair's key.
    pub psk: Psk,
    /// Random bytes behind its ML-KEM half, for whoever asks again.
    pub kem: Option<KemRandom>,
    /// That the holder of the old ones wants it.
    pub evidence: Evidence,
}

/// Keys of a client before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientKeyChange {
    /// Those before; `None`: it had an invitation.
    pub old: Option<ClientPublic>,
    /// Those that it has, or wanted to have.
    pub new: ClientPublic,
}

/// A grant whose ground is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Number of the grant.
    pub grant: GrantId,
    /// The client that held it.
    pub client: Arc<str>,
    /// The service that it opened.
    pub service: Arc<str>,
    /// Cause of the revocation.
    pub why: RevokeReason,
}

/// Kind of an authenticated event; its word is the `event` field of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A knock opened the firewall for a moment, until its client confirms the address.
    Provisional,
    /// A knock opened the firewall.
    Granted,
    /// A knock opened it anew while it was open.
    Renewed,
    /// A signed close ended a grant.
    Closed,
    /// An invitation became a client.
    Enrolled,
    /// A client has new keys.
    Rekeyed,
    /// Policy said no.
    Denied,
    /// The time stamp was outside the window or behind the fence.
    Stale,
    /// A spent session came again.
    Replay,
    /// A session's packets came from a second address.
    OtherSource,
    /// Authentic for the pair, but the signature is wrong: made with a stolen pair key.
    BadSignature,
    /// The client's budget of new sessions is spent: somebody holds its keys, or copies faster than
    /// it knocks.
    OverBudget,
    /// Firewall or store failed.
    Failed,
    /// A session was begun and not finished in time.
    TimedOut,
}

impl EventKind {
    /// The word that stands in the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Provisional => "provisional",
            Self::Granted => "granted",
            Self::Renewed => "renewed",
            Self::Closed => "closed",
            Self::Enrolled => "enrolled",
            Self::Rekeyed => "rekeyed",
            Self::Denied => "denied",
            Self::Stale => "stale",
            Self::Replay => "replay",
            Self::OtherSource => "other-source",
            Self::BadSignature => "bad-signature",
            Self::OverBudget => "over-budget",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One line of the log. Only packets that passed the AEAD make one; strangers are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Kind of the event.
    pub kind: EventKind,
    /// The client.
    pub client: Arc<str>,
    /// The service, if the request named one that exists.
    pub service: Option<Arc<str>>,
    /// Observed source.
    pub source: IpAddr,
    /// For how long the client asked, when it named a time.
    pub asked: Option<Duration>,
    /// The addresses that may pass, when there is a grant.
    pub network: Option<IpNet>,
    /// From the last stage's arrival to this outcome.
    pub took: Option<Duration>,
    /// Client's time stamp minus our clock, milliseconds.
    pub skew_ms: i64,
    /// Why.
    pub reason: Reason,
    /// The grant, when there is one.
    pub grant: Option<GrantId>,
    /// For how long.
    pub ttl: Option<Duration>,
    /// The keys that an ENROL or REKEY was about.
    pub keys: Option<ClientKeyChange>,
    /// More words, for a failure.
    pub detail: Option<String>,
    /// The user id of the administrator who did it; `None`: a knock did.
    pub by: Option<u32>,
}

impl Event {
    /// An event without service, grant and detail.
    #[must_use]
    pub fn new(
        kind: EventKind,
        client: Arc<str>,
        source: IpAddr,
        skew_ms: i64,
        reason: Reason,
    ) -> Self {
        Self {
            kind,
            client,
            service: None,
            source,
            asked: None,
            network: None,
            took: None,
            skew_ms,
            reason,
            grant: None,
            ttl: None,
            keys: None,
            detail: None,
            by: None,
        }
    }
}
