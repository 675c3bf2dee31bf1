//! What the user, or a program, gets told.

use std::io::{self, Write};
use std::net::IpAddr;

use serde::Serialize;
use spa_keys::{exit, printable};
use spa_proto::{Reason, Status};

use crate::clock;
use crate::duration;
use crate::explain;
use crate::local;
use crate::plan::Plan;
use crate::tried::{Tried, Verdict};
use spa_keys::Failure;

/// Version of the JSON object.
const JSON_VERSION: u8 = 1;

#[derive(Serialize)]
struct Report<'a> {
    version: u8,
    host: &'a str,
    services: Vec<ServiceReport<'a>>,
}

#[derive(Serialize)]
struct ServiceReport<'a> {
    service: &'a str,
    /// `null`: the server never answers and there was no port to test.
    granted: Option<bool>,
    /// Seconds.
    ttl: Option<u16>,
    families: Vec<FamilyReport>,
    /// One word; `null` when all is well.
    reason: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct FamilyReport {
    address: IpAddr,
    observed: Option<IpAddr>,
    rtt_ms: Option<f64>,
    /// `null`: no port to test.
    reachable: Option<bool>,
    reason: Option<&'static str>,
}

/// Prints the report; the exit code of the first service that is not open, or 0.
pub(crate) fn report(plan: &Plan, tried: &[Tried], json: bool) -> Result<u8, Failure> {
    let mut code = exit::OK;
    let mut text = String::new();
    let mut services = Vec::new();
    for (index, service) in plan.services.iter().enumerate() {
        let mut all: Vec<&Tried> = tried.iter().filter(|one| one.service == index).collect();
        // Stable: IPv4 and IPv6 in the order of the host's addresses, whichever thread was first.
        all.sort_by_key(|one| plan.addresses.iter().position(|address| address.ip() == one.address));
        let Some(best) = all.iter().copied().min_by_key(|one| one.verdict.rank()) else { continue };
        all.iter().for_each(|one| warn(plan, one));
        if best.verdict.is_good() {
            text += &sentence(plan, service, best, &all);
            text.push('\n');
            warn_of_other_family(service, &all);
        } else {
            spa_keys::note!("spa-client: {}", explain::explain(plan, service, best, &all));
            code = if code == exit::OK { exit_code(&best.verdict) } else { code };
        }
        services.push(service_report(service, best, &all));
    }
    if json {
        let report = Report { version: JSON_VERSION, host: &plan.host, services };
        text = serde_json::to_string(&report)
            .map_err(|error| Failure::new(exit::FAILURE, format!("JSON: {error}")))?;
        text.push('\n');
    }
    match io::stdout().lock().write_all(text.as_bytes()) {
        // A reader that has gone is its own decision; the door is open all the same.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(exit::FAILURE, format!("standard output: {error}")))
        }
        _ => Ok(code),
    }
}

fn exit_code(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Open { .. } | Verdict::Asked => exit::OK,
        Verdict::Denied(_) | Verdict::Clock(_) | Verdict::Fence(_) | Verdict::Busy(_) => exit::FAILURE,
        Verdict::Refused | Verdict::Unreachable | Verdict::Silence => exit::UNREACHABLE,
        Verdict::NotSent(_) => exit::NOTHING_SENT,
    }
}

/// `ssh on gate.example.org is open for 30m (192.0.2.1, IPv4 and IPv6), until 18:05:10`
fn sentence(plan: &Plan, service: &str, best: &Tried, all: &[&Tried]) -> String {
    let (service, host) = (printable(service), &plan.host);
    let good: Vec<&Tried> = all.iter().copied().filter(|one| one.verdict.is_good()).collect();
    let v4 = good.iter().any(|one| one.address.is_ipv4());
    let v6 = good.iter().any(|one| one.address.is_ipv6());
    let families = match (v4, v6) {
        (true, true) => "IPv4 and IPv6",
        (false, true) => "IPv6",
        _ => "IPv4",
    };
    let first = good.first().map_or(best.address, |one| one.address);
    match (&best.verdict, best.ack) {
        (_, Some((ack, _))) => {
            let until =
                clock::local_time_in(ack.ttl_s).map_or_else(String::new, |time| format!(", until {time}"));
            let ttl = duration::show(u64::from(ack.ttl_s));
            format!("{service} on {host} is open for {ttl} ({first}, {families}){until}")
        }
        (Verdict::Asked, None) => {
            format!(
                "asked {host} for {service} ({first}, {families}); it never answers, and there is no TCP port to test"
            )
        }
        (_, None) => {
            format!(
                "{service} on {host} is open ({first}, {families}); this server does not tell for how long"
            )
        }
    }
}

/// A program that prefers the other family, as ssh prefers IPv6, would hang there.
fn warn_of_other_family(service: &str, all: &[&Tried]) {
    for (is_v4, name, option) in [(true, "IPv4", "-6"), (false, "IPv6", "-4")] {
        let mut family = all.iter().filter(|one| one.address.is_ipv4() == is_v4).peekable();
        let first = family.peek().map(|one| (one.address, one.verdict.word()));
        // Where nothing could be sent, no other program gets either: it falls back at once.
        let dead = family.all(|one| !one.verdict.is_good() && !matches!(one.verdict, Verdict::NotSent(_)));
        if let (true, Some((address, word))) = (dead, first) {
            spa_keys::note!(
                "spa-client: warning: {} is not open over {name} ({address}: {word}); programs that try it first will hang: use their option {option}",
                printable(service)
            );
        }
    }
}

/// A server that sees another address than ours has let that one in: right behind a translator, a relay otherwise.
fn warn(plan: &Plan, one: &Tried) {
    let Some((ack, rtt)) = one.ack else { return };
    plan.tell(|| {
        let status = match ack.status {
            Status::Granted => "granted",
            Status::Denied => "denied",
            Status::Stale => "stale",
            Status::Busy => "busy",
        };
        let reason = if ack.reason == Reason::None { "" } else { ack.reason.word() };
        format!("{}: {status} {reason} after {:.1} ms", one.address, rtt.as_secs_f64() * 1e3)
    });
    let observed = ack.observed.ip();
    let differs = one.local.filter(|local| local::is_public(*local) && *local != observed);
    if let (Some(local), Status::Granted) = (differs, ack.status) {
        spa_keys::note!(
            "spa-client: warning: {} saw {observed}, not {local}: an address translator, or a relay, stands between; it is {observed} that was let in",
            one.address
        );
    }
}

fn service_report<'a>(service: &'a str, best: &Tried, all: &[&Tried]) -> ServiceReport<'a> {
    let granted = match &best.verdict {
        Verdict::Open { .. } | Verdict::Refused | Verdict::Unreachable => Some(true),
        Verdict::Asked => None,
        _ => Some(false),
    };
    let reason = |verdict: &Verdict| (!verdict.is_good()).then(|| verdict.word());
    let families = all
        .iter()
        .map(|one| FamilyReport {
            address: one.address,
            observed: one.ack.map(|(ack, _)| ack.observed.ip()),
            // Two decimals are what a user-space clock tells.
            rtt_ms: one.ack.map(|(_, rtt)| (rtt.as_secs_f64() * 1e5).round() / 100.0),
            reachable: match &one.verdict {
                Verdict::Open { probed: false } | Verdict::Asked => None,
                verdict => Some(verdict.is_good()),
            },
            reason: reason(&one.verdict),
        })
        .collect();
    let ttl = best.ack.filter(|(ack, _)| ack.status == Status::Granted).map(|(ack, _)| ack.ttl_s);
    ServiceReport { service, granted, ttl, families, reason: reason(&best.verdict) }
}
