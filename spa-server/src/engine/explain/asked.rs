//! The rules about what a knock asks for: for whom, for which network that opens, for how long.

use std::net::IpAddr;
use std::time::Duration;

use super::{Explanation, KnockQuery};
use crate::domain::grant::alone;
use crate::engine::policy::{ServiceTerms, Stanza};
use spa_keys::duration;
use spa_proto::HostAddr;

/// `third-party`: only a knock that names an address is judged by it.
pub(super) fn third_party(out: &mut Explanation, stanza: &Stanza, query: &KnockQuery<'_>) {
    let Some(wanted) = query.wanted else { return };
    let name = "third-party";
    match query.from {
        Some(own) if own == wanted => {
            out.add_rule(name, true, format!("{wanted} is its own address"))
        }
        _ if HostAddr::new_remote(wanted).is_none() => {
            out.add_rule(name, false, format!("no packet can come from {wanted}"))
        }
        _ if stanza.third_party => {
            out.add_rule(name, true, "it may open for other addresses".to_owned())
        }
        Some(_) => out.add_rule(
            name,
            false,
            format!("it may open for its own address only, not for {wanted}"),
        ),
        None => out.add_undecided(
            name,
            "it may open for its own address only; ask with --from ADDR".to_owned(),
        ),
    }
}

/// `grant-prefix-v4` and `-v6`: never a refusal, but whom it opens for.
pub(super) fn explain_prefix(out: &mut Explanation, stanza: &Stanza, query: &KnockQuery<'_>) {
    let name = "grant-prefix";
    let bits = |source: IpAddr| stanza.prefix_for(Some(source), source);
    let all = |address: IpAddr| bits(address) == alone(address);
    match (query.from, query.wanted) {
        (None, None) => {
            let (v4, v6) = (bits(IpAddr::from([0; 4])), bits(IpAddr::from([0; 16])));
            let text = match (v4, v6) {
                (32, 128) => "it opens for the address alone that it knocks from".to_owned(),
                _ => format!(
                    "it opens for the /{v4} around an IPv4 address that it knocks from, the /{v6} \
                     around an IPv6 one"
                ),
            };
            out.add_rule(name, true, text);
        }
        (None, Some(wanted)) if !all(wanted) => {
            let around = stanza.network_for(Some(wanted), wanted);
            out.add_rule(
                name,
                true,
                format!("it opens for {wanted} alone, but for {around} if it knocks from there"),
            );
        }
        (from, wanted) => {
            let Some(address) = wanted.or(from) else { return };
            let network = stanza.network_for(from, address);
            out.network = Some(network);
            let text = match network.prefix_len() == alone(address) {
                true if from != Some(address) && !all(address) => {
                    format!("it opens for {address} alone: a wider prefix is for its own address")
                }
                true => format!("it opens for {address} alone"),
                false => format!("it opens for {network}, around {address}"),
            };
            out.add_rule(name, true, text);
        }
    }
}

/// `ttl` and `max-ttl`. Answers what it would get if no rule said no. `left`: until its stanza
/// expires.
pub(super) fn explain_ttl(
    out: &mut Explanation,
    stanza: &Stanza,
    service: &ServiceTerms,
    query: &KnockQuery<'_>,
    left: Option<Duration>,
) -> Duration {
    let name = "ttl";
    let max = stanza.max_ttl.map_or(service.max_ttl, |max| max.min(service.max_ttl));
    let usual = stanza.ttl.unwrap_or(service.ttl).min(max);
    let wanted = query.ttl.unwrap_or(usual);
    let gets = left.map_or(wanted, |left| wanted.min(left));
    let [max_shown, wanted_shown, usual_shown] = [max, wanted, usual].map(duration::format);
    if wanted > max {
        let why = format!(
            "{wanted_shown} is longer than its max-ttl of {max_shown}; without a time it gets \
             {usual_shown}"
        );
        out.add_rule(name, false, why);
    } else if gets < wanted {
        let gets = duration::format(Duration::from_secs(gets.as_secs()));
        out.add_rule(
            name,
            true,
            format!("only {gets} of {wanted_shown} are left: its access ends then"),
        );
    } else if query.ttl.is_some() {
        out.add_rule(
            name,
            true,
            format!("it gets the {wanted_shown} that it asks for; its max-ttl is {max_shown}"),
        );
    } else {
        out.add_rule(
            name,
            true,
            format!("it gets {usual_shown} if it asks for no time, and {max_shown} at most"),
        );
    }
    gets
}
