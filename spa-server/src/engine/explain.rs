//! Explanation of a knock, rule by rule: the answer to "why does it not work?".
//!
//! The rules are those of [`Stanza::decide`] and of the way there; a test holds the two to the same
//! verdict.

mod asked;

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;

use super::listing::Listed;
use super::policy::{ServiceTerms, Stanza};
use super::{Engine, Now, Registry};
use crate::domain::dates;
use crate::firewall::Authenticated;
use spa_keys::duration;

/// Knock that is to be explained.
#[derive(Clone, Copy, Debug)]
pub struct KnockQuery<'a> {
    /// Name of a client, enrolled or not.
    pub client: &'a str,
    /// Name of a service, there or not.
    pub service: &'a str,
    /// Where it would knock from.
    pub from: Option<IpAddr>,
    /// Whom it would ask to open for; `None`: for where it knocks from.
    pub wanted: Option<IpAddr>,
    /// For how long it would ask.
    pub ttl: Option<Duration>,
    /// When, unix milliseconds.
    pub at_ms: u64,
}

/// Circumstances of a knock beside clients and services.
#[derive(Clone, Debug)]
pub struct Situation {
    /// Time stamps up to this one are refused, unix milliseconds.
    pub fence_ms: u64,
    /// The same of this client alone.
    pub floor_ms: u64,
    /// The fence or the floor was made by a clock that was ahead.
    pub clock_behind: bool,
    /// Grants that the client has at that moment, as far as is known now.
    pub live: usize,
    /// It has this service open for just that network, so a knock would renew.
    pub renews: bool,
    /// The ban that covers the source now, and when it ends, unix milliseconds.
    pub ban: Option<(IpNet, u64)>,
    /// Treatment of a knock from a banned address.
    pub authenticated: Authenticated,
    /// Effect of a grant at present: a sentence about the firewall.
    pub protection: String,
    /// The server's time zone, for the sentences.
    pub zone: TimeZone,
}

/// A rule's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// It lets the knock through.
    Yes,
    /// It would refuse it.
    No,
    /// That depends on an address that was not told.
    Depends,
}

impl Says {
    /// The word for text and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Depends => "depends",
        }
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Name of the rule: the key of the stanza, where it is one.
    pub name: &'static str,
    /// Outcome of the rule.
    pub says: Says,
    /// Why.
    pub why: String,
}

/// All rules in their order. None comes behind an unknown client or service, they have nothing to
/// judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The rules.
    pub rules: Vec<Rule>,
    /// Time for which it would be open; `None` when it would not.
    pub ttl: Option<Duration>,
    /// For which addresses; `None` when an address decides that was not told.
    pub network: Option<IpNet>,
}

impl Explanation {
    /// The first rule that says no.
    #[must_use]
    pub fn refused_by(&self) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.says == Says::No)
    }

    fn add_rule(&mut self, name: &'static str, yes: bool, why: String) {
        self.rules.push(Rule { name, says: if yes { Says::Yes } else { Says::No }, why });
    }

    fn add_undecided(&mut self, name: &'static str, why: String) {
        self.rules.push(Rule { name, says: Says::Depends, why });
    }
}

/// Says what every rule says.
#[must_use]
pub fn explain(registry: &Registry, query: &KnockQuery<'_>, situation: &Situation) -> Explanation {
    let mut out = Explanation { rules: Vec::new(), ttl: None, network: None };
    let client = registry.place_of(query.client).and_then(|place| registry.listed(place));
    let Some(client) = client else {
        out.add_rule(
            "client",
            false,
            "no client of this name is enrolled; its knocks count as a stranger's".to_owned(),
        );
        return out;
    };
    out.add_rule("client", true, "it is enrolled".to_owned());
    explain_fence(&mut out, query, situation);
    explain_floor(&mut out, query, situation);
    let Some(service) = explain_service(&mut out, registry, client, query) else { return out };
    let stanza = client.stanza;
    let left = explain_expiry(&mut out, stanza, query, situation);
    explain_hours(&mut out, stanza, query);
    explain_source(&mut out, stanza, query);
    asked::third_party(&mut out, stanza, query);
    asked::explain_prefix(&mut out, stanza, query);
    let ttl = asked::explain_ttl(&mut out, stanza, service, query, left);
    max_grants(&mut out, stanza, situation);
    explain_ban(&mut out, query, situation);
    out.add_rule("protection", true, situation.protection.clone());
    if out.refused_by().is_none() {
        out.ttl = Some(ttl);
    }
    out
}

fn explain_fence(out: &mut Explanation, query: &KnockQuery<'_>, situation: &Situation) {
    let wait = situation.fence_ms.saturating_sub(query.at_ms);
    if situation.fence_ms >= query.at_ms {
        let wait = duration::format_roughly(Duration::from_secs(wait.div_ceil(1000).max(1)));
        out.add_rule(
            "fence",
            false,
            format!(
                "after its start the server refuses knocks that may be old; it takes new ones \
                in {wait}{}",
                accept_clock(situation)
            ),
        );
    } else {
        out.add_rule("fence", true, "knocks of that moment are accepted".to_owned());
    }
}

/// Most clients have none: then there is nothing to say.
fn explain_floor(out: &mut Explanation, query: &KnockQuery<'_>, situation: &Situation) {
    let wait = situation.floor_ms.saturating_sub(query.at_ms);
    if situation.floor_ms >= query.at_ms {
        let wait = duration::format_roughly(Duration::from_secs(wait.div_ceil(1000).max(1)));
        let advice = accept_clock(situation);
        out.add_rule(
            "floor",
            false,
            format!(
                "this client has knocked with later times more often than the server remembers; it \
                 can knock in {wait}{advice}"
            ),
        );
    }
}

fn accept_clock(situation: &Situation) -> &'static str {
    if situation.clock_behind {
        ". An earlier clock was ahead; if this one is right: spa-server accept-clock"
    } else {
        ""
    }
}

fn explain_service<'a>(
    out: &mut Explanation,
    registry: &'a Registry,
    client: Listed<'_>,
    query: &KnockQuery<'_>,
) -> Option<&'a ServiceTerms> {
    let names =
        |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let Some(service) = registry.service_named(query.service) else {
        let all = registry.services().iter().map(|service| &*service.name).collect();
        out.add_rule(
            "service",
            false,
            format!("there is no such service; there are: {}", names(all)),
        );
        return None;
    };
    if client.stanza.services.contains(&service.name) {
        out.add_rule("service", true, "it is one of the client's services".to_owned());
    } else {
        let own = client.stanza.services.iter().map(|name| &**name).collect();
        out.add_rule(
            "service",
            false,
            format!("it is not in the client's `services`; those are: {}", names(own)),
        );
    }
    Some(service)
}

fn explain_expiry(
    out: &mut Explanation,
    stanza: &Stanza,
    query: &KnockQuery<'_>,
    situation: &Situation,
) -> Option<Duration> {
    let Some(expires_ms) = stanza.expires_ms else {
        out.add_rule("expires", true, "the client's access does not expire".to_owned());
        return None;
    };
    let left = Duration::from_millis(expires_ms.saturating_sub(query.at_ms));
    let when = dates::local(expires_ms, &situation.zone);
    // As in the decision: what is left must be enough for the shortest grant.
    if left < super::policy::MIN_GRANT {
        out.add_rule("expires", false, format!("its access ended {when}"));
    } else {
        out.add_rule("expires", true, format!("its access ends {when}"));
    }
    Some(left)
}

fn explain_hours(out: &mut Explanation, stanza: &Stanza, query: &KnockQuery<'_>) {
    match &stanza.hours {
        None => out.add_rule("hours", true, "it may knock at any hour".to_owned()),
        Some(hours) => {
            let inside = hours.contains(query.at_ms);
            let is = if inside { "is within" } else { "is outside" };
            out.add_rule("hours", inside, format!("{} {is} {hours}", hours.local(query.at_ms)));
        }
    }
}

fn explain_source(out: &mut Explanation, stanza: &Stanza, query: &KnockQuery<'_>) {
    let nets: Vec<String> = stanza.from.iter().map(ToString::to_string).collect();
    let nets = nets.join(", ");
    let inside = |address: &IpAddr| stanza.from.iter().any(|net| net.contains(address));
    let outside = query.wanted.filter(|wanted| !stanza.from.is_empty() && !inside(wanted));
    // As in the decision: a friend's address is no way around `from`.
    if let Some(wanted) = outside
        && query.from.as_ref().is_none_or(inside)
    {
        out.add_rule(
            "from",
            false,
            format!("it would open for {wanted}, which is in none of {nets}"),
        );
        return;
    }
    match (query.from, stanza.from.is_empty()) {
        (_, true) => out.add_rule("from", true, "it may knock from anywhere".to_owned()),
        (None, false) => {
            out.add_undecided("from", format!("it may knock from {nets}; ask with --from ADDR"))
        }
        (Some(source), false) => match stanza.from.iter().find(|net| net.contains(&source)) {
            Some(net) => out.add_rule("from", true, format!("{source} is in {net}")),
            None => out.add_rule("from", false, format!("{source} is in none of {nets}")),
        },
    }
}

fn max_grants(out: &mut Explanation, stanza: &Stanza, situation: &Situation) {
    let has = situation.live;
    match stanza.max_grants {
        None => out.add_rule("max-grants", true, format!("it has {has} open, without a limit")),
        Some(_) if situation.renews => {
            out.add_rule("max-grants", true, "it would renew what it has open".to_owned());
        }
        Some(max) => out.add_rule(
            "max-grants",
            has < max as usize,
            format!("it has {has} open, of at most {max}"),
        ),
    }
}

fn explain_ban(out: &mut Explanation, query: &KnockQuery<'_>, situation: &Situation) {
    // A ban is about whom it opens for.
    let Some(source) = query.wanted.or(query.from) else {
        out.add_undecided("ban", "no address was given; ask with --from ADDR".to_owned());
        return;
    };
    match (situation.ban, situation.authenticated) {
        (None, _) => out.add_rule("ban", true, format!("{source} is not banned")),
        (Some((net, until_ms)), _) if until_ms <= query.at_ms => {
            out.add_rule("ban", true, format!("{net} is banned now, but no longer at that time"));
        }
        (Some((net, _)), Authenticated::Pardon) => {
            out.add_rule(
                "ban",
                true,
                format!(
                    "{net} is banned, and a knock lifts that (authenticated = \
                \"pardon\")"
                ),
            );
        }
        (Some((net, _)), Authenticated::Strict) => out.add_rule(
            "ban",
            false,
            format!(
                "{net} is banned, and no knock lifts that (authenticated = \"strict\"); \
                spa-server unban {source}"
            ),
        ),
    }
}

impl Engine {
    /// [`explain()`] with what the engine knows of this moment.
    #[must_use]
    pub fn explain(&self, now: Now, query: &KnockQuery<'_>, outside: Situation) -> Explanation {
        let then =
            now.mono.saturating_add(Duration::from_millis(query.at_ms.saturating_sub(now.unix_ms)));
        let stanza =
            self.registry.place_of(query.client).and_then(|place| self.registry.listed(place));
        let network = stanza
            .zip(query.wanted.or(query.from))
            .map(|(client, address)| client.stanza.network_for(query.from, address));
        let renews = |network: IpNet| {
            !self
                .grants
                .find_live(
                    query.client,
                    |grant| {
                        *grant.service == *query.service
                            && grant.network == network
                            && !grant.provisional
                    },
                    then,
                )
                .is_empty()
        };
        let situation = Situation {
            fence_ms: self.fence_ms(now),
            floor_ms: stanza.map_or(0, |client| self.replay_cache.floor_ms(&client.public.sign)),
            clock_behind: self.clock_behind(now).is_some(),
            live: self.grants.count_live(query.client, &[], then),
            renews: network.is_some_and(renews),
            ..outside
        };
        explain(&self.registry, query, &situation)
    }
}

#[cfg(test)]
mod tests;
