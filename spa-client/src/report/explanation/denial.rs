//! Reasons of a server that says no.

use spa_keys::{Failure, printable};
use spa_proto::Reason;

use crate::knock::Outcome;
use crate::plan::Plan;

/// Explains why a service was denied.
pub(super) fn explain_denied_service(reason: Reason, best: &Outcome, plan: &Plan) -> Failure {
    let name = printable(&plan.line.name);
    let listed = |why: String| {
        Failure::failed(why).remedy_after("see on the server", "spa-server client list")
    };
    match reason {
        Reason::Service => listed(format!("`{name}` may not open it, or it does not exist")),
        Reason::Expired => listed(format!("the access of `{name}` has expired")),
        Reason::Hours => listed(format!("`{name}` is not allowed in at this hour")),
        Reason::From => listed(format!("`{name}` is not allowed in from {}", seen_address(best))),
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

/// Explains why new keys were denied.
pub(super) fn explain_denied_keys(reason: Reason, best: &Outcome) -> Failure {
    match reason {
        Reason::Op => Failure::failed(
            "the invitation is used up or revoked, or these keys may not ask for that",
        )
        .remedy_after("see on the server", "spa-server invitations; spa-server client list"),
        Reason::Expired => Failure::failed("the invitation has expired")
            .remedy_after("on the server, make a new one", "spa-server invite NAME"),
        Reason::NewKeys => Failure::failed(
            "the server already knows your key, or what asked for it is used up: an invitation by \
             another device, a key by the one after it; take another key with --key FILE",
        )
        .remedy_after("see on the server", "spa-server client list"),
        Reason::Kind => Failure::failed(
            "such keys may not take the place of the present ones; without --agent and --no-agent \
             a signing key in an agent stays and the rest is renewed; the administrator can allow \
             others with `rotate` in the client's stanza",
        ),
        Reason::From => Failure::failed(format!("not from {}", seen_address(best))),
        Reason::Hours => Failure::failed("not at this hour"),
        other => Failure::failed(other.word()),
    }
}

/// Returns the address from which the server saw the knock come.
fn seen_address(best: &Outcome) -> std::net::IpAddr {
    best.ack.map_or(best.address, |(ack, _)| ack.observed.ip())
}
