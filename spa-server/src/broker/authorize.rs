//! What the broker allows, by its own configuration and never by the message's word.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{CaptureMode, Config, Stages};
use crate::domain::grant::{ADMIN, Grant};
use crate::domain::ports::PortRange;
use crate::ipc::message::GrantRequest;

/// Ports of hopping stages that may be live at once: 8 stages in the three epochs that the widest
/// window can touch.
const MOST_HOPS: usize = 24;
/// Longest ban that anybody may ask for: a mistake, or a listener in foreign hands, must end by
/// itself.
const LONGEST_BAN: Duration = Duration::from_secs(366 * 24 * 3600);
/// Fewest leading bits of a source that a grant may be for: a carrier's NAT pool, not half of the
/// internet.
const LEAST_BITS_V4: u8 = 16;
const LEAST_BITS_V6: u8 = 32;
/// Longest name of a client.
const LONGEST_CLIENT: usize = 64;

/// Why a request is not carried out.
pub(super) type Refused = String;

/// One configuration as the broker checks requests against it.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) number: u64,
    pub(super) config: Config,
}

impl Table {
    /// The knock ports, if the configuration may knock there.
    pub(super) fn knock(&self, ports: &[PortRange]) -> Result<(), Refused> {
        let fits = |range: &PortRange| {
            range.first == range.last && self.config.sequence.stages.may_use(range.first)
        };
        if let Some(PortRange { first, last }) = ports.iter().find(|range| !fits(range)) {
            return Err(format!("no stage is at udp port {first}-{last}"));
        }
        let most = match &self.config.sequence.stages {
            Stages::Fixed(ports) => ports.len(),
            Stages::Hop { .. } if self.config.server.previous.is_some() => 2 * MOST_HOPS,
            Stages::Hop { .. } => MOST_HOPS,
        };
        if ports.is_empty() || ports.len() > most {
            return Err(format!("{} knock ports", ports.len()));
        }
        Ok(())
    }

    /// A grant: the service is known, its ports are ours, the time within its limit.
    pub(super) fn grant(&self, asked: &GrantRequest) -> Result<Grant, Refused> {
        let GrantRequest { id, ref client, source, prefix, ttl, .. } = *asked;
        let Some(service) = self.config.services.iter().find(|known| known.name == asked.service)
        else {
            return Err("no such service".to_owned());
        };
        if **client != *ADMIN && !is_client_name(client) {
            return Err("no such client".to_owned());
        }
        host(source)?;
        let bits = if source.is_ipv4() { LEAST_BITS_V4..=32 } else { LEAST_BITS_V6..=128 };
        if !bits.contains(&prefix) {
            return Err(format!("a grant for /{prefix}"));
        }
        if ttl < Duration::from_secs(1) || ttl > service.max_ttl {
            return Err(format!(
                "a ttl of {} s, and {} has max-ttl {} s",
                ttl.as_secs(),
                service.name,
                service.max_ttl.as_secs()
            ));
        }
        Ok(Grant {
            id,
            client: Arc::clone(client),
            service: Arc::clone(&service.name),
            source,
            prefix,
            scope: service.scope.clone(),
            ttl,
        })
    }

    /// A mark of a sequence.
    pub(super) fn in_sequence(&self, source: IpAddr, ttl: Duration) -> Result<(), Refused> {
        host(source)?;
        if ttl > self.config.sequence.timeout {
            return Err(format!("a sequence of {} s", ttl.as_secs()));
        }
        Ok(())
    }

    /// A ban that somebody asked for.
    pub(super) fn ban(&self, source: IpAddr, time: Duration) -> Result<(), Refused> {
        host(source)?;
        if time.is_zero() || time > LONGEST_BAN {
            return Err(format!("a ban of {} s", time.as_secs()));
        }
        Ok(())
    }

    /// A ban that a bait rule of ours has made.
    pub(super) fn note_ban(&self, source: IpAddr, time: Duration) -> Result<(), Refused> {
        host(source)?;
        if !self.config.baits.iter().any(|bait| bait.ban == time) {
            return Err(format!("no bait bans for {} s", time.as_secs()));
        }
        Ok(())
    }

    /// A bound socket for capture `udp`.
    pub(super) fn bind(&self, port: u16) -> Result<(), Refused> {
        if self.config.capture.mode != CaptureMode::Udp
            || !self.config.sequence.stages.may_use(port)
        {
            return Err(format!("no stage is read at a bound udp port {port}"));
        }
        Ok(())
    }
}

/// Whether a client can have this name.
pub(super) fn is_client_name(client: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
    !client.is_empty() && client.len() <= LONGEST_CLIENT && client.bytes().all(fine)
}

/// One host's address: what no packet can come from is no source.
fn host(source: IpAddr) -> Result<(), Refused> {
    let wrong = match source {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast() || ip.to_ipv4_mapped().is_some(),
    };
    if wrong { Err(format!("{source} is no host")) } else { Ok(()) }
}
