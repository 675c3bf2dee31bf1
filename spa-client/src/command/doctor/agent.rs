//! The ssh-agent that holds the signing half of a key, looked at without asking anybody for a
//! touch.

use spa_keys::{AgentError, AgentKey, Severity, printable};
use spa_proto::KeyKind;

use super::{Finding, good_finding};

/// Shell command that starts an agent for the shell in which it is typed.
const START_AGENT_COMMAND: &str = "eval \"$(ssh-agent)\"; ssh-add FILE";

/// Checks that the agent answers and has the key.
pub(super) fn check_agent(key: &AgentKey) -> Finding {
    let name = key.fingerprint();
    let bad = |text: String| Finding::new(Severity::Error, "agent", text);
    match key.look() {
        Ok(comment) if key.kind == KeyKind::SecurityKey => {
            let comment = printable(&comment);
            let text = format!(
                "it has the security key {name} ({comment}), which asks for a touch at every \
                 knock, within 25 seconds"
            );
            good_finding("agent", text)
        }
        Ok(comment) => {
            good_finding("agent", format!("it has the key {name} ({})", printable(&comment)))
        }
        Err(AgentError::NoAgent) => {
            bad(format!("SSH_AUTH_SOCK is not set, and an ssh-agent must sign with {name}"))
                .remedy(START_AGENT_COMMAND)
        }
        Err(AgentError::Gone { path, source }) => {
            bad(format!("nothing answers at SSH_AUTH_SOCK, {}: {source}", path.display()))
                .remedy(START_AGENT_COMMAND)
        }
        // An agent says the same in both cases, so the one command tries the one and then the
        // other.
        Err(AgentError::Empty(_)) => {
            bad(format!("it is locked, or has no keys, and must sign with {name}"))
                .remedy("ssh-add -X || ssh-add FILE")
        }
        Err(AgentError::Missing(_)) if key.kind == KeyKind::SecurityKey => bad(format!(
            "it has other keys, but not the security key {name}: plug it in and load it"
        ))
        .remedy("ssh-add FILE"),
        Err(AgentError::Missing(_)) => {
            bad(format!("it has other keys, but not {name}")).remedy("ssh-add FILE")
        }
        Err(other) => bad(other.to_string()).remedy("ssh-add -l"),
    }
}
