//! Why it did not work, and the command that tests each guess.

use std::fmt::Write;
use std::net::IpAddr;

use spa_keys::{Sequence, printable};
use spa_proto::Reason;

use crate::clock;
use crate::duration;
use crate::plan::Plan;
use crate::tried::{Tried, Verdict};

/// Sentences for one service that is not open, from the attempt that tells most.
pub(crate) fn explain(plan: &Plan, service: &str, best: &Tried, all: &[&Tried]) -> String {
    let (shown, host) = (printable(service), &plan.host);
    match &best.verdict {
        Verdict::Open { .. } | Verdict::Asked => String::new(),
        Verdict::Refused => format!(
            "{shown} on {host} was granted, but connections to {} are refused: nothing listens there; test it on the server: ss -ltn",
            port(plan, service, best.address)
        ),
        Verdict::Unreachable => format!(
            "{shown} on {host} was granted, but connections to {} get no answer: another firewall stands before the service; test it on the server: nft list ruleset, and: spa-server check",
            port(plan, service, best.address)
        ),
        Verdict::Denied(reason) => format!("{host} denies {shown}: {}", denied(*reason, best, plan)),
        Verdict::Clock(offset) => clock_is_off(*offset, host),
        Verdict::Fence(seconds) => format!(
            "{host} has restarted and takes no knock for another {}; then try again",
            duration::show(u64::from(*seconds))
        ),
        Verdict::Busy(reason) => {
            format!(
                "{host} cannot open {shown} now ({}); its log says why: journalctl -u spa-server",
                reason.word()
            )
        }
        Verdict::Silence => silence(plan, service, all),
        Verdict::NotSent(error) => {
            format!("nothing was sent to {}: {error}; test it: ip route get {}", best.address, best.address)
        }
    }
}

fn port(plan: &Plan, service: &str, address: IpAddr) -> String {
    let port = plan.line.service(service).map_or(0, |service| service.port);
    format!("port {port} of {address}")
}

fn denied(reason: Reason, best: &Tried, plan: &Plan) -> String {
    let name = &plan.line.name;
    match reason {
        Reason::Service => format!(
            "`{name}` may not open it, or it does not exist; see on the server: spa-server client list"
        ),
        Reason::Expired => {
            format!("the access of `{name}` has expired; see on the server: spa-server client list")
        }
        Reason::Hours => {
            format!("`{name}` may not enter at this hour; see on the server: spa-server client list")
        }
        Reason::From => {
            let seen = best.ack.map_or(best.address, |(ack, _)| ack.observed.ip());
            format!("`{name}` may not enter from {seen}; see `from` on the server: spa-server client list")
        }
        Reason::Ttl => "the time asked for is above the maximum; ask for less with --ttl".to_owned(),
        Reason::ForAddr => format!(
            "`{name}` may not open for another address, or nothing comes from that one: the administrator allows it with third-party = true"
        ),
        Reason::MaxGrants => format!("`{name}` holds as many grants as it may; wait until one ends"),
        Reason::Banned => {
            "the address from which you come is banned, and this server lets no knock lift a ban".to_owned()
        }
        Reason::Op => format!(
            "`{name}` is an invitation, or the server is older than this program; join first: spa join LINE"
        ),
        other => other.word().to_owned(),
    }
}

fn clock_is_off(offset_ms: i64, host: &str) -> String {
    let by = duration::show(offset_ms.unsigned_abs().div_ceil(1000));
    let direction = if offset_ms < 0 { "behind" } else { "ahead of" };
    format!(
        "this machine's clock is {by} {direction} that of {host} (here it is {}); mend it: timedatectl set-ntp true, and compare: date -u",
        clock::utc_now()
    )
}

/// The likely causes in order: measured by how often each is the answer in the support threads of other knockers.
fn silence(plan: &Plan, service: &str, all: &[&Tried]) -> String {
    let shown = printable(service);
    let addresses: Vec<String> = all.iter().map(|one| one.address.to_string()).collect();
    let ours: Vec<String> = all.iter().filter_map(|one| one.local).map(|local| local.to_string()).collect();
    let ours = if ours.is_empty() { "unknown".to_owned() } else { ours.join(" and ") };
    let ports = match &plan.line.sequence {
        Sequence::Ports(ports) => ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
        Sequence::Hop { plan, .. } => format!("{}-{}, changing", plan.range().0, plan.range().1),
    };
    let what =
        if plan.line.ack { "no answer" } else { "no connection, and this server never answers knocks" };
    let mut out = format!(
        "{what}: {shown} on {} ({}) after {}\nThe server is silent to whatever it does not accept. Likely causes, each with its test:\n",
        plan.host,
        addresses.join(", "),
        duration::show(plan.timeout.as_secs())
    );
    let bound = all.iter().any(|one| one.bound);
    let bound_hint = if bound {
        "; if a translator hides it although it looks public, set bind-src = \"never\" in config.toml"
    } else {
        ""
    };
    let causes = [
        format!("the clock: here it is {}; compare with: date -u, and see: timedatectl", clock::utc_now()),
        format!(
            "this key ({}) is not enrolled, or not for {shown}; on the server: spa-server client list",
            plan.fingerprint
        ),
        format!(
            "you come from another address than it seems ({ours}), or from one that is not allowed; on the server: journalctl -u spa-server{bound_hint}"
        ),
        format!(
            "UDP is blocked on the way; on the server, while you try again: tcpdump -ni any udp and src {}",
            all.iter()
                .find_map(|one| one.local)
                .map_or_else(|| "ADDRESS".to_owned(), |local| local.to_string())
        ),
        format!(
            "the enrolment is old, and the ports (UDP {ports}) or the server's key have changed; see: spa inspect {}, and take a new line: spa host add - --replace",
            plan.host_file.display()
        ),
    ];
    for (number, cause) in (1..).zip(causes) {
        let _ = writeln!(out, "  {number}. {cause}");
    }
    out.truncate(out.trim_end().len());
    out
}
