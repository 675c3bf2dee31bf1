//! The access stanzas: `clients.toml`, one `[[client]]` per client.

mod edit;
mod enrolled;
pub(super) mod files;
mod read;
mod replace;
mod rights;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use spa_keys::TextForm;
use spa_proto::ClientPublic;
use zeroize::Zeroizing;

pub use edit::{EditError, NewClient, add_client, remove_client};
pub use enrolled::{enrolled_file, is_enrolled_file};
pub(super) use enrolled::{load_enrolled, merge_enrolled};
pub(super) use read::load_clients;
pub use read::parse_clients;
pub use replace::{
    NewKeys, ReplaceError, add_invitation, enrol_client, erase_former, forget_client,
    remove_invitation, replace_keys, seen, undo_change,
};
pub use rights::{RightsChange, set_rights};

use super::model::Stages;
use super::span::Located;
use crate::domain::hours::Hours;
use crate::domain::rotation::Rotation;

/// Live grants of one client at most, when its stanza does not say.
pub const MAX_GRANTS: u32 = 16;

/// An access stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Name; no other client of the file has it.
    pub name: Arc<str>,
    /// Public key as text; no other client of the file has it.
    pub public: Located<String>,
    /// Pair key as text.
    pub psk: Located<Secret>,
    /// Numbers on the wire of the services that it may open, sorted.
    pub services: Box<[u16]>,
    /// Networks that it may knock from; empty: any.
    pub from: Box<[IpNet]>,
    /// Hours in which it may knock; `None`: always.
    pub hours: Option<Hours>,
    /// First moment at which its access has ended, Unix milliseconds.
    pub expires: Option<u64>,
    /// Time that it is granted when it names none; `None`: the service's.
    pub ttl: Option<Duration>,
    /// Longest time that it gets; the service's own limit holds too.
    pub max_ttl: Option<Duration>,
    /// Live grants at a time.
    pub max_grants: u32,
    /// Leading bits of an IPv4 source that a grant is for, 16 to 32.
    pub grant_prefix_v4: u8,
    /// Leading bits of an IPv6 source that a grant is for, 48 to 128.
    pub grant_prefix_v6: u8,
    /// It may open for another address than its own.
    pub third_party: bool,
    /// Which keys may take the place of its own; `None`: as befits their kind.
    pub rotate: Option<Rotation>,
    /// The sequence that its enrolment line told it; `None`: enrolled before that was written
    /// down.
    pub sequence: Option<Box<Stages>>,
    /// When ENROL or REKEY made its pair, Unix milliseconds; `None`: the psk stood in a line.
    pub since: Option<u64>,
    /// It enrolled itself by an invitation: it does not stand in the clients' file.
    pub enrolled: bool,
    /// The keys before its present ones, while they are good.
    pub former: Option<Box<Former>>,
    /// The keys that `spa-server client undo` puts back.
    pub undo: Option<Box<Undo>>,
}

impl Client {
    /// Parses its public keys; `None` when the text is none, which reading has found already.
    #[must_use]
    pub fn keys(&self) -> Option<ClientPublic> {
        ClientPublic::from_text(&self.public.value).ok()
    }

    /// Which keys may take the place of its own.
    #[must_use]
    pub fn rotation(&self) -> Rotation {
        let kind = self.keys().map(|keys| keys.kind).unwrap_or_default();
        self.rotate.unwrap_or_else(|| Rotation::default_of(kind))
    }
}

/// The keys of a client before it changed them, while the change can be undone. They open nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    /// Public key as text.
    pub public: String,
    /// First moment at which it is too late, Unix milliseconds.
    pub until: u64,
}

/// Keys that a client has replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// Public key as text.
    pub public: String,
    /// Pair key as text.
    pub psk: Secret,
    /// First moment at which they are worth nothing, Unix milliseconds.
    pub until: u64,
    /// Random bytes behind the ML-KEM half of their successor's pair key, in the text form of one.
    pub kem: Option<Secret>,
    /// They are those of the invitation that the client took.
    pub invited: bool,
}

/// An invitation that is not used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The client that it makes; the keys are the invitation's own.
    pub client: Client,
    /// First moment at which it is worth nothing, Unix milliseconds.
    pub until: u64,
}

/// A secret text. It is wiped when dropped and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for whoever decodes it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
