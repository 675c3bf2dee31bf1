//! Explanations of what did not work, with the command that tests each guess.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use spa_keys::{Failure, Sequence, duration, exit, printable};
use spa_proto::Reason;

use super::restored::name_restore;
use crate::address::format_network;
use crate::clock::{self, KernelClock, read_kernel_clock};
use crate::knock::{IcmpError, Outcome, Verdict};
use crate::plan::Plan;

/// Most causes in an error.
const MAX_CAUSES: usize = 3;

/// Explains one service that is not open, from the attempt that tells most.
pub(crate) fn explain_failure(
    plan: &Plan,
    service: &str,
    best: &Outcome,
    all: &[&Outcome],
) -> Failure {
    let (shown, host) = (printable(service), &plan.host);
    let failure = match &best.verdict {
        Verdict::Open { .. } | Verdict::NotHidden | Verdict::Asked | Verdict::Closed => {
            Failure::failed("")
        }
        Verdict::Relayed { closed } => explain_relayed(plan, &shown.to_string(), best, *closed),
        Verdict::Refused => Failure::failed(format!(
            "{shown} on {host} was granted, but connections to {} are refused: nothing listens \
             there",
            describe_port(plan, service, best.address)
        ))
        .remedy_after("test it on the server", "ss -ltn"),
        Verdict::Unreachable => Failure::failed(format!(
            "{shown} on {host} was granted, but connections to {} get no answer: another firewall \
             stands before the service",
            describe_port(plan, service, best.address)
        ))
        .remedy_after("test it on the server", "nft list ruleset; spa-server check"),
        Verdict::Denied(reason) => explain_denied(*reason, best, plan)
            .map_problem(|why| format!("{host} denies {shown}: {why}")),
        Verdict::Clock(offset) => explain_clock(*offset, host),
        Verdict::Fence(seconds) => Failure::failed(format!(
            "{host} has restarted and accepts no knocks for another {}; try again then",
            duration::format(Duration::from_secs(u64::from(*seconds)))
        )),
        Verdict::Floor(seconds) => Failure::failed(format!(
            "{host} has accepted later knocks of this client, from a clock that was ahead, and \
             accepts no new ones for another {}; try again then",
            duration::format(Duration::from_secs(u64::from(*seconds)))
        )),
        Verdict::Busy(reason) => {
            Failure::failed(format!("{host} cannot open {shown} now ({})", reason.word()))
                .remedy_after("its log says why", "journalctl -u spa-server")
        }
        Verdict::Silence => Failure::failed(explain_silence(plan, service, all, MAX_CAUSES))
            .remedy_after("More", format!("spa-client doctor {host} --knock")),
        Verdict::NotSent(error) => {
            Failure::failed(format!("nothing was sent to {}: {error}", best.address))
                .remedy_after("test it", format!("ip route get {}", best.address))
        }
    };
    failure.with_code(exit_code(&best.verdict))
}

/// Chooses the exit code for an attempt that came to this.
pub(super) fn exit_code(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Open { .. } | Verdict::NotHidden | Verdict::Asked | Verdict::Closed => exit::OK,
        Verdict::Denied(_)
        | Verdict::Clock(_)
        | Verdict::Fence(_)
        | Verdict::Floor(_)
        | Verdict::Busy(_)
        | Verdict::Relayed { .. } => exit::FAILURE,
        Verdict::Refused | Verdict::Unreachable | Verdict::Silence => exit::UNREACHABLE,
        Verdict::NotSent(_) => exit::NOTHING_SENT,
    }
}

fn describe_port(plan: &Plan, service: &str, address: IpAddr) -> String {
    let port = plan.line.service(service).map_or(0, |service| service.port);
    format!("port {port} of {address}")
}

fn explain_denied(reason: Reason, best: &Outcome, plan: &Plan) -> Failure {
    let name = printable(&plan.line.name);
    let listed = |why: String| {
        Failure::failed(why).remedy_after("see on the server", "spa-server client list")
    };
    match reason {
        Reason::Service => listed(format!("`{name}` may not open it, or it does not exist")),
        Reason::Expired => listed(format!("the access of `{name}` has expired")),
        Reason::Hours => listed(format!("`{name}` is not allowed in at this hour")),
        Reason::From => {
            let seen = best.ack.map_or(best.address, |(ack, _)| ack.observed.ip());
            listed(format!("`{name}` is not allowed in from {seen}"))
        }
        Reason::Ttl => {
            Failure::failed("the time asked for is above the maximum; ask for less with --ttl")
        }
        Reason::ForAddr => Failure::failed(format!(
            "`{name}` may not open for another address, or nothing comes from that one: the \
             administrator allows it with third-party = true"
        )),
        Reason::MaxGrants => Failure::failed(format!(
            "`{name}` has as many open grants as it is allowed; wait until one ends"
        )),
        Reason::Banned => Failure::failed(
            "your address is banned, and on this server a knock does not lift a ban",
        ),
        Reason::Op => Failure::failed(format!(
            "`{name}` is an invitation, or the server is older than this program"
        ))
        .remedy_after("join first", "spa join LINE"),
        other => Failure::failed(other.word()),
    }
}

/// Explains that the service was opened for somebody else.
fn explain_relayed(plan: &Plan, service: &str, best: &Outcome, closed: bool) -> Failure {
    let observed = best.ack.map_or(best.address, |(ack, _)| ack.observed.ip());
    // What the user expects counts more than what this machine knows of itself.
    let expected = plan.expected.iter().filter(|net| net.addr().is_ipv4() == observed.is_ipv4());
    let expected: Vec<String> = expected.map(format_network).collect();
    let ours = match (expected.as_slice(), best.local) {
        ([], None) => "us".to_owned(),
        ([], Some(local)) => local.to_string(),
        (several, _) => several.join(" or "),
    };
    let ending = if closed {
        "it was closed again"
    } else {
        "it could not be closed again, and will end by itself"
    };
    Failure::failed(format!(
        "{service} on {host} was opened for {observed}, not for {ours}: a relay forwarded the \
         knock; {ending}",
        host = plan.host
    ))
    .remedy_after(
        "if that is the address of your own NAT",
        format!("spa-client host set {} expect-address {observed}", plan.host),
    )
}

fn explain_clock(offset_ms: i64, host: &str) -> Failure {
    let offset = clock::describe_offset(offset_ms, host);
    Failure::failed(format!("{offset} (here it is {})", clock::format_utc_now()))
        .remedy("timedatectl set-ntp true")
}

/// Explains silence by its causes, each with its test: ordered by how often each is the answer in
/// the support threads of other knockers, and by what can be known here.
pub(crate) fn explain_silence(plan: &Plan, service: &str, all: &[&Outcome], most: usize) -> String {
    let addresses: Vec<String> = all.iter().map(|one| one.address.to_string()).collect();
    let what = if plan.line.ack {
        "no answer"
    } else {
        "no connection, and this server never answers knocks"
    };
    let mut out = format!(
        "{what}: {} on {} ({}) after {}\nThe server does not answer what it does not accept. The \
        likeliest causes, each with its test:",
        printable(service),
        plan.host,
        addresses.join(", "),
        duration::format(plan.timeout),
    );
    for (number, cause) in (1..).zip(list_causes(plan, service, all).into_iter().take(most)) {
        let _ = write!(out, "\n  {number}. {cause}");
    }
    if !plan.left_out.is_empty() {
        let _ = write!(
            out,
            "\nOne touch, one address: {} was not tried; choose the family with -4 or -6",
            plan.format_left_out()
        );
    }
    out
}

/// Lists the causes of silence, the likeliest first.
fn list_causes(plan: &Plan, service: &str, all: &[&Outcome]) -> Vec<String> {
    let ours: Vec<String> =
        all.iter().filter_map(|one| one.local).map(|local| local.to_string()).collect();
    let first_of_ours = ours.first().map_or("ADDRESS", String::as_str).to_owned();
    let ours = if ours.is_empty() { "unknown".to_owned() } else { ours.join(" and ") };
    let ports = match &plan.line.sequence {
        Sequence::Ports(ports) => ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
        Sequence::Hop { plan, .. } => format!("{}-{}, changing", plan.range().0, plan.range().1),
    };
    let clock = format!(
        "the clock: here it is {}; compare with: date -u, and see: timedatectl",
        clock::format_utc_now()
    );
    let key = format!(
        "this key ({}) is not enrolled, or not for {}, or the enrolment is old (UDP ports {ports}; \
         or the server's key was replaced meanwhile); on the server: spa-server client list, and \
         for a new line: spa-server client line {}",
        plan.fingerprint,
        printable(service),
        printable(&plan.line.name)
    );
    let udp = format!(
        "UDP is blocked on the way; on the server, while you try again: tcpdump -ni any udp and \
         src {first_of_ours}"
    );
    // The knock says from where it comes: behind a translator that keeps public addresses inside,
    // that is wrong.
    let bound = format!(
        "the server sees another address of yours than {ours}; on the server: journalctl -u \
        spa-server; if NAT replaces it although it looks public: spa-client host set {} bind-src \
        never",
        plan.host
    );
    let mut causes = vec![key, udp];
    if all.iter().any(|one| one.bound) {
        causes.insert(1, bound);
    }
    causes.extend(name_restore(plan));
    // A clock that NTP keeps is seldom wrong.
    let place =
        if matches!(read_kernel_clock(), KernelClock::Kept { .. }) { causes.len() } else { 0 };
    causes.insert(place, clock);
    // What was heard counts more than what is likely.
    let told = all.iter().find_map(|one| one.icmp.map(|told| (told, one.address)));
    let heard = told.map(|(told, address)| match told {
        IcmpError::Refused => format!(
            "{address} is there and refuses UDP ports {ports} (ICMP): spa-server is stopped, or \
             listens at other ports; on the server: systemctl status spa-server"
        ),
        IcmpError::Unreachable => format!(
            "somebody on the way to {address} says that it is not reached, or not by UDP (ICMP); \
             see: ip route get {address}"
        ),
    });
    causes.splice(0..0, heard);
    causes
}
