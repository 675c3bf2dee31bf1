//! `grants`, `open`, `close`.

use std::net::IpAddr;
use std::time::Duration;

use spa_keys::{Failure, exit};
use spa_proto::{HostAddr, Reason};

use super::limits::UserLimits;
use crate::control::rows::{ClosedGrant, GrantList, GrantOpened, GrantsClosed};
use crate::control::{CloseRequest, Response};
use crate::domain::grant::ADMIN_NAME;
use crate::domain::grant::{Grant, GrantId};
use crate::engine::{Event, EventKind, Registry};
use crate::firewall::{Firewall as _, FirewallError, LiveGrant};
use crate::listener::firewall_access::FirewallAccess;
use crate::listener::knock_server::{AdminOpening, KnockServer};
use crate::listener::record::admin_event;
use spa_keys::did_you_mean;
use spa_keys::duration;
use tokio::sync::oneshot;

/// An address as the kernel's sets know it, if it can be another machine's.
fn check_remote(source: IpAddr) -> Result<IpAddr, Failure> {
    HostAddr::new_remote(source).map(HostAddr::ip).ok_or_else(|| {
        let text = format!(
            "{} cannot be a host's address: name the one to open for",
            source.to_canonical()
        );
        Failure::new(exit::USAGE, text)
    })
}

/// Lists the live grants, as the kernel has them.
pub(in crate::listener) fn list_grants(
    firewall: &mut FirewallAccess,
) -> Result<GrantList, Failure> {
    let mut grants = firewall.broker.grants()?;
    grants.sort_by(|a, b| {
        let key = |live: &LiveGrant| {
            (live.grant.client.clone(), live.grant.service.clone(), live.grant.source)
        };
        key(a).cmp(&key(b)).then(a.grant.id.cmp(&b.grant.id))
    });
    Ok(GrantList { grants: grants.iter().map(Into::into).collect() })
}

/// Opens a service for an address, without a knock, and answers when it is open.
pub(in crate::listener) fn open_grant(
    knocks: &mut KnockServer,
    asked: (&str, IpAddr, Option<u64>),
    by: u32,
    answer: oneshot::Sender<Response>,
) {
    match prepare_opening(knocks, asked, by) {
        Ok(grant) => {
            let renewed = knocks.engine.is_live(&grant.client, grant.id, knocks.now());
            knocks.open_for_admin(AdminOpening {
                grant,
                renewed,
                event: opening_event,
                respond: |outcome| Response::from_outcome(describe_opened(outcome)),
                by,
                answer,
            });
        }
        Err(failure) => {
            let _gone = answer.send(Response::from_failure(&failure));
        }
    }
}

fn prepare_opening(
    knocks: &mut KnockServer,
    (service, source, ttl_s): (&str, IpAddr, Option<u64>),
    by: u32,
) -> Result<Grant, Failure> {
    let source = check_remote(source)?;
    let registry = std::sync::Arc::clone(knocks.engine.registry());
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
                "{} is not a possible time for `{}`: it opens for 1s to its max-ttl, {}",
                duration::format(ttl),
                service.name,
                duration::format(service.max_ttl)
            ),
        ));
    }
    UserLimits::check_grants(by, knocks.record.audit.count_opened_by(by))?;
    Ok(knocks.engine.admin_grant(knocks.now(), service, source, ttl))
}

fn opening_event(grant: &Grant, renewed: bool, by: u32, error: Option<&FirewallError>) -> Event {
    match error {
        None if renewed => admin_event(EventKind::Renewed, grant, by),
        None => admin_event(EventKind::Granted, grant, by),
        Some(error) => Event {
            detail: Some(error.to_string()),
            reason: Reason::Firewall,
            ..admin_event(EventKind::Failed, grant, by)
        },
    }
}

fn describe_opened(outcome: Result<(&Grant, bool), FirewallError>) -> Result<GrantOpened, Failure> {
    match outcome {
        Ok((grant, renewed)) => Ok(GrantOpened {
            grant: grant.id.to_string(),
            client: ADMIN_NAME.to_owned(),
            service: grant.service.to_string(),
            source: grant.source,
            ttl_s: grant.ttl.as_secs(),
            renewed,
        }),
        Err(FirewallError::Banned(source)) => Err(Failure::failed(format!(
            "{source} is banned, and the server is strict; first: spa-server unban {source}"
        ))),
        Err(error) => Err(error.into()),
    }
}

/// Answer to an administrator when these grants are closed.
pub(in crate::listener) fn describe_closed(chosen: &[Grant]) -> Response {
    let closed = chosen.iter().map(|grant| ClosedGrant {
        grant: grant.id.to_string(),
        client: grant.client.to_string(),
        service: grant.service.to_string(),
        source: grant.source,
    });
    Response::from_body(&GrantsClosed { closed: closed.collect() })
}

/// Chooses grants to be closed.
pub(in crate::listener) fn choose_grants(
    firewall: &mut FirewallAccess,
    registry: &Registry,
    which: &CloseRequest,
) -> Result<Vec<Grant>, Failure> {
    let (grant, client) = (which.grant.as_deref(), which.client.as_deref());
    let wanted: Box<dyn Fn(&Grant) -> bool> = match (grant, client, which.all) {
        (Some(text), None, false) => {
            let id: GrantId = text.parse().map_err(|_| {
                Failure::new(
                    exit::USAGE,
                    format!(
                        "`{}` is not a grant number such as g42; see spa-server grants",
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
    let live = firewall.broker.grants()?;
    let chosen: Vec<Grant> =
        live.into_iter().map(|live| live.grant).filter(|grant| wanted(grant)).collect();
    if let (Some(text), true) = (grant, chosen.is_empty()) {
        return Err(Failure::failed(format!(
            "there is no live grant {text}; see spa-server grants"
        )));
    }
    if let (Some(client), true) = (client, chosen.is_empty())
        && client != ADMIN_NAME
        && registry.stanza(client).is_none()
    {
        return Err(Failure::failed(format!(
            "nothing was open, and there is no client `{}`; see spa-server clients",
            client.escape_debug()
        )));
    }
    Ok(chosen)
}
