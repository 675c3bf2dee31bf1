//! Requests at the control socket.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spa_keys::Failure;

use super::PROTOCOL_VERSION;
use crate::store::audit::AuditQuery;

/// Request of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "command",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum Command {
    /// State of the server.
    Status {
        /// Leave out what costs a walk through foreign firewall rules.
        #[serde(default, skip_serializing_if = "is_false")]
        brief: bool,
    },
    /// Read configuration and clients anew.
    Reload {
        /// Also when no client is left.
        #[serde(default, skip_serializing_if = "is_false")]
        force: bool,
    },
    /// Take configuration and clients from the disk until it is confirmed, or the time is over.
    Try {
        /// For so many seconds; 120 when it is not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_s: Option<u64>,
        /// The ssh connection that it is asked in, any word that tells it from others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
    },
    /// Keep what is tried.
    Confirm {
        /// As for `try`: from the same connection it is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
    },
    /// Roll back what is tried now.
    Cancel,
    /// Grant a client that was removed from its file nothing more, and close what it has open: also
    /// in a trial, and after its rollback.
    Revoke {
        /// Name of the client.
        client: String,
    },
    /// Grants of before and now, a page of them.
    Audit(AuditQuery),
    /// The live grants, as the kernel has them.
    Grants,
    /// Open a service for an address, without a knock.
    Open {
        /// Name of the service.
        service: String,
        /// The address that may pass.
        source: IpAddr,
        /// For so many seconds; the service's own ttl when it is not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl_s: Option<u64>,
    },
    /// End grants now.
    Close(CloseRequest),
    /// The live bans, sorted by network, a page at a time.
    Bans {
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
        /// Those behind this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<IpNet>,
    },
    /// Ban an address (IPv6: its /64).
    Ban {
        /// An address, or a network as `bans` shows it.
        source: String,
        /// For so many seconds; an hour when it is not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_s: Option<u64>,
    },
    /// Lift bans: one of the two says which.
    Unban {
        /// An address, or a network as `bans` shows it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        /// All.
        #[serde(default, skip_serializing_if = "is_false")]
        all: bool,
    },
    /// The clients, in the order of their file, a page at a time.
    Clients {
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
        /// Those behind this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// Explain whether a knock would open, and which rule says what.
    Explain(ExplainRequest),
    /// The counters as Prometheus text.
    Metrics,
    /// Believe the clock, although the replay record was written under one that was ahead.
    AcceptClock,
}

impl Command {
    /// Returns true for a command that changes something, each of which may leave lines in the log.
    /// The others look at what there is, which may be much.
    #[must_use]
    pub fn changes_something(&self) -> bool {
        match self {
            Self::Reload { .. }
            | Self::Try { .. }
            | Self::Confirm { .. }
            | Self::Cancel
            | Self::Open { .. }
            | Self::Close(_)
            | Self::Ban { .. }
            | Self::Unban { .. }
            | Self::AcceptClock
            | Self::Revoke { .. } => true,
            Self::Status { .. }
            | Self::Audit(_)
            | Self::Grants
            | Self::Bans { .. }
            | Self::Clients { .. }
            | Self::Explain(_)
            | Self::Metrics => false,
        }
    }
}

/// Grants that shall end: exactly one of the three says which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CloseRequest {
    /// This one, `g42`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// All of this client, also of one that is not enrolled any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// All.
    #[serde(default, skip_serializing_if = "is_false")]
    pub all: bool,
}

/// Knock that shall be explained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExplainRequest {
    /// The client's name.
    pub client: String,
    /// The service's name.
    pub service: String,
    /// The address that it would knock from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// When: `2026-12-24 22:00` in the server's zone, or an RFC 3339 time; now when it is not
    /// said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The address that it would ask to open for, if that is another.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub wanted: Option<IpAddr>,
    /// For how many seconds it would ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u64>,
}

/// The words of [`Command`], for whoever asks for another.
const KNOWN_COMMANDS: [&str; 17] = [
    "status",
    "reload",
    "grants",
    "open",
    "close",
    "bans",
    "ban",
    "unban",
    "clients",
    "explain",
    "metrics",
    "accept-clock",
    "audit",
    "try",
    "confirm",
    "cancel",
    "revoke",
];

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A question with the version that it is asked in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Question {
    /// [`PROTOCOL_VERSION`].
    pub version: u32,
    /// The command.
    #[serde(flatten)]
    pub command: Command,
}

impl Question {
    /// Reads a line. The version comes first: a later one may ask in words that are unknown here.
    ///
    /// # Errors
    /// What to answer.
    pub fn read(line: &str) -> Result<Self, Failure> {
        let not_understood = |why: String| Failure::failed(format!("not understood: {why}"));
        let value: Value =
            serde_json::from_str(line).map_err(|error| not_understood(error.to_string()))?;
        let Value::Object(mut body) = value else {
            return Err(not_understood("a request is one JSON object on one line".to_owned()));
        };
        match body.remove("version").as_ref().and_then(Value::as_u64) {
            Some(version) if version == u64::from(PROTOCOL_VERSION) => {}
            Some(version) => {
                return Err(Failure::failed(format!(
                    "this server speaks version {PROTOCOL_VERSION} of the control socket, and was \
                     asked in version {version}: \
                     use the spa-server program of the server's own release ({})",
                    env!("CARGO_PKG_VERSION")
                )));
            }
            None => {
                return Err(not_understood(format!(
                    "`version` is missing; it is {PROTOCOL_VERSION}"
                )));
            }
        }
        let word = body.get("command").and_then(Value::as_str).unwrap_or_default();
        if !KNOWN_COMMANDS.contains(&word) {
            return Err(Failure::failed(format!(
                "there is no command `{}`; this server knows {}",
                word.chars().take(64).collect::<String>().escape_debug(),
                KNOWN_COMMANDS.join(", ")
            )));
        }
        let command = Command::deserialize(Value::Object(body))
            .map_err(|error| not_understood(error.to_string()))?;
        Ok(Self { version: PROTOCOL_VERSION, command })
    }
}

#[cfg(test)]
mod tests;
