//! Causes of silence, each with its test: first what was seen, then what is likely.

use std::fmt::Write;

use spa_keys::{Failure, LastAnswer, duration, printable};

use super::super::restored::name_restore;
use super::Purpose;
use crate::clock::{self, KernelClock, read_kernel_clock};
use crate::knock::{IcmpError, Outcome};
use crate::plan::Plan;

/// Most causes in an error.
const MAX_CAUSES: usize = 3;

/// Explains silence; all causes for whoever asked for an answer alone.
pub(super) fn explain_silence(plan: &Plan, purpose: Purpose<'_>, all: &[&Outcome]) -> Failure {
    let addresses: Vec<String> = all.iter().map(|one| one.address.to_string()).collect();
    let what = if plan.line.ack {
        "no answer"
    } else {
        "no connection, and this server never answers knocks"
    };
    let mut out = format!(
        "{what}: {} ({}) after {}\nThe server does not answer what it does not accept. The \
        likeliest causes, each with its test:",
        purpose.at(&plan.host),
        addresses.join(", "),
        duration::format(plan.timeout),
    );
    let examined = matches!(purpose, Purpose::Examination(_));
    let most = if examined { usize::MAX } else { MAX_CAUSES };
    for (number, cause) in (1..).zip(list_causes(plan, purpose, all).into_iter().take(most)) {
        let _ = write!(out, "\n  {number}. {cause}");
    }
    if !plan.left_out.is_empty() {
        let _ = write!(
            out,
            "\nOne touch, one address: {} was not tried; choose the family with -4 or -6",
            plan.format_left_out()
        );
    }
    if purpose.is_key_change() {
        out.push_str("\nNothing is lost, run this again");
        return Failure::failed(out);
    }
    if examined {
        return Failure::failed(out);
    }
    Failure::failed(out).remedy_after("More", format!("spa-client doctor {} --knock", plan.host))
}

/// Lists the causes, what was seen first.
fn list_causes(plan: &Plan, purpose: Purpose<'_>, all: &[&Outcome]) -> Vec<String> {
    let mut causes = list_evidence(plan, purpose, all);
    // A key that was answered before is seldom the one that is wrong, and who joins has come the
    // whole way for the first time.
    let known = plan.folder.as_ref().and_then(|folder| {
        LastAnswer::read(folder, &plan.host, &plan.line).map(|answer| answer.last)
    });
    let mut likely = vec![name_keys(plan, purpose)];
    if let (Some(last), Some(key)) = (known, likely.first_mut()) {
        let _ = write!(key, " (it was answered until {last:.0})");
    }
    // Where the host has answered otherwise, the way there has been named.
    if all.iter().all(|one| one.icmp.is_none() && one.open_port.is_none()) {
        let first = known.is_some() || purpose.is_key_change();
        likely.insert(usize::from(!first), name_udp(plan, all));
    }
    let clock_place = causes.len() + likely.len();
    causes.append(&mut likely);
    if let Some(one) = all.iter().find(|one| plan.seen.is_translated(one.address)) {
        causes.push(format!(
            "{} is reached by a translator to IPv4 (NAT64), which may let no UDP through; try \
             another network",
            one.address
        ));
    }
    // The knock says from where it comes: behind a translator that keeps public addresses inside,
    // that is wrong. Where that was asked, and nobody answered either, it is not the cause.
    if plan.asks_for_touch() && all.iter().any(|one| one.bound) {
        let ours: Vec<String> =
            all.iter().filter_map(|one| one.local).map(|local| local.to_string()).collect();
        causes.push(format!(
            "the server sees another address of yours than {}; on the server: journalctl -u \
             spa-server; if NAT replaces it although it looks public: spa-client host set {} \
             bind-src never",
            ours.join(" and "),
            plan.host
        ));
    }
    causes.extend(name_restore(plan));
    // A clock that NTP keeps is seldom wrong, and one that is far off has been named.
    if !clock::is_before_build() {
        let kept = matches!(read_kernel_clock(), KernelClock::Kept { .. });
        let cause = format!(
            "the clock: here it is {}; compare with: date -u, and see: timedatectl",
            clock::format_utc_now()
        );
        causes.insert(if kept { causes.len() } else { clock_place }, cause);
    }
    causes
}

/// Lists what was seen, and not only is likely.
fn list_evidence(plan: &Plan, purpose: Purpose<'_>, all: &[&Outcome]) -> Vec<String> {
    let ports = plan.line.sequence.describe_ports();
    let mut seen = Vec::new();
    if let Some((told, address)) = all.iter().find_map(|one| Some((one.icmp?, one.address))) {
        seen.push(match told {
            IcmpError::Refused => format!(
                "{address} is there and refuses UDP ports {ports} (ICMP): spa-server does not \
                 know this key and hides as a closed port does, or it is stopped, or listens at \
                 other ports; on the server: spa-server status"
            ),
            IcmpError::Unreachable => format!(
                "somebody on the way to {address} says that it is not reached, or not by UDP \
                 ports {ports} (ICMP); see: ip route get {address}"
            ),
        });
    }
    if let Some((port, address)) = all.iter().find_map(|one| Some((one.open_port?, one.address))) {
        seen.push(format!(
            "{address} is there, since its port {port} takes connections (TCP), but UDP ports \
             {ports} do not reach a server that listens: let them through in the router, the \
             provider's firewall or security group; on the server: systemctl status spa-server"
        ));
    }
    if clock::is_before_build() {
        seen.push(format!(
            "this machine's clock is wrong: it says {}, which is before this program was made; \
             set it with: timedatectl set-ntp true",
            clock::format_utc_now()
        ));
    }
    if !matches!(purpose, Purpose::Enrolment)
        && plan.folder.as_ref().is_some_and(|folder| folder.rotation_file(&plan.host).exists())
    {
        seen.push(format!(
            "a change to new keys is under way ({}.rotating), whose last answer was lost: the \
             server may know the new key only; finish it with: spa rotate {0}",
            plan.host
        ));
    }
    seen
}

/// Names the path as the cause, with its ports.
fn name_udp(plan: &Plan, all: &[&Outcome]) -> String {
    let ours = all.iter().find_map(|one| one.local);
    let ours = ours.map_or_else(|| "ADDRESS".to_owned(), |local| local.to_string());
    format!(
        "UDP is blocked on the way, or spa-server is stopped: let UDP ports {} through in the \
         router, the provider's firewall or security group; on the server, while you try again: \
         tcpdump -ni any udp and src {ours}",
        plan.line.sequence.describe_ports()
    )
}

/// Names keys and enrolment as the cause.
fn name_keys(plan: &Plan, purpose: Purpose<'_>) -> String {
    let client = printable(&plan.line.name);
    match purpose {
        Purpose::Enrolment => format!(
            "the line may be used up, revoked, expired or for another server; on the server: \
             spa-server invitations, and for a new one: spa-server invite {client}"
        ),
        _ => {
            let service = match purpose.service() {
                "" => String::new(),
                name => format!(", or not for {}", printable(name)),
            };
            format!(
                "this key ({}) is not enrolled{service}, or the enrolment is old (UDP ports {}; \
                 or the server's key was replaced meanwhile); on the server: spa-server client \
                 list, and for a new line: spa-server client line {client}",
                plan.fingerprint,
                plan.line.sequence.describe_ports()
            )
        }
    }
}
