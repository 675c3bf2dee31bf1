//! The configuration as the rest of the server sees it: every field checked and typed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::domain::grant::Scope;
use crate::domain::ports::{PortRange, ProtoPorts, merge_ports};
use crate::firewall::capabilities::Capabilities;
use crate::firewall::{Authenticated, Bait, Established, Hide, Mode, PacketHook, Target};
use crate::log::{Format, Level};
use crate::store::audit::Limits;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[log]`.
    pub log: Log,
    /// `[audit]`.
    pub audit: Limits,
    /// `[metrics]`.
    pub metrics: Metrics,
    /// `[capture]`.
    pub capture: CaptureSettings,
    /// `[sequence]`.
    pub sequence: SequenceSettings,
    /// `[firewall]`.
    pub firewall: FirewallSettings,
    /// Every `[[enforcer]]`, in the order of the file.
    pub enforcers: Vec<Enforcer>,
    /// Every `[[service]]`, in the order of the file.
    pub services: Vec<Service>,
    /// Every `[[bait]]`, in the order of the file.
    pub baits: Vec<Bait>,
    /// `[ban]`.
    pub ban: BanSettings,
}

impl Config {
    /// The service with this number on the wire.
    #[must_use]
    pub fn service(&self, id: u16) -> Option<&Service> {
        self.services.iter().find(|service| service.id == id)
    }

    /// Look of hidden ports on a host whose closed ones look like this, as far as that is known.
    #[must_use]
    pub fn hide_beside(&self, closed_ports: Option<Hide>) -> Hide {
        match (self.firewall.hide, self.firewall.mode) {
            (Some(hide), _) => hide,
            // Every other port is our own table's, and silent.
            (None, Mode::Standalone) => Hide::Drop,
            (None, Mode::Guard) => closed_ports.unwrap_or_default(),
        }
    }
}

/// `[server]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The server's secret key.
    pub key: SecretFile,
    /// The key before that, by which clients may still come.
    pub previous: Option<PreviousKey>,
    /// Access stanzas and pair keys.
    pub clients: SecretFile,
    /// Folder of the store, absolute.
    pub state: PathBuf,
    /// Control socket, absolute, at most 107 bytes.
    pub control: PathBuf,
    /// Names or addresses that enrolment lines tell clients to knock at.
    pub hosts: Vec<String>,
    /// Set when a verified knock is answered.
    pub ack: bool,
    /// Greatest age of a knock.
    pub window_past: Duration,
    /// Greatest lead of a knock over our clock.
    pub window_future: Duration,
    /// Time that a knock opens for whoever sent it, before its client confirms the address.
    pub provisional: Duration,
    /// Time that a client's keys are good after it has replaced them, unless the new ones are seen
    /// before.
    pub rotate_overlap: Duration,
    /// Age at which a client is asked for new keys; `None`: never.
    pub pair_age: Option<Duration>,
    /// Effect of an authenticated knock from a banned address.
    pub authenticated: Authenticated,
}

/// A server key that is being replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousKey {
    /// The secret key.
    pub file: SecretFile,
    /// From this moment on, Unix milliseconds, it is as if it were not there.
    pub until: Option<u64>,
}

impl PreviousKey {
    /// Returns true when its time is over.
    #[must_use]
    pub fn is_over(&self, unix_ms: u64) -> bool {
        self.until.is_some_and(|until| unix_ms >= until)
    }
}

/// A file with secrets: a path, or a credential that systemd hands to the unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretFile {
    /// A path.
    File(PathBuf),
    /// `credential:NAME`, the file `$CREDENTIALS_DIRECTORY/NAME`; it can be read only.
    Credential(String),
}

impl SecretFile {
    /// The path, given `$CREDENTIALS_DIRECTORY`. `None`: a credential, but there is no such folder.
    #[must_use]
    pub fn path(&self, credentials: Option<&Path>) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            Self::Credential(name) => credentials.map(|folder| folder.join(name)),
        }
    }
}

/// `[log]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// Form of a line.
    pub format: Format,
    /// Least important level that is still written.
    pub level: Level,
}

/// `[metrics]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// File that node_exporter's textfile collector reads, an absolute path; `None`: none is
    /// written.
    pub textfile: Option<PathBuf>,
}

/// `[capture]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureSettings {
    /// Place at which knocks are read.
    pub mode: CaptureMode,
    /// Interfaces to listen at; empty: all.
    pub interfaces: Vec<String>,
}

/// Place at which knocks are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CaptureMode {
    /// AF_PACKET ring.
    #[default]
    Ring,
    /// NFLOG from our own table.
    Nflog,
    /// Bound sockets.
    Udp,
}

/// `[sequence]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceSettings {
    /// Number and ports of the stages.
    pub stages: Stages,
    /// Ports of the stages before, where clients may still come; as many as there are stages, or
    /// none.
    pub previous: Vec<u16>,
    /// Longest time from one stage to the next.
    pub timeout: Duration,
    /// Time that a stage which overtook another is held.
    pub reorder: Duration,
}

impl SequenceSettings {
    /// Returns true when a knock may ever come to this UDP port.
    #[must_use]
    pub fn may_use(&self, port: u16) -> bool {
        self.stages.may_use(port) || self.previous.contains(&port)
    }
}

/// The ports of the stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stages {
    /// These, in this order: 1 to 8, each another.
    Fixed(Vec<u16>),
    /// Ports that change every epoch.
    Hop {
        /// The ports hop within this range.
        range: PortRange,
        /// Number of stages, 1 to 8.
        count: u8,
        /// Never these; sorted, apart from each other.
        exclude: Vec<PortRange>,
    },
}

impl Stages {
    /// Number of stages, 1 to 8.
    #[must_use]
    pub fn count(&self) -> u8 {
        match self {
            Self::Fixed(ports) => u8::try_from(ports.len()).unwrap_or(u8::MAX),
            Self::Hop { count, .. } => *count,
        }
    }

    /// UDP ports that knocks may ever come to, ascending.
    #[must_use]
    pub fn ranges(&self) -> Vec<PortRange> {
        match self {
            Self::Fixed(ports) => merge_ports(ports.iter().copied().map(PortRange::one)),
            Self::Hop { range, .. } => {
                let used = (range.first..=range.last).filter(|port| self.may_use(*port));
                merge_ports(used.map(PortRange::one))
            }
        }
    }

    /// Returns true when a knock may ever come to this UDP port.
    #[must_use]
    pub fn may_use(&self, port: u16) -> bool {
        match self {
            Self::Fixed(ports) => ports.contains(&port),
            Self::Hop { range, exclude, .. } => {
                range.contains(port) && !exclude.iter().any(|e| e.contains(port))
            }
        }
    }
}

/// `[firewall]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirewallSettings {
    /// Backend that the grants go to.
    pub backend: Backend,
    /// Guard or standalone.
    pub mode: Mode,
    /// Look of a hidden port; `None`: that of this host's closed ports.
    pub hide: Option<Hide>,
    /// Moment from which on a service is hidden.
    pub protect: Protect,
    /// Interfaces that strangers come from; empty: all.
    pub interfaces: Vec<String>,
}

/// Moment from which on a service is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protect {
    /// At once. The default: whoever leaves the key out, as every configuration before it did, must
    /// not find services visible after an upgrade.
    #[default]
    Always,
    /// Once a client has opened it: nobody is locked out by a server that does not work yet.
    AfterFirstGrant,
}

/// Firewall backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Backend {
    /// nftables over netlink.
    #[default]
    Nftables,
    /// Decides and logs, changes nothing.
    Observe,
}

/// `[[service]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Name, `[a-z0-9-]{1,24}`.
    pub name: Arc<str>,
    /// Number on the wire; no other service of this configuration has it.
    pub id: u16,
    /// Ports as ranges, sorted and joined; empty when it opens everything.
    pub ports: Vec<ProtoPorts>,
    /// Ports that a grant opens, as ranges: at most 1024 ports in 256 of them.
    pub scope: Scope,
    /// Time that is granted when the client names none.
    pub ttl: Duration,
    /// Longest time that a client gets.
    pub max_ttl: Duration,
    /// Hook at which its packets are filtered: it is on this host, or behind it.
    pub packet_hook: PacketHook,
    /// The inner host that packets are sent on to.
    pub to: Option<Target>,
    /// Fate of flows whose grant has ended.
    pub established: Established,
    /// Run when a grant begins.
    pub on_open: Option<Hook>,
    /// Run when a grant has ended.
    pub on_close: Option<Hook>,
    /// Names of the enforcers that open it as well, beside this host.
    pub enforcers: Vec<Arc<str>>,
}

/// `[[enforcer]]`: what opens for grants beside this host's own firewall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforcer {
    /// Name, `[a-z0-9-]{1,24}`.
    pub name: Arc<str>,
    /// Time that it has for one grant.
    pub timeout: Duration,
    /// Kind, with what belongs to it.
    pub kind: EnforcerKind,
}

/// Kinds of enforcers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnforcerKind {
    /// A program of the administrator's.
    Exec {
        /// Absolute path and arguments.
        command: Vec<String>,
        /// Set when entries end by themselves.
        expires: bool,
        /// It ends flows.
        ends_flows: bool,
    },
}

impl Enforcer {
    /// Abilities.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        match self.kind {
            EnforcerKind::Exec { expires, ends_flows, .. } => {
                Capabilities::of_program(expires, ends_flows)
            }
        }
    }
}

/// A program that is told of a grant: no shell, own user, time limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hook {
    /// Absolute path, and arguments with placeholders.
    pub run: Vec<String>,
    /// User that it runs as; `None`: as the server does, unless that is root.
    pub user: Option<String>,
    /// Time after which its process group is killed.
    pub timeout: Duration,
}

/// `[ban]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BanSettings {
    /// Networks that are never banned.
    pub never: Vec<IpNet>,
    /// At most this many bans per family.
    pub limit: u32,
}
