//! Grants that an administrator opens and closes, in the same book as the clients'.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::policy::ServiceTerms;
use super::{Action, Engine, Now};
use crate::domain::grant::{ADMIN_NAME, Grant, GrantId, alone};

impl Engine {
    /// The grant for an administrator who opens a service: a new one, or the live one anew. Hand it
    /// to the firewall, then enter it with [`Engine::adopt`].
    pub fn admin_grant(
        &mut self,
        now: Now,
        service: &ServiceTerms,
        source: IpAddr,
        ttl: Duration,
    ) -> Grant {
        let renewed = self
            .grants
            .find_live(
                ADMIN_NAME,
                |grant| *grant.service == *service.name && grant.network == source.into(),
                now.mono,
            )
            .first()
            .copied();
        let id = renewed.unwrap_or_else(|| self.grants.next_id());
        // Numbers are reserved together with the mark. Without one, whoever opens thousands without
        // a single knock in between would see them again after a crash.
        self.push_action(Action::ExpectClaim { ts_ms: now.unix_ms });
        Grant {
            id,
            client: ADMIN_NAME.into(),
            service: Arc::clone(&service.name),
            source,
            prefix: alone(source),
            scope: service.scope.clone(),
            ttl,
            provisional: false,
        }
    }

    /// Forgets grants that an administrator has closed: they count for no limit, and the next knock
    /// opens a new one.
    pub fn forget(&mut self, closed: &HashSet<GrantId>) {
        self.grants.forget_grants(closed);
    }

    /// Returns true for a live grant of a client, as far as the engine knows.
    #[must_use]
    pub fn is_live(&self, client: &str, id: GrantId, now: Now) -> bool {
        self.grants.is_live(client, id, now.mono)
    }

    /// Live grants of a client, as far as the engine knows.
    #[must_use]
    pub fn live_grants_of(&self, client: &str, now: Now) -> usize {
        self.grants.count_live(client, &[], now.mono)
    }
}
