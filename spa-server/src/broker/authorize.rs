//! Authorization of requests, by the broker's own configuration and never by the message's word.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use spa_proto::{ClientPublic, HostAddr};

use super::client_terms::{ClientTerm, ClientTerms};
use super::grant_limits::MAX_ADMIN_GRANTS;
use crate::config::{CaptureMode, Config, Stages};
use crate::domain::grant::{ADMIN_NAME, Grant, alone};
use crate::domain::ports::PortRange;
use crate::engine::MAX_SOURCES_WITHOUT_ACK;
use crate::ipc::message::GrantRequest;

/// Ports of hopping stages that may be live at once: 8 stages in the three epochs that the widest
/// window can touch.
const MAX_LIVE_HOP_PORTS: usize = 24;
/// Longest ban that anybody may ask for: a mistake, or a compromised listener, must end by
/// itself.
const MAX_BAN_TIME: Duration = Duration::from_secs(366 * 24 * 3600);
/// Fewest leading bits of a source that a grant may be for: a carrier's NAT pool, not half of the
/// internet.
const MIN_PREFIX_V4: u8 = 16;
const MIN_PREFIX_V6: u8 = 32;
/// The listener has looked at the clock a moment before us.
const CLOCK_SLACK: Duration = Duration::from_secs(5);
/// Longest name of a client.
const MAX_CLIENT_NAME_BYTES: usize = 64;

/// Reason why a request is not carried out.
pub(super) type DenialReason = String;

/// One configuration as the broker checks requests against it.
#[derive(Clone, Debug)]
pub(super) struct Authorization {
    /// Number of the configuration.
    pub(super) number: u64,
    /// The configuration.
    pub(super) config: Config,
    /// Grants that its clients may have.
    pub(super) clients: ClientTerms,
}

impl Authorization {
    /// The knock ports, if the configuration may knock there.
    pub(super) fn check_knock_ports(&self, ports: &[PortRange]) -> Result<(), DenialReason> {
        let fits = |range: &PortRange| {
            range.first == range.last && self.config.sequence.may_use(range.first)
        };
        if let Some(PortRange { first, last }) = ports.iter().find(|range| !fits(range)) {
            return Err(format!("no stage is at udp port {first}-{last}"));
        }
        let most = match &self.config.sequence.stages {
            Stages::Fixed(ports) => ports.len(),
            Stages::Hop { .. } if self.config.server.previous.is_some() => 2 * MAX_LIVE_HOP_PORTS,
            Stages::Hop { .. } => MAX_LIVE_HOP_PORTS,
        };
        let most = most + self.config.sequence.previous.len();
        if ports.is_empty() || ports.len() > most {
            return Err(format!("{} knock ports", ports.len()));
        }
        Ok(())
    }

    /// A grant: the service is known, its ports are ours, the time within its limit, and the client
    /// may have it, or an administrator. The second answer is how many of them that one may have.
    pub(super) fn check_grant(
        &self,
        asked: &GrantRequest,
        unix_ms: u64,
    ) -> Result<(Grant, usize), DenialReason> {
        let GrantRequest { id, ref client, source, prefix, ttl, provisional, .. } = *asked;
        let Some(service) = self.config.services.iter().find(|known| known.name == asked.service)
        else {
            return Err("no such service".to_owned());
        };
        check_source(source)?;
        let bits = if source.is_ipv4() { MIN_PREFIX_V4..=32 } else { MIN_PREFIX_V6..=128 };
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
        let grant = Grant {
            id,
            client: Arc::clone(client),
            service: Arc::clone(&service.name),
            source,
            prefix,
            scope: service.scope.clone(),
            ttl,
            provisional,
        };
        let most = self.check_holder(&grant, unix_ms)?;
        Ok((grant, most))
    }

    /// Whose grant it is: how many that one may have.
    fn check_holder(&self, grant: &Grant, unix_ms: u64) -> Result<usize, DenialReason> {
        let is_one_address = grant.prefix == alone(grant.source);
        if *grant.client == *ADMIN_NAME {
            // An administrator names one address, and nothing of it is for a CONFIRM.
            if is_one_address && !grant.provisional {
                return Ok(MAX_ADMIN_GRANTS);
            }
            return Err(format!("a grant of {ADMIN_NAME} for /{}", grant.prefix));
        }
        let client = self.clients.find_client(&grant.client);
        let stanza = &client.ok_or_else(|| "no such client".to_owned())?.stanza;
        stanza
            .check_grant(grant, unix_ms, CLOCK_SLACK)
            .map_err(|reason| format!("{} may not have that: {}", grant.client, reason.word()))?;
        let provisional = self.config.server.provisional;
        if grant.provisional && !(is_one_address && grant.ttl <= provisional) {
            return Err("a provisional grant is for one address and a moment".to_owned());
        }
        // A server that never answers lets in several sources by one session.
        let sources = if self.config.server.ack { 1 } else { MAX_SOURCES_WITHOUT_ACK };
        Ok(sources.saturating_mul(stanza.max_grants.map_or(usize::MAX, |max| max as usize)))
    }

    /// Keys in the place of a client's present ones: it may, and its `rotate` allows such keys.
    pub(super) fn check_rekey(
        &self,
        client: &str,
        old: &ClientPublic,
        new: &ClientPublic,
        unix_ms: u64,
    ) -> Result<(), DenialReason> {
        let known = self.clients.find_client(client);
        let ClientTerm { stanza, public } = known.ok_or_else(|| "no such client".to_owned())?;
        // Asked again before anybody has read what became of it: the file knows.
        if public.as_ref() == Some(new) {
            return Ok(());
        }
        if public.as_ref() != Some(old) {
            return Err(format!("these are not the keys of {client}"));
        }
        stanza
            .check_rekey(old, new, unix_ms, CLOCK_SLACK)
            .map_err(|reason| format!("{client} may not have such keys: {}", reason.word()))
    }

    /// A mark of a sequence.
    pub(super) fn check_sequence_mark(
        &self,
        source: IpAddr,
        ttl: Duration,
    ) -> Result<(), DenialReason> {
        check_source(source)?;
        if ttl > self.config.sequence.timeout {
            return Err(format!("a sequence of {} s", ttl.as_secs()));
        }
        Ok(())
    }

    /// A ban that somebody asked for.
    pub(super) fn check_ban(&self, source: IpAddr, time: Duration) -> Result<(), DenialReason> {
        check_source(source)?;
        if time.is_zero() || time > MAX_BAN_TIME {
            return Err(format!("a ban of {} s", time.as_secs()));
        }
        Ok(())
    }

    /// A ban that a bait rule of ours has made.
    pub(super) fn check_bait_ban(
        &self,
        source: IpAddr,
        time: Duration,
    ) -> Result<(), DenialReason> {
        check_source(source)?;
        if !self.config.baits.iter().any(|bait| bait.ban == time) {
            return Err(format!("no bait bans for {} s", time.as_secs()));
        }
        Ok(())
    }

    /// A bound socket for capture `udp`.
    pub(super) fn check_bind(&self, port: u16) -> Result<(), DenialReason> {
        if self.config.capture.mode != CaptureMode::Udp || !self.config.sequence.may_use(port) {
            return Err(format!("no stage is read at a bound udp port {port}"));
        }
        Ok(())
    }
}

/// Tells whether a client can have this name.
pub(super) fn is_client_name(client: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
    !client.is_empty() && client.len() <= MAX_CLIENT_NAME_BYTES && client.bytes().all(fine)
}

/// Another host's address: what no packet can come from is no source.
fn check_source(source: IpAddr) -> Result<(), DenialReason> {
    let remote = HostAddr::new_remote(source).is_some_and(|host| host.ip() == source);
    if remote { Ok(()) } else { Err(format!("{source} is no other host")) }
}
