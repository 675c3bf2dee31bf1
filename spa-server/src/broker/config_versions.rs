//! Versions of the configuration: the one in force, the one that the listener reads, and the one
//! that it may go back to. Each has a number, and none is given twice.

use std::collections::BTreeMap;

use spa_keys::Failure;

use super::authorize::Authorization;
use super::client_terms::ClientTerms;
use crate::config::Config;

/// Removed clients that are remembered until a reload.
const MAX_REVOKED_CLIENTS: usize = 65_536;

/// The configuration in force and its neighbours.
pub(super) struct ConfigVersions {
    /// In force.
    pub(super) current: Authorization,
    /// Read by the listener at this moment, and not yet in force.
    pending: Option<Authorization>,
    /// In force until a moment ago: the listener may go back to it when its capture cannot follow.
    previous: Option<Authorization>,
    /// Number of the newest configuration.
    last: u64,
    /// Clients that were removed while an older reading of their file is in force, or may come back
    /// into force; with the number of the newest configuration of that moment.
    revoked: BTreeMap<String, u64>,
}

impl ConfigVersions {
    /// Begins with this configuration in force, number 1.
    pub(super) fn new(config: Config, clients: ClientTerms) -> Self {
        let current = Authorization { number: 1, config, clients };
        Self { current, pending: None, previous: None, last: 1, revoked: BTreeMap::new() }
    }

    /// Takes a configuration that is not in force yet. Returns its number.
    pub(super) fn propose_config(&mut self, config: Config, clients: ClientTerms) -> u64 {
        self.last += 1;
        self.pending = Some(Authorization { number: self.last, config, clients });
        self.last
    }

    /// The newest configuration, in force or not.
    pub(super) fn newest(&self) -> &Authorization {
        self.pending.as_ref().unwrap_or(&self.current)
    }

    /// A configuration that is not in force and may be: the pending or the previous one.
    pub(super) fn find_installable(&self, number: u64) -> Option<&Authorization> {
        let mut others = self.pending.iter().chain(&self.previous);
        others.find(|version| version.number == number)
    }

    /// Makes the pending or the previous configuration the one in force; the one that was in force
    /// is the previous one then.
    pub(super) fn activate(&mut self, number: u64) {
        let has_number = |version: &mut Authorization| version.number == number;
        let version =
            self.pending.take_if(has_number).or_else(|| self.previous.take_if(has_number));
        if let Some(version) = version {
            self.previous = Some(std::mem::replace(&mut self.current, version));
        }
    }

    /// Puts an earlier configuration into force under a new number, which it returns.
    pub(super) fn restore_config(&mut self, config: Config, clients: ClientTerms) -> u64 {
        self.last += 1;
        self.current = Authorization { number: self.last, config, clients };
        self.last
    }

    /// Forgets the previous configuration: the listener has gone on with the one in force.
    pub(super) fn forget_previous(&mut self) {
        self.previous = None;
    }

    /// Forgets what is not in force, at the end of a reload.
    pub(super) fn forget_others(&mut self) {
        (self.pending, self.previous) = (None, None);
    }

    /// Shuts a client out that the administrator has removed, whatever configuration is in force or
    /// comes back by a rollback: nothing is granted any more, and what is closed of it ends with
    /// its flows.
    ///
    /// # Errors
    /// Too many clients were removed since the last reload.
    pub(super) fn revoke_client(&mut self, client: &str) -> Result<(), Failure> {
        if self.revoked.len() >= MAX_REVOKED_CLIENTS && !self.is_revoked(client) {
            return Err(Failure::failed("too many clients were removed since the last reload"));
        }
        self.revoked.insert(client.to_owned(), self.last);
        Ok(())
    }

    /// Returns true for a client that was shut out.
    pub(super) fn is_revoked(&self, client: &str) -> bool {
        self.revoked.contains_key(client)
    }

    /// Clients that were shut out.
    pub(super) fn list_revoked(&self) -> Vec<String> {
        self.revoked.keys().cloned().collect()
    }

    /// The clients' files were read anew, under this number, and are in force: who is there again
    /// is let in again.
    pub(super) fn forget_revoked(&mut self, number: u64) {
        let clients = &self.current.clients;
        self.revoked.retain(|name, at| *at >= number || clients.find_client(name).is_none());
    }
}
