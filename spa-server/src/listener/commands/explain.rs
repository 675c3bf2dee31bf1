//! `explain`: whether a knock would open, which rule says what, and what the last knocks came to.

use std::time::Duration;

use jiff::tz::TimeZone;
use spa_keys::{Failure, exit, whole_millis};
use spa_proto::Reason;

use crate::control::ExplainRequest;
use crate::control::rows::{Explained, KnockRow, RuleRow};
use crate::domain::dates;
use crate::engine::{KnockQuery, Says, Situation};
use crate::firewall::Firewall as _;
use crate::firewall::reach::ReachAnswer;
use crate::listener::firewall_access::FirewallAccess;
use crate::listener::knock_server::KnockServer;

/// Explains whether a knock would open.
pub(in crate::listener) fn explain_knock(
    knocks: &KnockServer,
    firewall: &mut FirewallAccess,
    zone: &TimeZone,
    request: &ExplainRequest,
) -> Result<Explained, Failure> {
    let ExplainRequest { client, service, from, at, wanted, ttl_s } = request;
    let now = knocks.now();
    let at_ms = match at.as_deref() {
        None => now.unix_ms,
        Some(text) => {
            dates::at(text, zone).map_err(|error| Failure::new(exit::USAGE, error.to_string()))?
        }
    };
    let from = from.map(|source| source.to_canonical());
    let wanted = wanted.map(|address| address.to_canonical());
    let ban = match wanted.or(from) {
        None => None,
        Some(source) => {
            let bans = firewall.broker.bans()?;
            bans.into_iter().find(|ban| ban.network.contains(&source))
        }
    };
    let until = |left: Duration| now.unix_ms.saturating_add(whole_millis(left));
    let situation = Situation {
        // These five are the engine's own.
        fence_ms: 0,
        floor_ms: 0,
        clock_behind: false,
        live: 0,
        renews: false,
        ban: ban.map(|ban| (ban.network, until(ban.left))),
        authenticated: firewall.rules.authenticated,
        protection: firewall.describe_protection().to_owned(),
        zone: zone.clone(),
    };
    let query =
        KnockQuery { client, service, from, wanted, ttl: (*ttl_s).map(Duration::from_secs), at_ms };
    let explanation = knocks.engine.explain(now, &query, situation);
    let refused_by = explanation.refused_by().map(|rule| rule.name.to_owned());
    let ways = match explanation.rules.len() {
        // Of what nobody knows.
        0 | 1 => Vec::new(),
        _ => firewall.broker.answer_reach_of(service, wanted.or(from))?,
    };
    let ways = ways.into_iter().map(|way| RuleRow {
        rule: format!("way-{}", way.family).to_lowercase(),
        says: match way.reachable.answer {
            ReachAnswer::Yes => Says::Yes,
            ReachAnswer::No => Says::No,
            ReachAnswer::Undecided => Says::Depends,
        }
        .word()
        .to_owned(),
        why: match way.remedy {
            Some(remedy) if way.reachable.answer == ReachAnswer::No => {
                format!("{}: {remedy}", way.reachable.why)
            }
            _ => way.reachable.why,
        },
    });
    let rules = explanation.rules.iter().map(|rule| RuleRow {
        rule: rule.name.to_owned(),
        says: rule.says.word().to_owned(),
        why: rule.why.clone(),
    });
    let knocks = knocks.record.history.events_of(client).map(|past| {
        let event = &past.event;
        KnockRow {
            ms: past.at_ms,
            when: dates::local(past.at_ms, zone),
            event: event.kind.to_string(),
            source: event.source,
            service: event.service.as_ref().map(ToString::to_string),
            reason: (event.reason != Reason::None).then(|| event.reason.word().to_owned()),
            skew_ms: event.by.is_none().then_some(event.skew_ms),
            grant: event.grant.map(|grant| grant.to_string()),
            detail: event.detail.clone(),
            by: event.by,
        }
    });
    Ok(Explained {
        client: client.clone(),
        service: service.clone(),
        from,
        wanted,
        asked_ttl_s: *ttl_s,
        network: explanation.network,
        at_ms,
        at: dates::local(at_ms, zone),
        would_open: refused_by.is_none(),
        refused_by,
        ttl_s: explanation.ttl.map(|ttl| ttl.as_secs()),
        rules: rules.chain(ways).collect(),
        knocks: knocks.collect(),
        now_ms: now.unix_ms,
    })
}
