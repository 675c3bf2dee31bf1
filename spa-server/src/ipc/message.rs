//! What broker and listener say to each other. Two channels: requests (the listener asks, the
//! broker answers, one at a time), and news (orders one way, notices the other).

use std::net::IpAddr;
use std::time::Duration;

use bincode::{Decode, Encode};

use crate::firewall::{FirewallError, SetName};

/// What the listener may ask for. Nothing here names a rule, a file or a port that the broker does
/// not know already.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// Make the rules of this configuration be, with knocks at these ports.
    Install {
        /// Number of the configuration, from [`Order::Read`].
        config: u64,
        /// First and last of each range of knock ports.
        knock: Vec<(u16, u16)>,
    },
    /// Open or renew a grant. What it opens is the broker's own knowledge.
    Open {
        /// Number of the grant.
        id: u64,
        /// Name of the client.
        client: String,
        /// Name of the service.
        service: String,
        /// Who may pass.
        source: IpAddr,
        /// Leading bits of the source that count.
        prefix: u8,
        /// For how long.
        ttl: Duration,
    },
    /// Close a grant.
    Close {
        /// Its number.
        id: u64,
    },
    /// A source is in the middle of a sequence.
    InSequence {
        /// The source.
        source: IpAddr,
        /// For how long.
        ttl: Duration,
    },
    /// The live grants.
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
    /// The live bans.
    Bans,
    /// What would still drop a granted packet.
    Obstacles,
    /// A bait rule has banned this source.
    NoteBan {
        /// The source.
        source: IpAddr,
        /// For how long.
        time: Duration,
    },
    /// New keys in the place of an invitation's or a client's. That is believed for the evidence
    /// only.
    Replace {
        /// The old ones are an invitation's.
        invited: bool,
        /// Name of the client.
        client: String,
        /// The old public key as text.
        old: String,
        /// The new one.
        new: String,
        /// The new pair key as text.
        psk: String,
        /// The request as the holder of the old key signed it.
        evidence: Vec<u8>,
    },
    /// A client has knocked with its new keys.
    Seen {
        /// Its name.
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

/// What the broker answers. Lists come in as many parts as needed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// It is done.
    Done,
    /// It was not done.
    Failed(Trouble),
    /// Grants; `true`: more follow.
    Grants(Vec<LiveGrant>, bool),
    /// Bans as address, prefix and time left; `true`: more follow.
    Bans(Vec<(IpAddr, u8, Duration)>, bool),
    /// Obstacles as chain and text; `true`: more follow.
    Obstacles(Vec<(String, String)>, bool),
    /// The socket is beside this message; `false`: this kernel has no such family.
    Socket(bool),
}

/// A [`crate::domain::grant::Scope`] on its way: each range is IP protocol, first and last port.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Opens {
    /// Everything on this host.
    All,
    /// Ports of this host.
    Ports(Vec<(u8, u16, u16)>),
    /// Ports of hosts behind it.
    Inside(Vec<(u8, u16, u16)>),
}

/// A live grant.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LiveGrant {
    /// Number.
    pub id: u64,
    /// Client.
    pub client: String,
    /// Service.
    pub service: String,
    /// Who may pass.
    pub source: IpAddr,
    /// Leading bits of the source that count.
    pub prefix: u8,
    /// What it opens.
    pub opens: Opens,
    /// The time that it was given.
    pub ttl: Duration,
    /// The time that is left.
    pub left: Duration,
    /// Connections.
    pub used: Option<u64>,
}

/// A [`FirewallError`] on its way.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Trouble {
    /// [`FirewallError::Permission`].
    Permission(String),
    /// [`FirewallError::Full`].
    Full(String),
    /// [`FirewallError::Banned`].
    Banned(IpAddr),
    /// [`FirewallError::Missing`].
    Missing(String),
    /// [`FirewallError::Other`].
    Other(String),
    /// The broker's own table says no.
    Refused(String),
    /// An honest listener can ask for it, and it is too late.
    Gone(String),
}

impl From<FirewallError> for Trouble {
    fn from(error: FirewallError) -> Self {
        match error {
            FirewallError::Permission(text) => Self::Permission(text),
            FirewallError::Full(set) => Self::Full(set.to_string()),
            FirewallError::Banned(source) => Self::Banned(source),
            FirewallError::Missing(text) => Self::Missing(text),
            FirewallError::Other(text) => Self::Other(text),
            FirewallError::NeverBanned { .. } | FirewallError::UnfitNames { .. } => {
                // The other side puts the prefix before it again.
                Self::Other(error.to_string().replacen("firewall: ", "", 1))
            }
        }
    }
}

impl From<Trouble> for FirewallError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Permission(text) => Self::Permission(text),
            Trouble::Full(name) => match SetName::find(&name) {
                Some(set) => Self::Full(set),
                None => Self::Other(format!(
                    "the set {name} is full: raise its limit or shorten the ttl"
                )),
            },
            Trouble::Banned(source) => Self::Banned(source),
            Trouble::Missing(text) => Self::Missing(text),
            Trouble::Other(text) | Trouble::Gone(text) => Self::Other(text),
            Trouble::Refused(text) => Self::Other(format!("the broker refuses: {text}")),
        }
    }
}

/// How the clients' file was found.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Clients {
    /// It is beside the message.
    Opened,
    /// There is none.
    Missing,
    /// It is a credential without a folder of credentials, which the reader finds out as well.
    Nowhere,
    /// Why it was not opened.
    Refused(String),
}

/// Why the listener is to read files.
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
pub struct Trial {
    /// Its number; no other trial of this run has it.
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
pub struct Back {
    /// When it was rolled back, unix milliseconds.
    pub at_ms: u64,
    /// The kernel was read back and has the old rules.
    pub verified: bool,
    /// By a restart: the server ended in the middle of the trial.
    pub restart: bool,
}

/// What the broker tells the listener.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Order {
    /// Read these files: the configuration, the key and perhaps more are beside the message. The
    /// first one starts the listener, each other one is a reload.
    Read {
        /// Number of this configuration.
        config: u64,
        /// The server's key from before is beside the message, behind the key.
        previous: bool,
        /// How the clients' file was found.
        clients: Clients,
        /// How the file of what devices have brought about was found; beside the message, behind
        /// the clients' file.
        enrolled: Clients,
        /// Who asked for it: numbers from [`Notice::Reload`] and [`Notice::Try`].
        askers: Vec<u64>,
        /// What for.
        purpose: Purpose,
    },
    /// A reload or a trial ends before it began.
    Refused {
        /// Exit code.
        code: u8,
        /// Why.
        text: String,
        /// Who asked for it.
        askers: Vec<u64>,
    },
    /// How a trial stands; told at every change.
    Trial {
        /// The one that runs.
        running: Option<Trial>,
        /// What runs is not what is on the disk: the last trial was not confirmed.
        back: Option<Back>,
    },
    /// The answer to [`Notice::Confirm`] or [`Notice::Cancel`].
    Told {
        /// Who asked.
        asker: u64,
        /// Exit code and why not.
        refusal: Option<(u8, String)>,
    },
    /// Somebody else changed the table; it is whole again.
    Restored,
    /// Somebody else changed the table, and it could not be put back yet.
    NotRestored {
        /// Why.
        text: String,
    },
    /// These services are not hidden yet; told at every change.
    Visible {
        /// Their names.
        services: Vec<String>,
    },
    /// Hooks have failed, or were dropped, since the last time.
    HookFailures {
        /// Name of the service.
        service: String,
        /// `open` or `close`.
        hook: String,
        /// How many.
        count: u64,
    },
    /// End cleanly.
    Stop,
}

/// What the listener tells the broker.
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
        /// His user id.
        by: u32,
        /// For how long.
        seconds: u64,
    },
    /// Somebody at the control socket confirms the trial.
    Confirm {
        /// The listener's number for who asked.
        asker: u64,
        /// His user id.
        by: u32,
    },
    /// Somebody at the control socket wants the trial rolled back now.
    Cancel {
        /// The listener's number for who asked.
        asker: u64,
        /// His user id.
        by: u32,
    },
    /// The listener cannot start, or could not end cleanly.
    Failed {
        /// Exit code.
        code: u8,
        /// Why.
        text: String,
    },
}
