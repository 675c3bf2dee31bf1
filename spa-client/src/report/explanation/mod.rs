//! Explanations of what did not work, with the command that tests each guess: the same for every
//! command that knocks.

mod causes;
mod denial;

use std::time::Duration;

use spa_keys::{Failure, duration, exit, printable};
use spa_proto::Reason;

use crate::address::format_network;
use crate::clock;
use crate::knock::{Outcome, Verdict};
use crate::plan::Plan;
use causes::explain_silence;
use denial::{explain_denied_keys, explain_denied_service};

/// Purpose of a knock.
#[derive(Clone, Copy)]
pub(crate) enum Purpose<'a> {
    /// A service, by its name.
    Service(&'a str),
    /// To examine the way to this service, or to any: all causes are wanted.
    Examination(Option<&'a str>),
    /// An enrolment by an invitation.
    Enrolment,
    /// New keys in the place of the present ones.
    Rotation,
}

impl Purpose<'_> {
    /// Returns the words for a sentence: `ssh on gate`.
    fn at(self, host: &str) -> String {
        match self {
            Self::Service(name) | Self::Examination(Some(name)) => {
                format!("{} on {host}", printable(name))
            }
            Self::Examination(None) => format!("any service on {host}"),
            Self::Enrolment => format!("the invitation of {host}"),
            Self::Rotation => format!("new keys for {host}"),
        }
    }

    /// Returns true if the knock was to bring new keys.
    fn is_key_change(self) -> bool {
        matches!(self, Self::Enrolment | Self::Rotation)
    }

    /// Returns the service's name; empty when it was for none.
    fn service(&self) -> &str {
        match self {
            Self::Service(name) | Self::Examination(Some(name)) => name,
            _ => "",
        }
    }
}

/// Explains why nothing came of a knock, from the attempt that tells most.
pub(crate) fn explain_failure(plan: &Plan, purpose: Purpose<'_>, all: &[&Outcome]) -> Failure {
    let Some(best) = super::most_telling(all) else { return Failure::failed("") };
    let (host, what) = (&plan.host, purpose.at(&plan.host));
    let failure = match &best.verdict {
        Verdict::NotHidden => explain_not_hidden(plan, purpose, best),
        Verdict::Open { .. } | Verdict::Asked | Verdict::Closed => Failure::failed(""),
        Verdict::Relayed { closed } => explain_relayed(plan, &what, best, *closed),
        Verdict::Translated => explain_translated(plan, purpose, best),
        Verdict::Refused => Failure::failed(format!(
            "{what} was granted, but connections to {} are refused: nothing listens there",
            describe_port(plan, purpose, best)
        ))
        .remedy_after("test it on the server", "ss -ltn"),
        Verdict::Unreachable => Failure::failed(format!(
            "{what} was granted, but connections to {} get no answer: another firewall stands \
             before the service",
            describe_port(plan, purpose, best)
        ))
        .remedy_after("test it on the server", "nft list ruleset; spa-server check"),
        Verdict::Denied(reason) if purpose.is_key_change() => {
            explain_denied_keys(*reason, best).map_problem(|why| format!("{host} refused: {why}"))
        }
        Verdict::Denied(reason) => explain_denied_service(*reason, best, plan)
            .map_problem(|why| format!("{host} denies {}: {why}", printable(purpose.service()))),
        Verdict::Clock(offset) => explain_clock(*offset, host),
        Verdict::Fence(seconds) => Failure::failed(format!(
            "{host} has restarted and accepts no knocks for another {}; try again then",
            duration::format_roughly(Duration::from_secs(u64::from(*seconds)))
        )),
        Verdict::Floor(seconds) => Failure::failed(format!(
            "{host} has accepted later knocks of this client, from a clock that was ahead, and \
             accepts no new ones for another {}; try again then",
            duration::format_roughly(Duration::from_secs(u64::from(*seconds)))
        )),
        Verdict::Busy(Reason::Store) if purpose.is_key_change() => Failure::failed(format!(
            "{host} accepts no new keys now: a trial of another configuration is running there, or \
             it cannot write its files. Nothing is lost: run this again when that is over"
        ))
        .remedy_after("its log says which", "journalctl -u spa-server"),
        Verdict::Busy(reason) => {
            let asked = if purpose.is_key_change() {
                "do that".to_owned()
            } else {
                format!("open {}", printable(purpose.service()))
            };
            Failure::failed(format!("{host} cannot {asked} now ({})", reason.word()))
                .remedy_after("its log says why", "journalctl -u spa-server")
        }
        Verdict::Silence => explain_silence(plan, purpose, all),
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
        Verdict::Translated | Verdict::Refused | Verdict::Unreachable | Verdict::Silence => {
            exit::UNREACHABLE
        }
        Verdict::NotSent(_) => exit::NOTHING_SENT,
    }
}

fn describe_port(plan: &Plan, purpose: Purpose<'_>, one: &Outcome) -> String {
    let port = plan.line.service(purpose.service()).map_or(0, |service| service.port);
    format!("port {port} of {}", one.address)
}

/// Explains a port that is open although nobody answers: the server is off, with its rules, or an
/// earlier grant still lives.
fn explain_not_hidden(plan: &Plan, purpose: Purpose<'_>, one: &Outcome) -> Failure {
    Failure::failed(format!(
        "{host} does not answer the knock, and {} takes connections all the same: nothing hides \
         it, or it is still open from an earlier knock. spa-server is probably stopped, or UDP \
         ports {} do not reach it",
        one.open_port.map_or_else(
            || describe_port(plan, purpose, one),
            |port| format!("port {port} of {}", one.address)
        ),
        plan.line.sequence.describe_ports(),
        host = plan.host
    ))
    .remedy_after("on the server", "systemctl status spa-server")
}

/// Explains that the service was opened for somebody else.
fn explain_relayed(plan: &Plan, what: &str, best: &Outcome, closed: bool) -> Failure {
    let observed = best.ack.map_or(best.address, |(ack, _)| ack.observed.ip());
    // What the user expects counts more than what this machine knows of itself.
    let expected =
        plan.seen.expected.iter().filter(|net| net.addr().is_ipv4() == observed.is_ipv4());
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
        "{what} was opened for {observed}, not for {ours}: a relay forwarded the knock; {ending}"
    ))
    .remedy_after(
        "if that is the address of your own NAT",
        format!("spa-client host set {} expect-address {observed}", plan.host),
    )
}

/// Explains that the server sees us under another address than the one that the knock names.
fn explain_translated(plan: &Plan, purpose: Purpose<'_>, best: &Outcome) -> Failure {
    let observed = best.ack.map_or(best.address, |(ack, _)| ack.observed.ip());
    let local = best.local.map_or_else(|| "its own".to_owned(), |local| local.to_string());
    let host = &plan.host;
    let failure = Failure::failed(format!(
        "{host} sees this machine as {observed}, not as {local}, which the knock names: something \
         on the way replaces the address (NAT, a VPN, a translator to IPv4), or a relay wants to \
         be let in; nothing was opened. If {observed} is not always the same: bind-src never"
    ));
    let lead = "if that address is yours";
    match purpose {
        Purpose::Enrolment => {
            failure.remedy_after(lead, format!("spa join - --expect-address {observed}"))
        }
        _ => {
            let command = format!("spa-client host set {host} expect-address {observed}");
            failure.remedy_after(lead, command)
        }
    }
}

/// Explains clocks that differ by this much, ours minus the server's.
fn explain_clock(offset_ms: i64, host: &str) -> Failure {
    let by = clock::format_offset(offset_ms);
    let here = clock::format_utc_now();
    let message = if clock::is_before_build() {
        format!(
            "this machine's clock is wrong: it says {here}, which is before this program was made, \
             and is {by} that of {host}"
        )
    } else if clock::was_before_build(offset_ms) {
        format!(
            "the clock of {host} is wrong: this machine's is {by} it, and here it is {here}; on \
             the server: timedatectl"
        )
    } else {
        format!("{} (here it is {here})", clock::describe_offset(offset_ms, host))
    };
    Failure::failed(message).remedy("timedatectl set-ntp true")
}
