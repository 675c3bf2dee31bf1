//! `grants`, `open`, `close`.

use std::net::IpAddr;
use std::time::Duration;

use spa_keys::{Failure, exit};
use spa_proto::Reason;
use tokio::sync::oneshot;

use super::Listener;
use crate::control::rows::{ClosedGrant, GrantList, GrantOpened, GrantsClosed};
use crate::control::{CloseRequest, Response};
use crate::domain::grant::ADMIN;
use crate::domain::grant::{Grant, GrantId};
use crate::engine::{Event, EventKind};
use crate::firewall::{FirewallError, LiveGrant};
use spa_keys::did_you_mean;
use spa_keys::duration;

/// An address as the kernel's sets know it, if it can be anybody's.
fn check_unicast(source: IpAddr) -> Result<IpAddr, Failure> {
    let source = source.to_canonical();
    let nobody = source.is_unspecified()
        || source.is_multicast()
        || matches!(source, IpAddr::V4(v4) if v4.is_broadcast());
    if nobody {
        return Err(Failure::new(
            exit::USAGE,
            format!("{source} is nobody's address: name the one that shall pass"),
        ));
    }
    Ok(source)
}

impl Listener {
    /// Lists the live grants, as the kernel has them.
    pub(super) fn list_grants(&mut self) -> Result<GrantList, Failure> {
        let mut grants = self.backend.firewall.grants()?;
        grants.sort_by(|a, b| {
            let key = |live: &LiveGrant| {
                (live.grant.client.clone(), live.grant.service.clone(), live.grant.source)
            };
            key(a).cmp(&key(b)).then(a.grant.id.cmp(&b.grant.id))
        });
        Ok(GrantList { grants: grants.iter().map(Into::into).collect() })
    }

    /// Opens a service for an address, without a knock.
    pub(super) fn open_grant(
        &mut self,
        service: &str,
        source: IpAddr,
        ttl_s: Option<u64>,
        by: u32,
    ) -> Result<GrantOpened, Failure> {
        let source = check_unicast(source)?;
        let registry = std::sync::Arc::clone(self.engine.registry());
        let Some(service) = registry.service_named(service) else {
            let services = registry.services();
            let names = || services.iter().map(|service| &*service.name);
            let near = did_you_mean(service, names());
            let names: Vec<&str> = names().collect();
            return Err(Failure::failed(format!(
                "there is no service `{}`, there are: {}{near}",
                service.escape_debug(),
                names.join(", ")
            )));
        };
        let ttl = ttl_s.map_or(service.ttl, Duration::from_secs);
        if ttl.is_zero() || ttl > service.max_ttl {
            return Err(Failure::new(
                exit::USAGE,
                format!(
                    "{} is no time for `{}`: from 1s to its max-ttl, {}",
                    duration::format(ttl),
                    service.name,
                    duration::format(service.max_ttl)
                ),
            ));
        }
        let now = self.clock.now();
        let grant = self.engine.admin_grant(now, service, source, ttl);
        let renewed = self.engine.is_live(ADMIN, grant.id, now);
        match self.backend.firewall.open(&grant) {
            Ok(()) => {}
            Err(error) => {
                let event = Event {
                    detail: Some(error.to_string()),
                    ..admin_event(EventKind::Failed, &grant, by)
                };
                self.record_event(&Event { reason: Reason::Firewall, ..event });
                return Err(match error {
                    FirewallError::Banned(_) => Failure::failed(format!(
                        "{source} is banned, and the server is strict; first: spa-server unban \
                         {source}"
                    )),
                    error => error.into(),
                });
            }
        }
        self.engine.adopt([(grant.clone(), ttl)], now);
        let kind = if renewed { EventKind::Renewed } else { EventKind::Granted };
        self.record_event(&admin_event(kind, &grant, by));
        Ok(GrantOpened {
            grant: grant.id.to_string(),
            client: ADMIN.to_owned(),
            service: grant.service.to_string(),
            source,
            ttl_s: ttl.as_secs(),
            renewed,
        })
    }

    /// Closes grants, and answers when they are closed.
    pub(super) fn close_grants(
        &mut self,
        which: &CloseRequest,
        by: u32,
        answer: oneshot::Sender<Response>,
    ) {
        match self.choose_grants(which) {
            Ok((live, chosen)) => {
                let closed = chosen.iter().map(|grant| ClosedGrant {
                    grant: grant.id.to_string(),
                    client: grant.client.to_string(),
                    service: grant.service.to_string(),
                    source: grant.source,
                });
                let good = Response::from_body(&GrantsClosed { closed: closed.collect() });
                self.close_all(&live, chosen, by, answer, good);
            }
            Err(failure) => drop(answer.send(Response::from_failure(&failure))),
        }
    }

    /// The live grants, and those that are meant.
    fn choose_grants(
        &mut self,
        which: &CloseRequest,
    ) -> Result<(Vec<LiveGrant>, Vec<Grant>), Failure> {
        let (grant, client) = (which.grant.as_deref(), which.client.as_deref());
        let wanted: Box<dyn Fn(&Grant) -> bool> = match (grant, client, which.all) {
            (Some(text), None, false) => {
                let id: GrantId = text.parse().map_err(|_| {
                    Failure::new(
                        exit::USAGE,
                        format!(
                            "`{}` is no grant's number, as g42; see spa-server grants",
                            text.escape_debug()
                        ),
                    )
                })?;
                Box::new(move |grant| grant.id == id)
            }
            (None, Some(client), false) => Box::new(move |grant| *grant.client == *client),
            (None, None, true) => Box::new(|_| true),
            _ => return Err(Failure::new(exit::USAGE, "say which: a grant, a client, or all")),
        };
        let live = self.backend.firewall.grants()?;
        let chosen: Vec<Grant> =
            live.iter().map(|live| &live.grant).filter(|grant| wanted(grant)).cloned().collect();
        if let (Some(text), true) = (grant, chosen.is_empty()) {
            return Err(Failure::failed(format!(
                "there is no live grant {text}; see spa-server grants"
            )));
        }
        Ok((live, chosen))
    }
}

/// Event of a grant that an administrator has closed.
pub(in crate::listener) fn closed_by(grant: &Grant, by: u32) -> Event {
    admin_event(EventKind::Closed, grant, by)
}

fn admin_event(kind: EventKind, grant: &Grant, by: u32) -> Event {
    Event {
        kind,
        client: grant.client.clone(),
        service: Some(grant.service.clone()),
        source: grant.source,
        skew_ms: 0,
        reason: Reason::None,
        grant: Some(grant.id),
        asked: None,
        network: Some(grant.network()),
        took: None,
        ttl: (kind != EventKind::Closed).then_some(grant.ttl),
        detail: None,
        by: Some(by),
    }
}
