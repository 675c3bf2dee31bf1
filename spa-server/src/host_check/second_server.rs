//! Other servers with the same key on this machine: the running server knows them.

use spa_keys::Severity;

use super::{HostFinding, HostSubject};
use crate::control::Command;
use crate::control::client::request;
use crate::control::status::ServerStatus;

/// Asks the running server. When none answers there is nothing to say.
pub(super) fn check_second_servers(control: &std::path::Path) -> Option<HostFinding> {
    let status: ServerStatus = request(control, Command::Status { brief: true }).ok()??;
    (status.second_servers > 0).then(|| {
        HostFinding::new(
            Severity::Error,
            HostSubject::Server,
            "another spa-server with the same key runs here: a knock that one has let in opens the \
             other once more; stop one, or give it a key of its own"
                .to_owned(),
        )
    })
}
