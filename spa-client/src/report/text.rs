//! Sentences about outcomes.

use std::time::Duration;

use spa_keys::{duration, printable};
use spa_proto::{Reason, Status};

use crate::clock;
use crate::knock::{Outcome, Verdict};
use crate::plan::Plan;

/// Describes a service that is good: `ssh on gate.example.org is open for 30m (192.0.2.1, IPv4 and
/// IPv6), until 18:05:10`
pub(super) fn describe_success(
    plan: &Plan,
    service: &str,
    best: &Outcome,
    all: &[&Outcome],
) -> String {
    let (service, host) = (printable(service), &plan.host);
    let good: Vec<&Outcome> = all.iter().copied().filter(|one| one.verdict.is_good()).collect();
    let v4 = good.iter().any(|one| one.address.is_ipv4());
    let v6 = good.iter().any(|one| one.address.is_ipv6());
    let families = match (v4, v6) {
        (true, true) => "IPv4 and IPv6",
        (false, true) => "IPv6",
        _ => "IPv4",
    };
    let first = good.first().map_or(best.address, |one| one.address);
    match (&best.verdict, best.ack) {
        (Verdict::Closed, _) => format!("{service} on {host} is closed ({first}, {families})"),
        (Verdict::NotHidden, _) => {
            format!("{service} on {host} is reachable without a knock ({first}, {families})")
        }
        (_, Some((ack, _))) => {
            let until = clock::format_local_time_in(ack.ttl_s)
                .map_or_else(String::new, |time| format!(", until {time}"));
            let ttl = duration::format(Duration::from_secs(ack.ttl_s.into()));
            format!("{service} on {host} is open for {ttl} ({first}, {families}){until}")
        }
        (Verdict::Asked, None) => {
            format!(
                "asked {host} for {service} ({first}, {families}); it never answers, and there is \
                 no TCP port to test"
            )
        }
        (_, None) => {
            format!(
                "{service} on {host} is open ({first}, {families}); this server does not tell for \
                 how long"
            )
        }
    }
}

/// Warns of a family that is not open: a program that prefers it, as ssh prefers IPv6, would hang.
pub(super) fn warn_of_other_family(service: &str, all: &[&Outcome]) {
    for (is_v4, name, option) in [(true, "IPv4", "-6"), (false, "IPv6", "-4")] {
        let mut family = all.iter().filter(|one| one.address.is_ipv4() == is_v4).peekable();
        let first = family.peek().map(|one| (one.address, one.verdict.word()));
        // Where nothing could be sent, no other program gets either: it falls back at once.
        let dead =
            family.all(|one| !one.verdict.is_good() && !matches!(one.verdict, Verdict::NotSent(_)));
        if let (true, Some((address, word))) = (dead, first) {
            spa_keys::note!(
                "spa-client: warning: {} is not open over {name} ({address}: {word}); programs \
                 that try it first will hang: use their option {option}",
                printable(service)
            );
        }
    }
}

/// Notes the answer, with `-v` only.
pub(super) fn note_answer(plan: &Plan, one: &Outcome) {
    let Some((ack, rtt)) = one.ack else { return };
    plan.log_verbose(|| {
        let status = match ack.status {
            Status::Granted => "granted",
            Status::Denied => "denied",
            Status::Stale => "stale",
            Status::Busy => "busy",
        };
        let reason = if ack.reason == Reason::None { "" } else { ack.reason.word() };
        format!("{}: {status} {reason} after {:.1} ms", one.address, rtt.as_secs_f64() * 1e3)
    });
}
