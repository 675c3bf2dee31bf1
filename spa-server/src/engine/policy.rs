//! Who may open what, when, from where, for how long: an access stanza.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use spa_proto::{Body, Reason};

use crate::config::Hours;
use crate::grant::Scope;

/// The shortest grant.
pub(super) const MIN_GRANT: Duration = Duration::from_secs(1);
const MIN_GRANT_MS: u64 = 1000;

/// A service: named ports, or everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name; the number on the wire is derived from it.
    pub name: Arc<str>,
    /// What a grant for it opens.
    pub scope: Scope,
    /// How long a grant lasts when the client does not say.
    pub ttl: Duration,
    /// The longest that a client may ask for.
    pub max_ttl: Duration,
}

/// What one client may do. Everything that is not set allows.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Stanza {
    /// Services, by name.
    pub services: Vec<Arc<str>>,
    /// Networks that it may knock from; empty: everywhere.
    pub from: Vec<IpNet>,
    /// Hours of the week.
    pub hours: Option<Hours>,
    /// From this moment on (unix ms) it may nothing.
    pub expires_ms: Option<u64>,
    /// Overrides the service's ttl.
    pub ttl: Option<Duration>,
    /// Lowers the service's maximum.
    pub max_ttl: Option<Duration>,
    /// Most live grants at a time.
    pub max_grants: Option<u32>,
}

impl Hash for Stanza {
    /// `Hours` has no hash: equal stanzas still hash alike.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.services.hash(state);
        self.from.hash(state);
        self.expires_ms.hash(state);
        (self.ttl, self.max_ttl, self.max_grants).hash(state);
    }
}

impl Stanza {
    /// The ttl that a request gets, or the first rule that says no. Live grants are counted by the caller.
    pub(super) fn decide(
        &self,
        service: Option<&Service>,
        body: &Body,
        source: IpAddr,
        unix_ms: u64,
    ) -> Result<Duration, Reason> {
        let service =
            service.filter(|service| self.services.contains(&service.name)).ok_or(Reason::Service)?;
        let left = self.expires_ms.map(|expires| expires.saturating_sub(unix_ms));
        // A grant lasts a second at least and never outlives its stanza: what is left must be that much.
        if left.is_some_and(|left| left < MIN_GRANT_MS) {
            return Err(Reason::Expired);
        }
        if self.hours.as_ref().is_some_and(|hours| !hours.contains(unix_ms)) {
            return Err(Reason::Hours);
        }
        if !self.from.is_empty() && !self.from.iter().any(|net| net.contains(&source)) {
            return Err(Reason::From);
        }
        let max = self.max_ttl.map_or(service.max_ttl, |max| max.min(service.max_ttl));
        let ttl = match body.ttl_s {
            0 => self.ttl.unwrap_or(service.ttl).min(max),
            seconds => Duration::from_secs(u64::from(seconds)),
        };
        if ttl > max {
            return Err(Reason::Ttl);
        }
        Ok(left.map_or(ttl, |left| ttl.min(Duration::from_millis(left))))
    }
}
