//! Explanations of key changes that did not succeed.

use spa_keys::{Failure, exit};
use spa_proto::Reason;

use crate::knock::KeyChange;

/// Explains why there are no new keys.
pub(crate) fn explain_key_change(host: &str, outcome: &KeyChange) -> Failure {
    match outcome {
        KeyChange::Denied(reason) => {
            Failure::failed(format!("{host} refused: {}", explain_denial(*reason)))
        }
        KeyChange::Busy(Reason::Store) => Failure::failed(format!(
            "{host} accepts no new keys now: a trial of another configuration is running there, \
            or it cannot write its files; its log says which: journalctl -u spa-server. Nothing \
            is lost: run this again when that is over"
        )),
        KeyChange::Busy(reason) => Failure::failed(format!(
            "{host} cannot do that now ({}); run this again in a minute",
            reason.word()
        )),
        KeyChange::NotSent(error) => {
            let message = format!("nothing was sent to {host}: {error}; see: spa-client doctor");
            Failure::new(exit::NOTHING_SENT, message)
        }
        KeyChange::Silence | KeyChange::Unheard | KeyChange::Done => {
            let message = format!(
                "no answer from {host}: the line may be used up, revoked, expired or for another \
                 server, or nothing gets through. Nothing is lost, run this again; on the server \
                 see: spa-server invitations"
            );
            Failure::new(exit::UNREACHABLE, message)
        }
    }
}

fn explain_denial(reason: Reason) -> String {
    match reason {
        Reason::Op => "the invitation is used up or revoked, or these keys may not ask for that; \
            see on the server: spa-server invitations, spa-server client list"
            .to_owned(),
        Reason::Expired => {
            "the invitation has expired; ask for a new one: spa-server invite".to_owned()
        }
        Reason::NewKeys => "the server already knows your key, or has replaced it before; see \
            there: spa-server client list; or take another: --key FILE"
            .to_owned(),
        Reason::From => "not from this address".to_owned(),
        Reason::Hours => "not at this hour".to_owned(),
        other => other.word().to_owned(),
    }
}
