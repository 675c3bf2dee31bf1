//! Knocks that are under way while the configuration is read anew.

use super::registry::{By, Who};
use super::{Engine, Registry};

impl Engine {
    /// Gives sessions in progress, and those that wait for the store, the client's number in the
    /// new registry. What belongs to a client who is gone or has another key, or to a key of
    /// the server that is gone, is forgotten: it was proved to somebody else. So are sessions
    /// in progress when the number of stages has changed. What the firewall works on is concluded.
    pub(super) fn carry_over(&mut self, before: &Registry, stages_before: u8) {
        let after = &self.registry;
        let moved = |who: Who| {
            let old = before.client_at(who.client)?;
            let by = after.key_of_server(before.public_of(who.by)?)?;
            let client = after.number_of(old.name)?;
            let new = after.client_at(client)?;
            (old.public == new.public && old.psk == new.psk).then_some(Who { client, by })
        };
        let same_stages = stages_before == self.settings.sequence.stages();
        self.pending.retain(|_, pending| match moved(pending.who).filter(|_| same_stages) {
            Some(who) => {
                pending.who = who;
                true
            }
            None => false,
        });
        self.finishing.retain(|_, finishing| match moved(finishing.who) {
            Some(who) => {
                finishing.who = who;
                true
            }
            None => {
                // Its answer still tells the present key.
                let present = before.public_of(finishing.who.by) == Some(after.public());
                finishing.who.by = if present { By::Key } else { By::PreviousKey };
                finishing.decided
            }
        });
        self.waiting.retain(|session| self.finishing.contains_key(session));
    }
}
