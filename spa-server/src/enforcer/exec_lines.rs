//! The lines that an enforcer's program reads and writes: one JSON object each
//! (docs/backends.md, "A program of your own").

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::contract::{EnforcedEntry, EntryChange};
use crate::domain::ports::{ProtoPorts, Protocol, merge_ports};

/// Word for every port.
const EVERY_PORT: &str = "all";

/// An entry as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct EntryLine {
    service: String,
    network: IpNet,
    ports: Vec<String>,
}

impl From<&EnforcedEntry> for EntryLine {
    fn from(entry: &EnforcedEntry) -> Self {
        let ports = match entry.ports.as_slice() {
            [] => vec![EVERY_PORT.to_owned()],
            ports => ports.iter().map(ToString::to_string).collect(),
        };
        Self { service: entry.service.to_string(), network: entry.network, ports }
    }
}

impl TryFrom<EntryLine> for EnforcedEntry {
    type Error = String;

    fn try_from(line: EntryLine) -> Result<Self, String> {
        let ports = match line.ports.as_slice() {
            [all] if all == EVERY_PORT => Vec::new(),
            [] => return Err("an entry without ports".to_owned()),
            ports => {
                let read = ports.iter().map(|text| text.parse::<ProtoPorts>());
                merge(read.collect::<Result<_, _>>().map_err(|error| error.to_string())?)
            }
        };
        Ok(Self { service: line.service.into(), network: line.network, ports })
    }
}

/// Ports as the configuration has them: a program may know each port alone.
fn merge(ports: Vec<ProtoPorts>) -> Vec<ProtoPorts> {
    let of = |protocol| {
        let ranges = ports.iter().filter(move |one| one.protocol == protocol);
        let merged = merge_ports(ranges.map(|one| one.range));
        merged.into_iter().map(move |range| ProtoPorts { protocol, range })
    };
    of(Protocol::Tcp).chain(of(Protocol::Udp)).collect()
}

#[derive(Serialize)]
struct OpenLine {
    #[serde(flatten)]
    entry: EntryLine,
    /// Seconds from now on.
    ttl: u64,
    /// Unix time, seconds.
    until: u64,
}

#[derive(Serialize)]
struct CloseLine {
    #[serde(flatten)]
    entry: EntryLine,
    flows: bool,
}

#[derive(Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum RequestLine {
    Apply { open: Vec<OpenLine>, close: Vec<CloseLine> },
    List,
}

/// The answer to a request.
#[derive(Debug, Deserialize)]
pub(super) struct AnswerLine {
    /// It is done.
    pub(super) ok: bool,
    /// Why not.
    #[serde(default)]
    pub(super) error: String,
    /// Answer to `list`.
    #[serde(default)]
    pub(super) entries: Option<Vec<EntryLine>>,
}

/// The request for changes, without a newline.
pub(super) fn write_apply(batch: &[EntryChange]) -> serde_json::Result<String> {
    let (mut open, mut close) = (Vec::new(), Vec::new());
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    for change in batch {
        match change {
            EntryChange::Open(entry, left) => {
                let left = Duration::from_secs(left.as_secs().max(1));
                let until = unix.saturating_add(left).as_secs();
                open.push(OpenLine { entry: entry.into(), ttl: left.as_secs(), until });
            }
            EntryChange::Close { entry, flows } => {
                close.push(CloseLine { entry: entry.into(), flows: *flows });
            }
        }
    }
    serde_json::to_string(&RequestLine::Apply { open, close })
}

/// The request for what is open, without a newline.
pub(super) fn write_list() -> serde_json::Result<String> {
    serde_json::to_string(&RequestLine::List)
}
