//! `explain`: whether a knock would open, which rule says what, and what the last knocks came to.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use spa_keys::{Failure, exit};
use spa_proto::Reason;

use super::Daemon;
use crate::domain::dates;
use crate::engine::{Query, Situation};
use crate::firewall::{Authenticated, Mode};

/// The word of the configuration.
pub(super) fn word(authenticated: Authenticated) -> &'static str {
    match authenticated {
        Authenticated::Pardon => "pardon",
        Authenticated::Strict => "strict",
    }
}

impl Daemon {
    pub(super) fn explain(
        &mut self,
        (client, service): (&str, &str),
        (from, wanted): (Option<IpAddr>, Option<IpAddr>),
        at: Option<&str>,
        ttl_s: Option<u64>,
    ) -> Result<Value, Failure> {
        let now = self.clock.now();
        let zone = self.zone.clone();
        let at_ms = match at {
            None => now.unix_ms,
            Some(text) => {
                dates::at(text, &zone).map_err(|error| Failure::new(exit::USAGE, error))?
            }
        };
        let from = from.map(|source| source.to_canonical());
        let wanted = wanted.map(|address| address.to_canonical());
        let ban = match wanted.or(from) {
            None => None,
            Some(source) => {
                let bans = self.backend.firewall.bans()?;
                bans.into_iter().find(|ban| ban.network.contains(&source))
            }
        };
        let until = |left: Duration| {
            now.unix_ms.saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
        };
        let situation = Situation {
            // These three are the engine's own.
            fence_ms: 0,
            live: 0,
            renews: false,
            ban: ban.map(|ban| (ban.network, until(ban.left))),
            authenticated: self.rules.authenticated,
            protection: self.protection(),
            zone: zone.clone(),
        };
        let query =
            Query { client, service, from, wanted, ttl: ttl_s.map(Duration::from_secs), at_ms };
        let explanation = self.engine.explain(now, &query, situation);
        let rules = explanation
            .rules
            .iter()
            .map(|rule| json!({ "rule": rule.name, "says": rule.says.word(), "why": rule.why }));
        let knocks = self.history.of(client).map(|past| {
            let event = &past.event;
            json!({
                "ms": past.at_ms, "when": dates::local(past.at_ms, &zone), "event": event.kind.to_string(),
                "source": event.source.to_string(), "service": event.service.as_deref(),
                "reason": (event.reason != Reason::None).then(|| event.reason.word()),
                "skew-ms": event.by.is_none().then_some(event.skew_ms),
                "grant": event.grant.map(|grant| grant.to_string()),
                "detail": event.detail, "by": event.by,
            })
        });
        Ok(json!({
            "client": client, "service": service, "from": from.map(|source| source.to_string()),
            "for": wanted.map(|address| address.to_string()), "asked-ttl-s": ttl_s,
            "network": explanation.network.map(|network| network.to_string()),
            "at-ms": at_ms, "at": dates::local(at_ms, &zone),
            "would-open": explanation.refused_by().is_none(),
            "refused-by": explanation.refused_by().map(|rule| rule.name),
            "ttl-s": explanation.ttl.map(|ttl| ttl.as_secs()),
            "rules": rules.collect::<Vec<_>>(),
            "knocks": knocks.collect::<Vec<_>>(),
            "now-ms": now.unix_ms,
        }))
    }

    /// What a grant is worth at present.
    fn protection(&self) -> String {
        if self.backend.firewall.name() == "observe" {
            return "the backend only observes: a grant changes nothing, what is open is not our \
                doing"
                .to_owned();
        }
        if self.broken {
            return "our table is damaged, and cannot be put back: see the log".to_owned();
        }
        match self.rules.mode {
            Mode::Guard => {
                "our table hides the services' ports from whoever has no grant".to_owned()
            }
            Mode::Standalone => "our table hides everything from whoever has no grant".to_owned(),
        }
    }
}
