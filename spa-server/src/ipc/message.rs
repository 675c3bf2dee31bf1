//! Messages between broker and listener. Two channels: requests (the listener asks, the broker
//! replies, one at a time), and news (orders one way, notices the other).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bincode::{Decode, Encode};
use spa_keys::Failure;

use super::hooks::HookEvent;
use crate::domain::grant::GrantId;
use crate::domain::ports::PortRange;
use crate::firewall::reach::Reach;
use crate::firewall::{Ban, FirewallError, Hide, LiveGrant, Obstacle};

/// Request of the listener. Nothing here names a rule, a file or a port that the broker does not
/// know already.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// Make the rules of this configuration be, with knocks at these ports.
    Install {
        /// Number of the configuration, from [`ListenerOrder::Read`].
        config: u64,
        /// Knock ports, each a range of one port.
        knock: Vec<PortRange>,
    },
    /// Open or renew a grant, then end others with their flows.
    Open {
        /// The grant.
        grant: GrantRequest,
        /// Grants of the same session for addresses that its client does not confirm.
        ends: Vec<GrantId>,
    },
    /// Close a grant.
    Close(GrantId),
    /// A source is in the middle of a sequence.
    InSequence {
        /// The source.
        source: IpAddr,
        /// For how long.
        ttl: Duration,
    },
    /// List the live grants.
    Grants,
    /// Ban a source.
    Ban {
        /// The source.
        source: IpAddr,
        /// For how long.
        time: Duration,
    },
    /// Lift a ban.
    Unban {
        /// The source.
        source: IpAddr,
    },
    /// List the live bans.
    Bans,
    /// List what would still drop a granted packet.
    Obstacles,
    /// Answer what reaches a service of the configuration in force.
    Reach {
        /// Name of the service.
        service: String,
        /// Source that asks; `None`: anybody.
        source: Option<IpAddr>,
    },
    /// A bait rule has banned this source.
    NoteBan {
        /// The source.
        source: IpAddr,
        /// For how long.
        time: Duration,
    },
    /// New keys in the place of an invitation's or a client's.
    Replace(ReplaceRequest),
    /// A client has knocked with its new keys.
    Seen {
        /// Name of the client.
        client: String,
    },
    /// Capture `udp` only: a socket that is bound to a knock port.
    Bind {
        /// The port.
        port: u16,
        /// IPv6 instead of IPv4.
        six: bool,
    },
}

/// A grant as the listener asks for it. The broker's own configuration says what it opens.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct GrantRequest {
    /// Number of the grant.
    pub id: GrantId,
    /// Name of the client.
    pub client: Arc<str>,
    /// Name of the service.
    pub service: Arc<str>,
    /// The address that may pass.
    pub source: IpAddr,
    /// Leading bits of the source that count.
    pub prefix: u8,
    /// For how long.
    pub ttl: Duration,
    /// Nobody has confirmed it yet.
    pub provisional: bool,
}

/// New keys of a client. They are believed for the evidence only.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ReplaceRequest {
    /// The old keys are an invitation's.
    pub invited: bool,
    /// Name of the client.
    pub client: String,
    /// The old public key as text.
    pub old: String,
    /// The new public key as text.
    pub new: String,
    /// The new pair key as text, wiped on drop.
    pub psk: String,
    /// Random bytes behind its ML-KEM half, in the text form of a pair key, wiped on drop.
    pub kem: Option<String>,
    /// The request as the holder of the old key signed it.
    pub evidence: Vec<u8>,
}

impl Drop for ReplaceRequest {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.psk);
        zeroize::Zeroize::zeroize(&mut self.kem);
    }
}

/// Reply of the broker. Lists come in as many pages as needed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// It is done.
    Done,
    /// It was not done.
    Failed(RequestError),
    /// It is done here, and passed on to enforcers: its outcome comes as
    /// [`ListenerOrder::Settled`] with this number.
    Waits(u64),
    /// Reply to [`Request::Close`]: first packets that the grant has let in, where those are
    /// counted.
    Closed(Option<u64>),
    /// Reply to [`Request::Grants`].
    Grants(ListPage<LiveGrant>),
    /// Reply to [`Request::Bans`].
    Bans(ListPage<Ban>),
    /// Reply to [`Request::Obstacles`].
    Obstacles(ListPage<Obstacle>),
    /// Reply to [`Request::Reach`].
    Reach(ListPage<Reach>),
    /// The socket is beside this message; `false`: this kernel has no such family.
    Socket(bool),
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ListPage<T> {
    /// The rows of this page.
    pub rows: Vec<T>,
    /// Another page follows.
    pub more: bool,
}

/// Reason why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum RequestError {
    /// The firewall's own error.
    #[error(transparent)]
    Firewall(#[from] FirewallError),
    /// The broker could not do it, for a reason that is not the firewall's.
    #[error("{0}")]
    Failed(String),
    /// The configuration does not allow it, and no honest listener asks for it.
    #[error("the broker refuses: {0}")]
    Refused(String),
    /// Another program has the port.
    #[error("{0}")]
    Taken(String),
    /// An honest listener can ask for it, and it is too late.
    #[error("{0}")]
    TooLate(String),
}

impl From<RequestError> for FirewallError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Firewall(error) => error,
            other => Self::Other(other.to_string()),
        }
    }
}

/// Refusal with an exit code, a [`Failure`] without its parts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Refusal {
    /// Exit code.
    pub code: u8,
    /// The failure in words.
    pub text: String,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { code: failure.code, text: failure.to_string() }
    }
}

impl From<Refusal> for Failure {
    fn from(Refusal { code, text }: Refusal) -> Self {
        Self::new(code, text)
    }
}

/// State of a file that goes with [`ReadFiles`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SentFile {
    /// It is beside the message.
    Attached,
    /// There is none.
    Missing,
    /// It is a credential without a folder of credentials, which the reader finds out as well.
    Nowhere,
    /// It was not opened, for this reason.
    Refused(String),
}

/// Occasion on which the listener reads files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Purpose {
    /// A start or a reload.
    Reload,
    /// A trial: until it is confirmed, or so many seconds are over.
    Try {
        /// For how long.
        seconds: u64,
    },
    /// The end of a trial that was not confirmed.
    Back,
}

/// A trial that runs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RunningTrial {
    /// Number that no other trial of this run has.
    pub number: u64,
    /// Time until it is rolled back.
    pub left: Duration,
    /// User id of who began it.
    pub by: u32,
    /// It is in force and can be confirmed.
    pub confirmable: bool,
}

/// A trial that was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RolledBack {
    /// When it was rolled back, unix milliseconds.
    pub at_ms: u64,
    /// The kernel was read back and has the old rules.
    pub verified: bool,
    /// By a restart: the server ended in the middle of the trial.
    pub restart: bool,
}

/// Files to be read: the configuration, the key, the key from before, the clients' file and the
/// enrolled clients' file are beside the message, in this order, as far as they are there.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ReadFiles {
    /// Number of this configuration.
    pub config: u64,
    /// The server's key from before is beside the message.
    pub previous: bool,
    /// The clients' file.
    pub clients: SentFile,
    /// The file of what devices have brought about.
    pub enrolled: SentFile,
    /// Who asked for it: numbers from [`Notice::Reload`] and [`Notice::Try`].
    pub askers: Vec<u64>,
    /// Occasion.
    pub purpose: Purpose,
}

/// Order of the broker to the listener.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ListenerOrder {
    /// Read files. The first one starts the listener, each other one is a reload.
    Read(ReadFiles),
    /// A reload or a trial ends before it began.
    Refused {
        /// The reason.
        refusal: Refusal,
        /// Who asked for it.
        askers: Vec<u64>,
    },
    /// State of trials; told at every change.
    Trial {
        /// The one that runs.
        running: Option<RunningTrial>,
        /// The last trial was not confirmed, so another configuration runs than is on the disk.
        back: Option<RolledBack>,
    },
    /// Reply to [`Notice::Confirm`] or [`Notice::Cancel`].
    Told {
        /// Who asked.
        asker: u64,
        /// The reason, if it was not done.
        refusal: Option<Refusal>,
    },
    /// Somebody else changed the table; it is whole again.
    Restored,
    /// Somebody else changed the table, and it could not be put back yet.
    NotRestored {
        /// The reason.
        text: String,
    },
    /// These services are not hidden yet; told at every change.
    Visible {
        /// Names of the services.
        services: Vec<String>,
    },
    /// Look of hidden ports; told at every change.
    Hide(Hide),
    /// State of the interfaces that the configuration names; told at every change.
    Interfaces {
        /// Sentences about those that are of no use.
        useless: Vec<String>,
        /// The firewall's list has no other: nothing is hidden.
        hides_nowhere: bool,
    },
    /// Services that strangers may reach, or that a grant does not open; told at every change.
    Reach(ReachState),
    /// Hooks have failed, or were dropped, since the last time.
    HookFailures(HookFailures),
    /// Every enforcer has opened a grant, or it was taken back.
    Settled {
        /// Number of [`Reply::Waits`].
        ticket: u64,
        /// Outcome.
        outcome: Result<(), RequestError>,
    },
    /// State of the enforcers; told at every change.
    Enforcers(Vec<EnforcerState>),
    /// End cleanly.
    Stop,
}

/// State of one enforcer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EnforcerState {
    /// Name.
    pub name: String,
    /// Why it does not open; `None`: it does.
    pub problem: Option<String>,
    /// Grants that it did not open since the start.
    pub failures: u64,
}

/// Faults between services and their packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct ReachState {
    /// Services, by family, that strangers may reach.
    pub exposed: u64,
    /// Services, by family, that a grant does not open.
    pub blocked: u64,
    /// The first of both, with the reasons.
    pub rows: Vec<Reach>,
}

/// Failures of one hook.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HookFailures {
    /// Name of the service.
    pub service: String,
    /// The hook.
    pub hook: HookEvent,
    /// Number of failures.
    pub count: u64,
}

/// Notice of the listener to the broker.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Notice {
    /// The start is over.
    Ready,
    /// The loop goes round.
    Alive,
    /// Somebody at the control socket asks for a reload.
    Reload {
        /// The listener's number for who asked.
        asker: u64,
        /// User id of who asked.
        by: u32,
    },
    /// The administrator has removed a client: from now on it is granted nothing, whatever
    /// configuration is in force.
    Revoke {
        /// The listener's number for who asked.
        asker: u64,
        /// Name of the client.
        client: String,
    },
    /// The reload is over.
    Reloaded {
        /// Number of the configuration that was read.
        config: u64,
        /// It is in force in the listener.
        done: bool,
    },
    /// Somebody at the control socket asks for a trial.
    Try {
        /// The listener's number for who asked.
        asker: u64,
        /// User id of who asked.
        by: u32,
        /// For how long.
        seconds: u64,
    },
    /// Somebody at the control socket confirms the trial.
    Confirm {
        /// The listener's number for who asked.
        asker: u64,
        /// User id of who asked.
        by: u32,
    },
    /// Somebody at the control socket wants the trial rolled back now.
    Cancel {
        /// The listener's number for who asked.
        asker: u64,
        /// User id of who asked.
        by: u32,
    },
    /// The listener cannot start, or could not end cleanly.
    Failed(Refusal),
}
