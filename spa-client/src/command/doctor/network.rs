//! Names, routes, our own addresses, and what a knock tells.

use std::net::IpAddr;
use std::sync::Arc;

use spa_keys::exit;
use spa_proto::{Op, Status};

use super::finding::{Finding, Level};
use crate::address::source;
use crate::duration;
use crate::knock::attempt;
use crate::knock::outcome::{Tried, Verdict};
use crate::knock::relay;
use crate::plan::Plan;
use crate::report::explanation;

/// A clock that differs by less than this is right: the window of a server is far wider.
const SKEW_MS: i64 = 2_000;
/// A service that no server has: a close of it changes nothing there and is answered all the same.
pub(super) const NO_SERVICE: &str = "spa-client doctor";

/// The way to each address, without sending anything.
pub(super) fn routes(plan: &Plan, findings: &mut Vec<Finding>) {
    let addresses: Vec<String> =
        plan.addresses.iter().map(|address| address.ip().to_string()).collect();
    findings.push(Finding::ok("names", format!("{} is {}", plan.host, addresses.join(", "))));
    let routes: Vec<(IpAddr, std::io::Result<IpAddr>)> = plan
        .addresses
        .iter()
        .map(|address| (address.ip(), source::source_for(*address).map(|source| source.ip())))
        .collect();
    // One family is enough: where no route is, no program tries for long.
    let level =
        if routes.iter().any(|(_, route)| route.is_ok()) { Level::Ok } else { Level::Error };
    for (address, route) in routes {
        findings.push(match route {
            Ok(source) => {
                let kind = if source.is_loopback() {
                    "which is this machine itself"
                } else if source::is_public(source) {
                    "a public address"
                } else {
                    "a private address, which others see translated"
                };
                Finding::ok("route", format!("{address} is reached from {source}, {kind}"))
            }
            Err(error) => {
                let finding =
                    Finding::new("route", level, format!("there is no way to {address}: {error}"));
                if level == Level::Error {
                    finding.mend(format!("ip route get {address}"))
                } else {
                    finding
                }
            }
        });
    }
}

/// A knock: for a service it opens it, for none it is a close of nothing.
pub(super) fn knock(plan: &Arc<Plan>, findings: &mut Vec<Finding>) {
    let real = plan.services.iter().any(|service| service != NO_SERVICE);
    let op = if real { Op::Open } else { Op::Close };
    match attempt::all(plan, op) {
        Err(failure) => findings.push(Finding::failed("knock", &failure)),
        Ok(tried) => tried.iter().for_each(|one| one_knock(plan, one, real, findings)),
    }
}

fn one_knock(plan: &Plan, one: &Tried, real: bool, findings: &mut Vec<Finding>) {
    let address = one.address;
    let Some((ack, rtt)) = one.ack else {
        findings.push(unanswered(plan, one));
        return;
    };
    let rtt = rtt.as_secs_f64() * 1e3;
    findings.push(Finding::ok(
        "udp",
        format!("{address} answered within {rtt:.1} ms: UDP passes both ways"),
    ));
    findings.push(skew(address, one.skew_ms.unwrap_or(0)));
    findings.push(seen(plan, one, ack.observed.ip()));
    let service = plan.services.get(one.service).map_or("", String::as_str);
    if ack.status != Status::Granted {
        findings.push(Finding::new(
            "knock",
            Level::Error,
            explanation::explain(plan, service, one, &[one]),
        ));
    } else if real && one.verdict.is_good() {
        let text =
            format!("{service} is open at {address} for {}", duration::show(ack.ttl_s.into()));
        findings.push(
            Finding::ok("knock", text).mend(format!("spa-client close {service}@{}", plan.host)),
        );
    } else if real && !matches!(one.verdict, Verdict::Relayed { .. }) {
        findings.push(Finding::new(
            "knock",
            Level::Error,
            explanation::explain(plan, service, one, &[one]),
        ));
    }
}

fn unanswered(plan: &Plan, one: &Tried) -> Finding {
    let service = plan.services.get(one.service).map_or("", String::as_str);
    match &one.verdict {
        Verdict::NotSent(error) => Finding::new(
            "udp",
            Level::Warning,
            format!("nothing was sent to {}: {error}", one.address),
        )
        .mend(format!("ip route get {}", one.address)),
        Verdict::Asked | Verdict::Open { .. } if !plan.line.ack => {
            let text =
                format!("{} never answers, so nothing can be told of the way there", one.address);
            Finding::new("udp", Level::Unknown, text)
        }
        _ => {
            let service = if service == NO_SERVICE { "any service" } else { service };
            Finding::new(
                "udp",
                Level::Error,
                explanation::silence(plan, service, &[one], usize::MAX),
            )
        }
    }
}

fn skew(address: IpAddr, skew_ms: i64) -> Finding {
    let by = duration::show(skew_ms.unsigned_abs().div_ceil(1000));
    if skew_ms.abs() < SKEW_MS {
        return Finding::ok(
            "skew",
            format!("the clocks here and at {address} differ by less than {} s", SKEW_MS / 1000),
        );
    }
    let direction = if skew_ms < 0 { "behind" } else { "ahead of" };
    Finding::new(
        "skew",
        Level::Warning,
        format!("the clock here is {by} {direction} that at {address}"),
    )
    .mend("timedatectl set-ntp true")
}

fn seen(plan: &Plan, one: &Tried, observed: IpAddr) -> Finding {
    let ours = one.local.map_or_else(|| "unknown".to_owned(), |local| local.to_string());
    if relay::is_between(plan, one.local, observed) {
        let text = format!(
            "{} saw {observed}, and our address is {ours}: a relay stands between, unless \
             {observed} is your own translator",
            one.address
        );
        let host = &plan.host;
        return Finding::new("source", Level::Warning, text)
            .mend(format!("spa-client hosts set {host} expect-address {observed}"));
    }
    let text = if one.local == Some(observed) {
        format!("{} saw our own address {observed}", one.address)
    } else {
        format!("{} saw {observed}, a translation of our {ours}", one.address)
    };
    Finding::ok("source", text)
}

/// The exit code for all findings.
pub(super) fn exit_code(findings: &[Finding]) -> u8 {
    if findings.iter().any(|finding| finding.level == Level::Error) {
        exit::FAILURE
    } else {
        exit::OK
    }
}
