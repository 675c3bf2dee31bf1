//! What the user, or a program, gets told.

pub(crate) mod explanation;
pub(crate) mod progress;

use std::net::IpAddr;

use serde::Serialize;
use spa_keys::{exit, printable};
use spa_proto::{Op, Reason, Status};

use crate::clock;
use crate::duration;
use crate::hold::{News, NewsKind};
use crate::knock::outcome::{Tried, Verdict};
use crate::output;
use crate::plan::Plan;
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

/// Prints the report; the exit code of the first service that is not good, or 0.
pub(crate) fn report(plan: &Plan, tried: &[Tried], op: Op, json: bool) -> Result<u8, Failure> {
    let code = complain(plan, tried, op);
    if json {
        output::json(&object(plan, tried))?;
        return Ok(code);
    }
    let mut text = String::new();
    for (service, all) in by_service(plan, tried) {
        if let Some(best) = best(&all).filter(|best| best.verdict.is_good()) {
            text += &sentence(plan, service, best, &all);
            text.push('\n');
        }
    }
    output::text(&text)?;
    Ok(code)
}

/// Says on standard error what is not good; the exit code as of [`report`].
pub(crate) fn complain(plan: &Plan, tried: &[Tried], op: Op) -> u8 {
    let mut code = exit::OK;
    for (service, all) in by_service(plan, tried) {
        let Some(best) = best(&all) else { continue };
        all.iter().for_each(|one| tell(plan, one));
        let found = if best.verdict.is_good() {
            remarks(plan, service, &all, op)
        } else {
            spa_keys::note!("spa-client: {}", explanation::explain(plan, service, best, &all));
            exit_code(&best.verdict)
        };
        code = if code == exit::OK { found } else { code };
    }
    code
}

/// What is to be said about a service that is good at one address and not at another.
fn remarks(plan: &Plan, service: &str, all: &[&Tried], op: Op) -> u8 {
    if op != Op::Close {
        for one in all.iter().filter(|one| matches!(one.verdict, Verdict::Relayed { .. })) {
            spa_keys::note!(
                "spa-client: warning: {}",
                explanation::explain(plan, service, one, &[one])
            );
        }
        warn_of_other_family(service, all);
        return exit::OK;
    }
    // Where nothing could be sent, nothing can be open.
    let open = all
        .iter()
        .find(|one| !one.verdict.is_good() && !matches!(one.verdict, Verdict::NotSent(_)));
    open.map_or(exit::OK, |one| {
        spa_keys::note!(
            "spa-client: {} may still be open at {} ({}): it ends by itself, or try again",
            printable(service),
            one.address,
            one.verdict.word()
        );
        exit_code(&one.verdict)
    })
}

/// What has happened to a door that is held open: on standard error, or as JSON.
pub(crate) fn news(plan: &Plan, news: &News, json: bool) -> Result<(), Failure> {
    let (one, service) = (&news.tried, plan.services.get(news.service).map_or("", String::as_str));
    tell(plan, one);
    let from = one.local.map_or_else(String::new, |local| format!(" from {local}"));
    match news.kind {
        NewsKind::Renewed => plan.tell(|| format!("{}: renewed{from}", one.address)),
        NewsKind::Open => {
            spa_keys::note!("spa-client: {}{from}", sentence(plan, service, one, &[one]))
        }
        NewsKind::Lost => spa_keys::note!(
            "spa-client: {} on {} is not open any more at {} ({}); trying on",
            printable(service),
            plan.host,
            one.address,
            one.verdict.word()
        ),
    }
    if json {
        let services = vec![service_report(service, one, &[one])];
        output::json(&Report { version: JSON_VERSION, host: &plan.host, services })?;
    }
    Ok(())
}

/// What was tried for each service, in the order of the host's addresses, whichever thread was
/// first.
fn by_service<'a>(
    plan: &'a Plan,
    tried: &'a [Tried],
) -> impl Iterator<Item = (&'a str, Vec<&'a Tried>)> {
    plan.services.iter().enumerate().map(move |(index, service)| {
        let mut all: Vec<&Tried> = tried.iter().filter(|one| one.service == index).collect();
        all.sort_by_key(|one| {
            plan.addresses.iter().position(|address| address.ip() == one.address)
        });
        (service.as_str(), all)
    })
}

fn best<'a>(all: &[&'a Tried]) -> Option<&'a Tried> {
    all.iter().copied().min_by_key(|one| one.verdict.rank())
}

/// The report as JSON.
pub(crate) fn object<'a>(plan: &'a Plan, tried: &'a [Tried]) -> impl Serialize + use<'a> {
    let services = by_service(plan, tried)
        .filter_map(|(service, all)| best(&all).map(|best| service_report(service, best, &all)))
        .collect();
    Report { version: JSON_VERSION, host: &plan.host, services }
}

fn exit_code(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Open { .. } | Verdict::Asked | Verdict::Closed => exit::OK,
        Verdict::Denied(_)
        | Verdict::Clock(_)
        | Verdict::Fence(_)
        | Verdict::Busy(_)
        | Verdict::Relayed { .. } => exit::FAILURE,
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
        (Verdict::Closed, _) => format!("{service} on {host} is closed ({first}, {families})"),
        (_, Some((ack, _))) => {
            let until = clock::local_time_in(ack.ttl_s)
                .map_or_else(String::new, |time| format!(", until {time}"));
            let ttl = duration::show(u64::from(ack.ttl_s));
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

/// A program that prefers the other family, as ssh prefers IPv6, would hang there.
fn warn_of_other_family(service: &str, all: &[&Tried]) {
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

/// With `-v`: what came back.
fn tell(plan: &Plan, one: &Tried) {
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
                Verdict::Open { probed: false } | Verdict::Asked | Verdict::Closed => None,
                verdict => Some(verdict.is_good()),
            },
            reason: reason(&one.verdict),
        })
        .collect();
    let open = granted == Some(true);
    let ttl =
        best.ack.filter(|(ack, _)| open && ack.status == Status::Granted).map(|(ack, _)| ack.ttl_s);
    ServiceReport { service, granted, ttl, families, reason: reason(&best.verdict) }
}
