//! An access stanza, as both processes take it from the configuration.

use std::sync::Arc;

use crate::config::{Client, Config};
use crate::engine::{Role, Stanza};

/// The stanza of a client, with the names of its services.
pub(crate) fn make_stanza(config: &Config, client: &Client, role: Role) -> Stanza {
    let name = |id: &u16| config.service(*id).map(|service| Arc::clone(&service.name));
    Stanza {
        services: client.services.iter().filter_map(name).collect(),
        from: client.from.to_vec(),
        hours: client.hours.clone(),
        expires_ms: client.expires,
        ttl: client.ttl,
        max_ttl: client.max_ttl,
        max_grants: Some(client.max_grants),
        prefix_v4: Some(client.grant_prefix_v4),
        prefix_v6: Some(client.grant_prefix_v6),
        third_party: client.third_party,
        rotate: client.rotate,
        role,
    }
}
