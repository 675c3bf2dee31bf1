//! Names, routes, our own addresses, and the answer to a knock.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use spa_keys::{Severity, duration};
use spa_proto::{Op, Status};

use super::{Finding, failure_finding, good_finding};
use crate::address::{find_source_address, is_public_address};
use crate::clock;
use crate::knock::{Outcome, Verdict, knock_at_all};
use crate::plan::Plan;
use crate::report::{Purpose, explain_failure};

/// Largest clock offset, in milliseconds, that counts as none: the window of a server is far wider.
const MAX_GOOD_SKEW_MS: i64 = 2_000;
/// Name of a service that no server has: a close of it changes nothing there and is answered all
/// the same.
pub(super) const NO_SERVICE_NAME: &str = "spa-client doctor";

/// Checks that there is a route to each address, without sending anything.
pub(super) fn check_routes(plan: &Plan, findings: &mut Vec<Finding>) {
    let addresses: Vec<String> =
        plan.addresses.iter().map(|address| address.ip().to_string()).collect();
    findings.push(good_finding("names", format!("{} is {}", plan.host, addresses.join(", "))));
    let routes: Vec<(IpAddr, std::io::Result<IpAddr>)> = plan
        .addresses
        .iter()
        .map(|address| (address.ip(), find_source_address(*address).map(|source| source.ip())))
        .collect();
    // One family is enough: where no route is, no program tries for long.
    let level =
        if routes.iter().any(|(_, route)| route.is_ok()) { Severity::Ok } else { Severity::Error };
    for (address, route) in routes {
        findings.push(match route {
            Ok(source) => {
                let kind = if source.is_loopback() {
                    "which is this machine itself"
                } else if plan.seen.is_translated(address) {
                    "by a translator to IPv4 (NAT64)"
                } else if is_public_address(source) {
                    "a public address"
                } else {
                    "a private address, behind NAT"
                };
                good_finding("route", format!("{address} is reached from {source}, {kind}"))
            }
            Err(error) => {
                let finding = Finding::new(
                    level,
                    "route",
                    format!("there is no route to {address}: {error}"),
                );
                if level == Severity::Error {
                    finding.remedy(format!("ip route get {address}"))
                } else {
                    finding
                }
            }
        });
    }
}

/// Knocks: an open for a real service, else a close of nothing.
pub(super) fn check_knock(plan: &Arc<Plan>, findings: &mut Vec<Finding>) {
    let real = plan.services.iter().any(|service| service != NO_SERVICE_NAME);
    let op = if real { Op::Open } else { Op::Close };
    match knock_at_all(plan, op) {
        Err(failure) => findings.push(failure_finding("knock", &failure)),
        Ok(outcomes) => outcomes.iter().for_each(|one| report_knock(plan, one, real, findings)),
    }
}

fn report_knock(plan: &Plan, one: &Outcome, real: bool, findings: &mut Vec<Finding>) {
    let address = one.address;
    let Some((ack, rtt)) = one.ack else {
        findings.push(silence_finding(plan, one));
        return;
    };
    let rtt = rtt.as_secs_f64() * 1e3;
    findings.push(good_finding(
        "udp",
        format!("{address} answered within {rtt:.1} ms: UDP gets through in both directions"),
    ));
    findings.push(skew_finding(address, one.skew_ms.unwrap_or(0)));
    findings.push(source_finding(plan, one, ack.observed.ip()));
    let service = plan.service_name(one.service);
    let granted = ack.status == Status::Granted;
    if granted && real && one.verdict.is_good() {
        let ttl = duration::format(Duration::from_secs(ack.ttl_s.into()));
        findings.push(
            good_finding("knock", format!("{service} is open at {address} for {ttl}"))
                .remedy(format!("spa-client close {service}@{}", plan.host)),
        );
    } else if !granted || real && !matches!(one.verdict, Verdict::Relayed { .. }) {
        // Its remedy may be one for the server: the words in front of it say so.
        let failure = explain_failure(plan, purpose_of(plan, one), &[one]);
        findings.push(Finding::new(Severity::Error, "knock", failure.to_string()));
    }
}

fn silence_finding(plan: &Plan, one: &Outcome) -> Finding {
    match &one.verdict {
        Verdict::NotSent(error) => Finding::new(
            Severity::Warning,
            "udp",
            format!("nothing was sent to {}: {error}", one.address),
        )
        .remedy(format!("ip route get {}", one.address)),
        Verdict::Asked | Verdict::Open { .. } if !plan.line.ack => {
            let text =
                format!("{} never answers, so the path to it cannot be checked", one.address);
            Finding::new(Severity::Unknown, "udp", text)
        }
        verdict => {
            let is_open = *verdict == Verdict::NotHidden;
            let severity = if is_open { Severity::Warning } else { Severity::Error };
            let failure = explain_failure(plan, purpose_of(plan, one), &[one]);
            Finding { remedy: failure.remedy, ..Finding::new(severity, "udp", failure.problem) }
        }
    }
}

/// Returns what the doctor's knock was for.
fn purpose_of<'a>(plan: &'a Plan, one: &Outcome) -> Purpose<'a> {
    match plan.service_name(one.service) {
        NO_SERVICE_NAME => Purpose::Examination(None),
        service => Purpose::Examination(Some(service)),
    }
}

fn skew_finding(address: IpAddr, skew_ms: i64) -> Finding {
    if skew_ms.abs() < MAX_GOOD_SKEW_MS {
        return good_finding(
            "skew",
            format!(
                "the clocks here and at {address} differ by less than {} s",
                MAX_GOOD_SKEW_MS / 1000
            ),
        );
    }
    let by = clock::format_offset(skew_ms);
    Finding::new(Severity::Warning, "skew", format!("the clock here is {by} that at {address}"))
        .remedy("timedatectl set-ntp true")
}

/// Makes the finding of the address from which the server saw the knock come.
fn source_finding(plan: &Plan, one: &Outcome, observed: IpAddr) -> Finding {
    let ours = one.local.map_or_else(|| "unknown".to_owned(), |local| local.to_string());
    if plan.seen.is_relayed(one.local, one.address, observed) {
        let text = format!(
            "{} saw {observed}, and our address is {ours}: a relay forwards your packets, unless \
            {observed} is the address of your own NAT",
            one.address
        );
        let host = &plan.host;
        return Finding::new(Severity::Warning, "source", text)
            .remedy(format!("spa-client host set {host} expect-address {observed}"));
    }
    let text = if one.local == Some(observed) {
        format!("{} saw our own address {observed}", one.address)
    } else {
        format!("{} saw {observed}, the NAT address of our {ours}", one.address)
    };
    good_finding("source", text)
}
