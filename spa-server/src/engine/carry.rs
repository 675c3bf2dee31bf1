//! Knocks that are under way while the configuration is read anew.

use super::{Engine, Registry};

impl Engine {
    /// Gives sessions in progress, and those that wait for the store, the client's number in the new registry. What
    /// belongs to a client who is gone or has another key, or to another server key, is forgotten: it was proved to somebody
    /// else. So are sessions in progress when the number of stages has changed. What the firewall works on is concluded.
    pub(super) fn carry_over(&mut self, before: &Registry, stages_before: u8) {
        let after = &self.registry;
        let same_server = before.public() == after.public();
        let moved = |client: u32| {
            let old = before.client(client).filter(|_| same_server)?;
            let number = after.number(old.name)?;
            let new = after.client(number)?;
            (old.public == new.public && old.psk == new.psk).then_some(number)
        };
        let same_stages = stages_before == self.settings.sequence.stages();
        self.pending.retain(|_, pending| match moved(pending.client).filter(|_| same_stages) {
            Some(number) => {
                pending.client = number;
                true
            }
            None => false,
        });
        self.finishing.retain(|_, finishing| match moved(finishing.client) {
            Some(number) => {
                finishing.client = number;
                true
            }
            None => finishing.decided,
        });
        self.waiting.retain(|session| self.finishing.contains_key(session));
    }
}
