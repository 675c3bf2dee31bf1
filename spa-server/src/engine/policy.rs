//! Access stanza: who may open what, when, from where, for how long.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use spa_proto::{Body, ClientPublic, HostAddr, Reason};

use crate::domain::grant::{Grant, Scope, alone};
use crate::domain::hours::Hours;
use crate::domain::rotation::Rotation;

/// The shortest grant.
pub(super) const MIN_GRANT: Duration = Duration::from_secs(1);
const MIN_GRANT_MS: u64 = 1000;

/// A service: named ports, or everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceTerms {
    /// Name of the service; the number on the wire is derived from it.
    pub name: Arc<str>,
    /// Ports and addresses that a grant opens.
    pub scope: Scope,
    /// Time that a grant lasts when the client does not say.
    pub ttl: Duration,
    /// The longest that a client may ask for.
    pub max_ttl: Duration,
}

/// Purpose of a pair of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Role {
    /// A client's own.
    #[default]
    Client,
    /// A client's own of before it took new ones: as good as those until they have been seen, or
    /// this moment (unix ms).
    Former {
        /// From then on they are worth nothing.
        until_ms: u64,
    },
    /// An invitation's that has made a client: they repeat their ENROL, whose answer may be lost,
    /// until the client's own have been seen, or this moment (unix ms), and do nothing else.
    Taken {
        /// From then on they are worth nothing.
        until_ms: u64,
    },
    /// An invitation's: they ENROL once, before this moment (unix ms), and do nothing else.
    Invitation {
        /// From then on they are worth nothing.
        until_ms: u64,
    },
}

/// Rights of one client. Everything that is not set allows, but for other addresses than its own.
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
    /// Leading bits of an IPv4 source that a grant is for; all 32 when it is not set.
    pub prefix_v4: Option<u8>,
    /// Leading bits of an IPv6 source that a grant is for; all 128 when it is not set.
    pub prefix_v6: Option<u8>,
    /// It may open for another address than the one that it knocks from.
    pub third_party: bool,
    /// Which keys may take the place of its own; `None`: as befits their kind.
    pub rotate: Option<Rotation>,
    /// Purpose of its keys.
    pub role: Role,
}

/// Grant that a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Permit {
    /// For how long.
    pub(super) ttl: Duration,
    /// For which address.
    pub(super) address: IpAddr,
    /// Leading bits of it that count.
    pub(super) prefix: u8,
}

impl Permit {
    /// The addresses that may pass: what tells one grant of a client from another.
    pub(super) fn granted_network(&self) -> IpNet {
        truncate_network(self.address, self.prefix)
    }
}

impl Hash for Stanza {
    /// `Hours` has no hash: equal stanzas still hash alike.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.services.hash(state);
        self.from.hash(state);
        self.expires_ms.hash(state);
        (self.ttl, self.max_ttl, self.max_grants).hash(state);
        (self.prefix_v4, self.prefix_v6, self.third_party, self.rotate, self.role).hash(state);
    }
}

impl Stanza {
    /// Decides a request: its permit, or the first rule that says no.
    /// Live grants are counted by the caller.
    pub(super) fn decide(
        &self,
        service: Option<&ServiceTerms>,
        body: &Body,
        source: IpAddr,
        unix_ms: u64,
    ) -> Result<Permit, Reason> {
        let service = service
            .filter(|service| self.services.contains(&service.name))
            .ok_or(Reason::Service)?;
        let left = self.check_validity(unix_ms)?;
        let own = source.to_canonical();
        let address = body.for_addr.map_or(own, |wanted| wanted.to_canonical());
        // Where it may knock from is where it may be let in from: a friend's address is no way
        // around `from`.
        for end in [own, address] {
            if !self.from.is_empty() && !self.from.iter().any(|net| net.contains(&end)) {
                return Err(Reason::From);
            }
        }
        if address != own && !(self.third_party && HostAddr::new_remote(address).is_some()) {
            return Err(Reason::ForAddr);
        }
        let max = self.max_ttl.map_or(service.max_ttl, |max| max.min(service.max_ttl));
        let ttl = match body.ttl_s {
            0 => self.ttl.unwrap_or(service.ttl).min(max),
            seconds => Duration::from_secs(u64::from(seconds)),
        };
        if ttl > max {
            return Err(Reason::Ttl);
        }
        let ttl = left.map_or(ttl, |left| ttl.min(Duration::from_millis(left)));
        Ok(Permit { ttl, address, prefix: self.prefix_for(Some(own), address) })
    }

    /// Checks that it may do anything at this moment. Returns for how many milliseconds yet, if
    /// that is limited.
    fn check_validity(&self, unix_ms: u64) -> Result<Option<u64>, Reason> {
        let left = self.expires_ms.map(|expires| expires.saturating_sub(unix_ms));
        // A grant lasts a second at least and never outlives its stanza: what is left must be that
        // much.
        if left.is_some_and(|left| left < MIN_GRANT_MS) {
            return Err(Reason::Expired);
        }
        if self.hours.as_ref().is_some_and(|hours| !hours.contains(unix_ms)) {
            return Err(Reason::Hours);
        }
        Ok(left)
    }

    /// Checks a grant that another process has decided, a moment before `unix_ms`.
    pub(crate) fn check_grant(
        &self,
        grant: &Grant,
        unix_ms: u64,
        slack: Duration,
    ) -> Result<(), Reason> {
        if !self.services.contains(&grant.service) {
            return Err(Reason::Service);
        }
        let before_ms = unix_ms.saturating_sub(u64::try_from(slack.as_millis()).unwrap_or(0));
        let left = self.check_validity(unix_ms).or_else(|_| self.check_validity(before_ms))?;
        if !self.from.is_empty() && !self.from.iter().any(|net| net.contains(&grant.source)) {
            return Err(Reason::From);
        }
        let longest = left.map(|left| Duration::from_millis(left).saturating_add(slack));
        let longest = self.max_ttl.into_iter().chain(longest).min();
        if longest.is_some_and(|longest| grant.ttl > longest) {
            return Err(Reason::Ttl);
        }
        if grant.prefix < self.prefix_for(Some(grant.source), grant.source) {
            return Err(Reason::ForAddr);
        }
        Ok(())
    }

    /// Checks new keys that another process has let a client have, a moment before `unix_ms`.
    pub(crate) fn check_rekey(
        &self,
        old: &ClientPublic,
        new: &ClientPublic,
        unix_ms: u64,
        slack: Duration,
    ) -> Result<(), Reason> {
        let before_ms = unix_ms.saturating_sub(u64::try_from(slack.as_millis()).unwrap_or(0));
        self.check_validity(unix_ms).or_else(|_| self.check_validity(before_ms))?;
        if self.rotation(old).allows(old, new) { Ok(()) } else { Err(Reason::Kind) }
    }

    /// Checks that keys of this stanza may be replaced from here and now: as it may knock.
    pub(super) fn admits_new_keys(&self, source: IpAddr, unix_ms: u64) -> Result<(), Reason> {
        self.check_validity(unix_ms)?;
        let own = source.to_canonical();
        if self.from.is_empty() || self.from.iter().any(|net| net.contains(&own)) {
            Ok(())
        } else {
            Err(Reason::From)
        }
    }

    /// Which keys may take the place of these.
    #[must_use]
    pub fn rotation(&self, present: &ClientPublic) -> Rotation {
        self.rotate.unwrap_or_else(|| Rotation::default_of(present.kind))
    }

    /// Leading bits that count of an address that a knock from `own` opens for.
    pub(super) fn prefix_for(&self, own: Option<IpAddr>, address: IpAddr) -> u8 {
        // Wider is for the carrier that moves the knocking client about, not for whom it opens.
        let wider = if address.is_ipv4() { self.prefix_v4 } else { self.prefix_v6 };
        wider.filter(|_| own == Some(address)).unwrap_or_else(|| alone(address))
    }

    /// The addresses that may pass then.
    pub(super) fn network_for(&self, own: Option<IpAddr>, address: IpAddr) -> IpNet {
        truncate_network(address, self.prefix_for(own, address))
    }
}

fn truncate_network(address: IpAddr, prefix: u8) -> IpNet {
    IpNet::new(address, prefix).unwrap_or_else(|_| address.into()).trunc()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use spa_proto::{Flags, Op, service_id};

    use super::*;

    const HOME: &str = "192.0.2.7";

    fn decide(
        stanza: &Stanza,
        source: &str,
        wanted: Option<&str>,
    ) -> Result<(String, u64), Reason> {
        let second = Duration::from_secs(1);
        let service = ServiceTerms {
            name: "ssh".into(),
            scope: Scope::All,
            ttl: second * 60,
            max_ttl: second * 90,
        };
        let body = Body {
            ts_ms: 1,
            service: service_id("ssh"),
            ttl_s: 0,
            op: Op::Open,
            flags: Flags::default(),
            bind_src: None,
            for_addr: wanted.map(|wanted| wanted.parse().unwrap()),
        };
        let permit = stanza.decide(Some(&service), &body, source.parse().unwrap(), 1)?;
        Ok((permit.granted_network().to_string(), permit.ttl.as_secs()))
    }

    fn stanza(third_party: bool) -> Stanza {
        Stanza { services: vec!["ssh".into()], third_party, ..Stanza::default() }
    }

    #[test]
    fn for_another_address() {
        let (own, others) = (stanza(false), stanza(true));
        for wanted in ["198.51.100.9", "2001:db8::9"] {
            assert_eq!(decide(&own, HOME, Some(wanted)), Err(Reason::ForAddr));
            let all = if wanted.contains(':') { 128 } else { 32 };
            assert_eq!(decide(&others, HOME, Some(wanted)), Ok((format!("{wanted}/{all}"), 60)));
        }
        // Its own, said aloud, is its own, also in the form that IPv6 sockets show.
        for (source, wanted) in
            [(HOME, HOME), (HOME, "::ffff:192.0.2.7"), ("::ffff:192.0.2.7", HOME)]
        {
            assert_eq!(decide(&own, source, Some(wanted)), Ok(("192.0.2.7/32".to_owned(), 60)));
        }
        assert_eq!(decide(&own, HOME, None), Ok(("192.0.2.7/32".to_owned(), 60)));
    }

    #[test]
    fn for_nobody() {
        for wanted in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "ff02::1",
            "::ffff:127.0.0.1",
        ] {
            assert_eq!(decide(&stanza(true), HOME, Some(wanted)), Err(Reason::ForAddr), "{wanted}");
        }
    }

    #[test]
    fn from_holds_for_both_ends() {
        let from = vec!["192.0.2.0/24".parse().unwrap()];
        let both = Stanza { from, ..stanza(true) };
        assert_eq!(decide(&both, HOME, Some("192.0.2.9")), Ok(("192.0.2.9/32".to_owned(), 60)));
        assert_eq!(decide(&both, HOME, Some("198.51.100.9")), Err(Reason::From));
        assert_eq!(decide(&both, "198.51.100.9", Some(HOME)), Err(Reason::From));
    }

    #[test]
    fn wider_for_its_own_address_only() {
        let wide = Stanza { prefix_v4: Some(20), prefix_v6: Some(56), ..stanza(true) };
        for (source, wanted, network) in [
            ("192.0.23.7", None, "192.0.16.0/20"),
            ("192.0.23.7", Some("192.0.23.7"), "192.0.16.0/20"),
            ("2001:db8:0:1234::1", None, "2001:db8:0:1200::/56"),
            ("192.0.23.7", Some("192.0.23.8"), "192.0.23.8/32"),
            ("2001:db8::1", Some("192.0.23.8"), "192.0.23.8/32"),
        ] {
            assert_eq!(decide(&wide, source, wanted).unwrap().0, network);
        }
    }
}
