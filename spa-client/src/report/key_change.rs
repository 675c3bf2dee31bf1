//! Explanations of key changes that did not succeed.

use spa_keys::{Failure, exit};
use spa_proto::Reason;

use crate::knock::KeyChange;

/// Explains why there are no new keys.
pub(crate) fn explain_key_change(host: &str, outcome: &KeyChange) -> Failure {
    match outcome {
        KeyChange::Denied(reason) => {
            explain_denial(*reason).map_problem(|why| format!("{host} refused: {why}"))
        }
        KeyChange::Busy(Reason::Store) => Failure::failed(format!(
            "{host} accepts no new keys now: a trial of another configuration is running there, or \
             it cannot write its files. Nothing is lost: run this again when that is over"
        ))
        .remedy_after("its log says which", "journalctl -u spa-server"),
        KeyChange::Busy(reason) => Failure::failed(format!(
            "{host} cannot do that now ({}); run this again in a minute",
            reason.word()
        )),
        KeyChange::NotSent(error) => {
            Failure::new(exit::NOTHING_SENT, format!("nothing was sent to {host}: {error}"))
                .remedy_after("see", "spa-client doctor")
        }
        KeyChange::Silence | KeyChange::Unheard | KeyChange::Done(_) => {
            let message = format!(
                "no answer from {host}: the line may be used up, revoked, expired or for another \
                 server, or nothing gets through. Nothing is lost, run this again"
            );
            Failure::new(exit::UNREACHABLE, message)
                .remedy_after("on the server see", "spa-server invitations")
        }
    }
}

fn explain_denial(reason: Reason) -> Failure {
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
        Reason::From => Failure::failed("not from this address"),
        Reason::Hours => Failure::failed("not at this hour"),
        other => Failure::failed(other.word()),
    }
}
