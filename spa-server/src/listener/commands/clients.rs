//! `clients`: who is enrolled, and when each was last let in.

use spa_keys::{Failure, Fingerprint};

use crate::control::rows::{ClientList, ClientRow, LastKnock};
use crate::engine::{Listed, Role};
use crate::listener::knock_server::KnockServer;

/// Lists a page of the clients.
pub(in crate::listener) fn list_clients(
    knocks: &KnockServer,
    limit: usize,
    after: Option<&str>,
) -> Result<ClientList, Failure> {
    let registry = std::sync::Arc::clone(knocks.engine.registry());
    let first = match after {
        None => 0,
        Some(name) => {
            let place = registry.place_of(name).ok_or_else(|| {
                Failure::failed(format!(
                    "the clients have changed meanwhile: there is no `{}` any more; ask again \
                     from the start",
                    name.escape_debug()
                ))
            })?;
            place.saturating_add(1)
        }
    };
    let clients: Vec<ClientRow> = (first..)
        .map_while(|place| registry.listed(place))
        .take_while(|client| client.stanza.role == Role::Client)
        .take(limit)
        .map(|client| client_row(knocks, &client))
        .collect();
    let more = (first as usize).saturating_add(clients.len()) < registry.clients();
    let next = if more { clients.last().map(|row| row.name.clone()) } else { None };
    Ok(ClientList {
        clients,
        key_change: knocks.followed.progress(&registry),
        all: registry.clients() as u64,
        next,
        now_ms: knocks.now().unix_ms,
    })
}

fn client_row(knocks: &KnockServer, client: &Listed<'_>) -> ClientRow {
    let stanza = client.stanza;
    ClientRow {
        name: client.name.to_string(),
        fingerprint: Fingerprint::from(client.public).to_string(),
        kind: client.public.kind.word().to_owned(),
        rotate: stanza.rotation(client.public).word().to_owned(),
        services: stanza.services.iter().map(ToString::to_string).collect(),
        from: stanza.from.clone(),
        hours: stanza.hours.as_ref().map(ToString::to_string),
        expires_ms: stanza.expires_ms,
        max_grants: stanza.max_grants,
        grants: knocks.engine.live_grants_of(client.name, knocks.now()) as u64,
        last: knocks.record.history.last_opening(client.name).map(|seen| LastKnock {
            ms: seen.at_ms,
            source: seen.source,
            service: seen.service.as_ref().map(ToString::to_string),
        }),
        server_key: knocks.followed.key_word(&client.public.sign).flatten().map(str::to_owned),
    }
}
