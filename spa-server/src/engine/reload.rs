//! Sessions under way while the configuration is read anew.

use super::registry::PeerId;
use super::{Engine, Registry};
use crate::domain::server_key::ServerKeyVersion;

impl Engine {
    /// Gives sessions in progress, and those that wait for the store, the client's number in the
    /// new registry. What belongs to a client who is gone or has another key, or to a key of
    /// the server that is gone, is forgotten: it was proved to somebody else. So are sessions
    /// in progress when the number of stages has changed. What the firewall works on is concluded.
    pub(super) fn migrate_sessions(&mut self, before: &Registry, stages_before: u8) {
        let after = &self.registry;
        let migrated = |peer: PeerId| {
            let old = before.client_at(peer.client)?;
            let by = after.key_of_server(before.public_of(peer.by)?)?;
            let client = after.number_of(old.name)?;
            let new = after.client_at(client)?;
            let same = old.public == new.public && old.psk == new.psk;
            same.then_some(PeerId { client, by })
        };
        self.cache.migrate_peers(migrated);
        // Keeps what belongs to a peer of the new registry.
        let migrate = |peer: &mut PeerId| migrated(*peer).map(|new| *peer = new).is_some();
        let same_stages = stages_before == self.settings.sequence.stages();
        self.pending.retain(|_, pending| same_stages && migrate(&mut pending.authentic.peer));
        self.claiming.retain(|_, completed| migrate(&mut completed.authentic.peer));
        self.ended.retain(|ended| same_stages && migrate(&mut ended.authentic.peer));
        for completed in self.working.values_mut() {
            let peer = &mut completed.authentic.peer;
            if !migrate(peer) {
                completed.gone = true;
                // Its answer still tells the present key.
                let present = before.public_of(peer.by) == Some(after.public());
                peer.by =
                    if present { ServerKeyVersion::Key } else { ServerKeyVersion::PreviousKey };
            }
        }
    }
}
