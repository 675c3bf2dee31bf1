//! Grants that nobody may hold any more, because a reload took away what they stand on.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Action, Engine, Registry, Revoked};
use crate::domain::grant::RevokeReason;
use crate::domain::grant::{Grant, GrantId};

impl Engine {
    /// Confirms that the firewall has carried out an [`Action::Revoke`]. Until then it is asked
    /// again at every tick, unless the grant has ended.
    pub fn confirm_revocation(&mut self, grant: GrantId) {
        match self.revoking.iter().position(|revoked| revoked.grant == grant) {
            Some(at) => {
                let revoked = self.revoking.remove(at);
                self.grants.remove_grant(&revoked.client, grant);
            }
            None => self.grants.forget_grants(&HashSet::from([grant])),
        }
    }

    /// Asks for the end of every grant that the registry allows no more. `before`: what it was, to
    /// tell a client from another one with its name.
    pub(super) fn revoke_gone(&mut self, before: Option<&Registry>) {
        let known = |grant: GrantId| self.revoking.iter().any(|revoked| revoked.grant == grant);
        let gone = |(client, service, grant): (&Arc<str>, &Arc<str>, GrantId)| {
            let why = find_revocation(&self.registry, client, service, before)
                .filter(|_| !known(grant))?;
            Some(Revoked { grant, client: Arc::clone(client), service: Arc::clone(service), why })
        };
        let mut revoked: Vec<Revoked> = self.grants.iter_all().filter_map(gone).collect();
        revoked.sort_unstable_by_key(|revoked| revoked.grant);
        revoked.into_iter().for_each(|revoked| self.push_revocation(revoked));
    }

    /// The firewall opened it while its client was removed.
    pub(super) fn revoke_if_gone(&mut self, grant: &Grant) {
        if let Some(why) = find_revocation(&self.registry, &grant.client, &grant.service, None) {
            let (client, service) = (Arc::clone(&grant.client), Arc::clone(&grant.service));
            self.push_revocation(Revoked { grant: grant.id, client, service, why });
        }
    }

    /// Asks the firewall again for the grants that it has not closed so far.
    pub(super) fn revoke_again(&mut self) {
        if self.revoking.is_empty() {
            return;
        }
        let live: HashSet<GrantId> = self.grants.iter_all().map(|(_, _, grant)| grant).collect();
        self.revoking.retain(|revoked| live.contains(&revoked.grant));
        let again: Vec<Action> = self.revoking.iter().cloned().map(Action::Revoke).collect();
        self.actions.extend(again);
    }

    fn push_revocation(&mut self, revoked: Revoked) {
        self.revoking.push(revoked.clone());
        self.push_action(Action::Revoke(revoked));
    }
}

/// Why this client may not hold a grant for this service.
fn find_revocation(
    registry: &Registry,
    client: &str,
    service: &str,
    before: Option<&Registry>,
) -> Option<RevokeReason> {
    if registry.service_named(service).is_none() {
        return Some(RevokeReason::Service);
    }
    // No client's name has a colon: an administrator opened it, who needs no stanza.
    if client.contains(':') {
        return None;
    }
    let Some(view) = registry.client_named(client) else { return Some(RevokeReason::Client) };
    // A key that was replaced may have been stolen: what it opened ends with it.
    let replaced = before.and_then(|before| before.client_named(client)).is_some_and(|old| {
        // Unless it has replaced itself, and its former keys are good for a while yet.
        let former =
            registry.former_keys_of(client).is_some_and(|former| former.public == old.public);
        old.public != view.public && !former
    });
    if replaced {
        Some(RevokeReason::Client)
    } else if !view.stanza.services.iter().any(|name| **name == *service) {
        Some(RevokeReason::Right)
    } else {
        None
    }
}
