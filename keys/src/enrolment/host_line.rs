//! Enrolment: one line, printed by the server, that tells a client all it needs to knock there.

use std::fmt;
use std::net::IpAddr;

use spa_proto::{ClientPublic, HopKey, HopPlan, HostAddr, Psk, ServerPublic};

use crate::text::{TextError, client_prefix};

/// Longest name of a client or service, in bytes.
pub const MAX_NAME: usize = 64;
/// Longest host name or address, in bytes (RFC 1035 section 2.3.4 allows 255 on the wire, 253 as
/// text).
pub const MAX_HOST: usize = 253;
/// Most hosts in a line.
pub const MAX_HOSTS: usize = 8;
/// Most services in a line.
pub const MAX_SERVICES: usize = 32;
/// Fewest stages over which an ML-KEM key is split.
const MIN_KEM_STAGES: usize = 2;
/// Most excluded port ranges of a hopping sequence.
pub const MAX_EXCLUDED: usize = 64;

/// Content of an enrolment line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLine {
    /// The server's public key.
    pub server: ServerPublic,
    /// First 8 bytes of SHA-256 over the client's public key (64 bytes): whom the line was made
    /// for.
    pub client_check: [u8; 8],
    /// The pair's pre-shared key.
    pub psk: Psk,
    /// The client's name at the server.
    pub name: String,
    /// Host names and addresses of the server, the best first; may be empty.
    pub hosts: Vec<String>,
    /// The ports of the stages.
    pub sequence: Sequence,
    /// Set when the server answers knocks.
    pub ack: bool,
    /// Set when it takes an ML-KEM key with ENROL and REKEY.
    pub kem: bool,
    /// The services that the client may ask for.
    pub services: Vec<Service>,
}

/// The ports of the stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// Always these, 1 to 8, none 0.
    Ports(Vec<u16>),
    /// Changing with time.
    Hop {
        /// Key that gives the ports.
        key: HopKey,
        /// Range and number of the ports.
        plan: HopPlan,
    },
}

impl Sequence {
    /// Returns the ports in stage order at a time in unix milliseconds.
    #[must_use]
    pub fn ports_at(&self, unix_ms: u64) -> Vec<u16> {
        match self {
            Self::Ports(ports) => ports.clone(),
            Self::Hop { key, plan } => plan.ports(key, HopPlan::epoch_of(unix_ms)),
        }
    }

    /// Describes the UDP ports for a person, who must let them through: `1001, 1002`.
    #[must_use]
    pub fn describe_ports(&self) -> String {
        match self {
            Self::Ports(ports) => ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
            Self::Hop { plan, .. } => {
                let (first, last) = plan.range();
                format!("{first}-{last} (they change)")
            }
        }
    }

    /// Returns the number of stages.
    #[must_use]
    pub fn stages(&self) -> usize {
        match self {
            Self::Ports(ports) => ports.len(),
            Self::Hop { plan, .. } => usize::from(plan.stages()),
        }
    }
}

/// Transport of a service's first port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceProto {
    /// TCP: the client can test whether it is reachable.
    Tcp,
    /// UDP.
    Udp,
    /// Everything on the server.
    All,
}

impl fmt::Display for ServiceProto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::All => "all",
        })
    }
}

/// A service that the client may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Name of the service at the server.
    pub name: String,
    /// Transport of its first port.
    pub proto: ServiceProto,
    /// First TCP port, or the first UDP port when it has no TCP port, or 0 for
    /// [`ServiceProto::All`].
    pub port: u16,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.proto {
            ServiceProto::All => write!(f, "{} (all)", self.name),
            proto => write!(f, "{} ({proto}/{})", self.name, self.port),
        }
    }
}

/// Reason why a line is refused or cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The text form.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Made for a server before SPA/2.
    #[error("this enrolment line was made for an older server: update the server, then enrol anew")]
    Older,
    /// Made by a newer version.
    #[error("this enrolment line has version {0}, this program knows version 2: update it")]
    Version(u8),
    /// A value in it is not possible.
    #[error("the enrolment line is wrong: {0}")]
    Content(&'static str),
    /// Does not fit in one line.
    #[error(
        "the enrolment line would have {0} characters, 1023 fit: name fewer hosts or services for \
         this client"
    )]
    TooLong(usize),
}

impl HostLine {
    /// Tells whether an ML-KEM key can go there: it is split over several stages, and the answer
    /// brings the ciphertext.
    #[must_use]
    pub fn can_carry_kem(&self) -> bool {
        self.ack && self.sequence.stages() >= MIN_KEM_STAGES
    }

    /// Returns the check that belongs to a client's key.
    #[must_use]
    pub fn check_of(client: &ClientPublic) -> [u8; 8] {
        client_prefix(client)
    }

    /// Tells whether the line was made for this client's key.
    #[must_use]
    pub fn is_for(&self, client: &ClientPublic) -> bool {
        self.client_check == Self::check_of(client)
    }

    /// Returns the check in 16 hexadecimal digits.
    #[must_use]
    pub fn check_text(&self) -> String {
        self.client_check.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Finds a service by name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }
}

/// Tells whether a name may stand in a line: the format takes more than servers give out, see
/// [`crate::ClientName`] and [`crate::ServiceName`].
pub(crate) fn name_is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | '+');
    !name.is_empty()
        && name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().all(plain)
}

/// Tells whether a text can be a host name or an address, also with a zone (`fe80::1%eth0`).
pub(crate) fn host_is_plain(host: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    !host.is_empty()
        && host.len() <= MAX_HOST
        && host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == ':')
        && host.chars().all(plain)
        && is_possible_host(host)
}

/// Tells whether one machine can have this name or address: no multicast, no port behind it, no
/// number that is no address.
fn is_possible_host(host: &str) -> bool {
    let address = host.split('%').next().unwrap_or_default();
    match address.parse::<IpAddr>() {
        Ok(ip) => HostAddr::new(ip).is_some(),
        Err(_) => {
            let last = host.rsplit('.').next().unwrap_or_default();
            !host.contains([':', '%']) && !last.chars().all(|c| c.is_ascii_digit())
        }
    }
}
