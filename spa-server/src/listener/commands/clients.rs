//! `clients`: who is enrolled, and when each was last let in.

use serde_json::{Value, json};
use spa_keys::{Failure, Fingerprint};

use super::Daemon;
use crate::engine::{Listed, Role};

impl Daemon {
    pub(super) fn list_clients(
        &mut self,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Value, Failure> {
        let registry = std::sync::Arc::clone(self.engine.registry());
        let first = match after {
            None => 0,
            Some(name) => registry.place_of(name).map(|place| place.saturating_add(1)).ok_or_else(|| {
                Failure::failed(format!(
                    "the clients have changed meanwhile: there is no `{}` any more; ask again from \
                     the start",
                    name.escape_debug()
                ))
            })?,
        };
        let rows: Vec<Value> = (first..)
            .map_while(|place| registry.listed(place))
            .take_while(|client| client.stanza.role == Role::Client)
            .take(limit)
            .map(|client| self.client_row(&client))
            .collect();
        let more = (first as usize).saturating_add(rows.len()) < registry.clients();
        let next = if more { rows.last().map(|row| row["name"].clone()) } else { None };
        Ok(json!({
            "clients": rows, "key-change": self.key_change(), "all": registry.clients(), "next": next, "now-ms": self.clock.now().unix_ms,
        }))
    }

    fn client_row(&self, client: &Listed<'_>) -> Value {
        let stanza = client.stanza;
        let last = self.history.seen(client.name).map(|seen| {
            json!({
                "ms": seen.at_ms, "source": seen.source.to_string(), "service": seen.service.as_deref(),
            })
        });
        json!({
            "name": client.name,
            "fingerprint": Fingerprint::from(client.public).to_string(),
            "services": stanza.services.iter().map(|name| &**name).collect::<Vec<_>>(),
            "from": stanza.from.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "hours": stanza.hours.as_ref().map(ToString::to_string),
            "expires-ms": stanza.expires_ms,
            "max-grants": stanza.max_grants,
            "grants": self.engine.live_grants_of(client.name, self.clock.now()),
            "last": last,
            "server-key": self.followed.word(&client.public.sign).flatten(),
        })
    }
}
