//! Reports as JSON.

use std::net::IpAddr;

use serde::Serialize;
use spa_proto::Status;

use super::{group_by_service, most_telling};
use crate::knock::{Outcome, Verdict};
use crate::plan::Plan;

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
    /// One word; `null` when all is well, and `not-hidden` for what is reachable without a grant.
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

/// Makes the report of all services.
pub(crate) fn report_object<'a>(
    plan: &'a Plan,
    outcomes: &'a [Outcome],
) -> impl Serialize + use<'a> {
    let services = group_by_service(plan, outcomes)
        .filter_map(|(service, all)| {
            most_telling(&all).map(|best| service_report(service, best, &all))
        })
        .collect();
    Report { version: JSON_VERSION, host: &plan.host, services }
}

fn service_report<'a>(service: &'a str, best: &Outcome, all: &[&Outcome]) -> ServiceReport<'a> {
    let granted = match &best.verdict {
        Verdict::Open { .. } | Verdict::Refused | Verdict::Unreachable => Some(true),
        Verdict::Asked => None,
        _ => Some(false),
    };
    let reason = |verdict: &Verdict| {
        (!verdict.is_good() || *verdict == Verdict::NotHidden).then(|| verdict.word())
    };
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
