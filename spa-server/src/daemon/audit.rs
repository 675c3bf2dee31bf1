//! Grants that end by our own doing.

use super::Daemon;
use crate::engine::Revoked;
use crate::log::{self, Level};

impl Daemon {
    /// Closes a grant that nobody may hold any more.
    pub(super) fn revoke(&mut self, revoked: &Revoked) {
        let outcome = self.backend.firewall.close(revoked.grant);
        let (level, name) = if outcome.is_ok() { (Level::Info, "closed") } else { (Level::Error, "failed") };
        log::event(level, name)
            .with("client", &revoked.client)
            .with("service", &revoked.service)
            .with("grant", revoked.grant)
            .with("reason", revoked.why.word())
            .maybe("error", outcome.as_ref().err())
            .emit();
        self.engine.revoked(revoked.grant, &outcome);
    }
}
