//! While the server has two keys: which client came last by which, so that the administrator knows
//! when the old one may go.

use std::collections::HashMap;

use spa_keys::Fingerprint;
use spa_proto::ServerPublic;

use crate::control::rows::ServerKeyChange;
use crate::engine::{Registry, Role, ServerKeyVersion};
use crate::store::key_rollover::{ClientKey, FollowedFile, Sighting};

/// Changes of one client that are written in one run: two devices that share a key, one of them on
/// the old key of the server, must not fill the disk.
const MAX_WRITES_PER_CLIENT: u8 = 16;

/// Server key by which each client came last.
#[derive(Debug, Default)]
pub(super) struct KeyFollowers {
    /// The present key, while there is one before it.
    server: Option<ServerPublic>,
    last: HashMap<ClientKey, (Sighting, u8)>,
}

/// Change of the file.
pub(super) enum Write {
    /// For this key of the server, with what is known.
    Begin(ServerPublic, Vec<Sighting>),
    /// One more.
    Add(Sighting),
}

impl KeyFollowers {
    /// A registry is in force: what was seen counts for its present key only. What is to be
    /// written.
    pub(super) fn begin_registry(
        &mut self,
        registry: &Registry,
        file: Option<&FollowedFile>,
    ) -> Option<Write> {
        let server = registry.previous().map(|_| *registry.public());
        if server == self.server {
            return None;
        }
        self.server = server;
        self.last.clear();
        let server = server?;
        for known in file.map(|file| file.read(&server)).unwrap_or_default() {
            self.last.insert(known.client, (known, 0));
        }
        Some(Write::Begin(server, self.last.values().map(|(known, _)| *known).collect()))
    }

    /// A client came; what is to be written, if that is news.
    pub(super) fn note_client(
        &mut self,
        client: ClientKey,
        by: ServerKeyVersion,
        at_ms: u64,
    ) -> Option<Write> {
        self.server?;
        let sighting = Sighting { client, new: by == ServerKeyVersion::Key, at_ms };
        let known =
            self.last.entry(client).or_insert((Sighting { new: !sighting.new, ..sighting }, 0));
        let news = known.0.new != sighting.new && known.1 < MAX_WRITES_PER_CLIENT;
        known.0 = sighting;
        known.1 = known.1.saturating_add(u8::from(news));
        news.then_some(Write::Add(sighting))
    }

    /// `new`, `previous`, or nothing for a client that was not seen; `None` when the server has one
    /// key.
    pub(super) fn key_word(&self, client: &ClientKey) -> Option<Option<&'static str>> {
        self.server?;
        let known = self.last.get(client);
        Some(known.map(|(known, _)| if known.new { "new" } else { "previous" }))
    }

    /// Progress of the change of the server's key; `None` when it has one key.
    pub(super) fn progress(&self, registry: &Registry) -> Option<ServerKeyChange> {
        let (_, previous_until_ms) = registry.previous()?;
        let (mut new, mut previous, mut not_seen) = (0, 0, 0);
        let clients = (0..).map_while(|place| registry.listed(place));
        for client in clients.take_while(|client| client.stanza.role == Role::Client) {
            match self.key_word(&client.public.sign) {
                Some(Some("new")) => new += 1,
                Some(Some(_)) => previous += 1,
                _ => not_seen += 1,
            }
        }
        let fingerprint = Fingerprint::from(registry.public()).to_string();
        Some(ServerKeyChange { fingerprint, previous_until_ms, new, previous, not_seen })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn news_are_written_and_not_without_end() {
        let mut followed =
            KeyFollowers { server: Some(ServerPublic([1; 32])), ..KeyFollowers::default() };
        assert!(
            matches!(followed.note_client([7; 32], ServerKeyVersion::PreviousKey, 1), Some(Write::Add(seen)) if !seen.new)
        );
        assert!(followed.note_client([7; 32], ServerKeyVersion::PreviousKey, 2).is_none());
        assert_eq!(followed.key_word(&[7; 32]), Some(Some("previous")));
        assert!(
            matches!(followed.note_client([7; 32], ServerKeyVersion::Key, 3), Some(Write::Add(seen)) if seen.new)
        );
        assert_eq!(
            (followed.key_word(&[7; 32]), followed.key_word(&[8; 32])),
            (Some(Some("new")), Some(None))
        );
        let written = (0..100).filter(|n| {
            let by = if n % 2 == 0 { ServerKeyVersion::PreviousKey } else { ServerKeyVersion::Key };
            followed.note_client([7; 32], by, 4).is_some()
        });
        assert_eq!(written.count(), usize::from(MAX_WRITES_PER_CLIENT) - 2);
        followed.server = None;
        assert!(
            followed.note_client([9; 32], ServerKeyVersion::Key, 5).is_none()
                && followed.key_word(&[9; 32]).is_none()
        );
    }
}
