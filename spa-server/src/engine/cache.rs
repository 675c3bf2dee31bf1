//! Keys and budgets of the clients that knocked lately. Bounded: what falls out is derived again,
//! but for the pairs' secrets, each of which costs a public-key operation.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use spa_proto::{Context, PairKeys, PairSecret};

use super::registry::{PeerId, Registry};
use crate::domain::bucket::{Bucket, Rate};
use crate::domain::server_key::ServerKeyVersion;

/// Sessions that a client may begin from home, and as many from elsewhere.
const SESSION_RATE: Rate = Rate { burst: 128, each: Duration::from_millis(100) };
/// Log lines per client that copies of its packets can cause; the counters have them all.
const LOG_RATE: Rate = Rate { burst: 8, each: Duration::from_secs(5) };
/// Clients per generation; two generations are kept.
const MAX_CLIENTS_PER_GENERATION: usize = 4096;
/// Refused datagrams that are remembered per client.
const MAX_REFUSED: usize = 64;
/// Prefixes that a client was let in from lately, and for how long they count.
const MAX_HOME_PREFIXES: usize = 8;
const HOME_PREFIX_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Keys that belong to a client and one key of the server.
struct PeerKeys {
    by: ServerKeyVersion,
    context: Context,
    pair: PairKeys,
}

/// State of a client while it is active. By whichever of the server's keys it comes, the budgets
/// are the same.
pub(super) struct ActiveClient {
    keys: Vec<PeerKeys>,
    /// Pays for new sessions from where the client was let in lately.
    home: Bucket,
    /// Pays for new sessions from everywhere else, so that whoever floods from there leaves the
    /// client its own.
    away: Bucket,
    /// Pays for log lines that copies of the client's packets, or a thief of its keys, can cause.
    lines: Bucket,
    /// Macs of refused datagrams: a copy costs nothing more.
    refused: VecDeque<[u8; 8]>,
    /// Newest last.
    home_prefixes: VecDeque<(IpNet, Duration)>,
}

impl ActiveClient {
    fn new(now: Duration) -> Self {
        Self {
            keys: Vec::with_capacity(1),
            home: Bucket::new_full(SESSION_RATE, now),
            away: Bucket::new_full(SESSION_RATE, now),
            lines: Bucket::new_full(LOG_RATE, now),
            refused: VecDeque::new(),
            home_prefixes: VecDeque::new(),
        }
    }

    /// The keys for one key of the server, once [`Cache::active_client`] has derived them.
    pub(super) fn keys_by(&self, by: ServerKeyVersion) -> Option<(&Context, &PairKeys)> {
        self.keys.iter().find(|keys| keys.by == by).map(|keys| (&keys.context, &keys.pair))
    }

    /// Tells whether this very datagram was refused before.
    pub(super) fn was_refused(&self, mac: &[u8; 8]) -> bool {
        self.refused.contains(mac)
    }

    /// Remembers a refused datagram by its mac.
    pub(super) fn remember_refused(&mut self, mac: [u8; 8]) {
        if self.refused.len() >= MAX_REFUSED {
            self.refused.pop_front();
        }
        self.refused.push_back(mac);
    }

    /// Takes a token for a new session from this source; false: the budget is spent.
    pub(super) fn pay_session(&mut self, source: IpAddr, now: Duration) -> bool {
        let is_home = self.home_prefixes.iter().any(|(net, at)| {
            net.contains(&source) && now.saturating_sub(*at) < HOME_PREFIX_LIFETIME
        });
        if is_home { self.home.take_token(now) } else { self.away.take_token(now) }
    }

    /// Remembers where the client was let in: a bound or confirmed grant, nothing less.
    pub(super) fn note_home(&mut self, source: IpAddr, now: Duration) {
        let Some(prefix) = home_prefix(source) else { return };
        self.home_prefixes.retain(|(net, _)| *net != prefix);
        if self.home_prefixes.len() >= MAX_HOME_PREFIXES {
            self.home_prefixes.pop_front();
        }
        self.home_prefixes.push_back((prefix, now));
    }

    /// Takes a token for a log line; false: count it and say nothing.
    pub(super) fn may_log(&mut self, now: Duration) -> bool {
        self.lines.take_token(now)
    }
}

/// The /24 or /48 of an address.
fn home_prefix(source: IpAddr) -> Option<IpNet> {
    let length = if source.is_ipv4() { 24 } else { 48 };
    IpNet::new(source, length).ok().map(|net| net.trunc())
}

/// Active clients by index, in a young and an old generation, so that forgetting costs nothing per
/// packet; and the secrets of every pair that has knocked.
#[derive(Default)]
pub(super) struct Cache {
    young: HashMap<u32, Box<ActiveClient>>,
    old: HashMap<u32, Box<ActiveClient>>,
    /// Never evicted while the pair lives: whoever stole a psk could else buy one X25519 per
    /// eviction.
    secrets: HashMap<PeerId, PairSecret>,
}

impl Cache {
    /// The active state of a client with its keys for this key of the server, made when it is not
    /// there. `None`: nobody, or the client's public key is a small-order point.
    pub(super) fn active_client(
        &mut self,
        registry: &Registry,
        peer: PeerId,
        now: Duration,
    ) -> Option<&mut ActiveClient> {
        let client = peer.client;
        if !self.young.contains_key(&client) {
            registry.client_at(client)?;
            let active =
                self.old.remove(&client).unwrap_or_else(|| Box::new(ActiveClient::new(now)));
            if self.young.len() >= MAX_CLIENTS_PER_GENERATION {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(client, active);
        }
        let active = self.young.get_mut(&client)?;
        if active.keys_by(peer.by).is_none() {
            let view = registry.client_at(client)?;
            let context = Context::new(registry.public_of(peer.by)?, view.public);
            let secret = match self.secrets.get(&peer) {
                Some(secret) => secret.clone(),
                None => {
                    let server = registry.server_secret(peer.by)?;
                    let secret = PairSecret::of_server(view.psk, server, view.public)?;
                    self.secrets.insert(peer, secret.clone());
                    secret
                }
            };
            let pair = secret.keys(&context);
            active.keys.push(PeerKeys { by: peer.by, context, pair });
        }
        Some(active)
    }

    /// Carries the state over to another registry. `migrate` gives a peer's place there, or `None`
    /// when the pair is gone or another.
    pub(super) fn migrate_peers(&mut self, migrate: impl Fn(PeerId) -> Option<PeerId>) {
        let secrets = std::mem::take(&mut self.secrets);
        self.secrets = secrets
            .into_iter()
            .filter_map(|(peer, secret)| Some((migrate(peer)?, secret)))
            .collect();
        for generation in [&mut self.young, &mut self.old] {
            let clients = std::mem::take(generation);
            for (client, mut active) in clients {
                let place = [ServerKeyVersion::Key, ServerKeyVersion::PreviousKey]
                    .into_iter()
                    .find_map(|by| migrate(PeerId { client, by }));
                if let Some(place) = place {
                    // Which key of the server is the present one may have changed.
                    active.keys.clear();
                    generation.insert(place.client, active);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use spa_proto::{ClientSecret, Psk, ServerSecret};

    use super::super::policy::Stanza;
    use super::super::registry::RegisteredClient;
    use super::*;

    /// Whoever stole every psk buys one X25519 for each pair, however many clients are active.
    #[test]
    fn a_pairs_secret_is_made_once() {
        let clients = 2 * MAX_CLIENTS_PER_GENERATION + 10;
        let public = ClientSecret::from_bytes([1; 32]).public();
        let client = |i: usize| RegisteredClient {
            name: format!("c{i}"),
            public,
            psk: Psk::from_bytes([7; 32]),
            stanza: Stanza::default(),
            since_ms: None,
            kem: None,
        };
        let server = ServerSecret::from_bytes([2; 32]);
        let registry = Registry::new(server, Vec::new(), (0..clients).map(client)).unwrap();
        let mut cache = Cache::default();
        let marked = PeerId { client: 0, by: ServerKeyVersion::Key };
        assert!(cache.active_client(&registry, marked, Duration::ZERO).is_some());
        // Another secret in its place shows whether it is made anew.
        let other = ClientSecret::from_bytes([3; 32]).public();
        let psk = Psk::from_bytes([7; 32]);
        let secret = PairSecret::of_server(&psk, &ServerSecret::from_bytes([2; 32]), &other);
        cache.secrets.insert(marked, secret.unwrap());
        let packet = [0; 144];
        let shared = cache.secrets.values().next().unwrap().clone();
        let context = Context::new(registry.public_of(ServerKeyVersion::Key).unwrap(), &public);
        let expected = shared.keys(&context).ephemeral(&packet);
        for client in 1..clients {
            let peer = PeerId { client: u32::try_from(client).unwrap(), by: ServerKeyVersion::Key };
            // Its secret is there already: only the generations turn.
            cache.secrets.insert(peer, shared.clone());
            assert!(cache.active_client(&registry, peer, Duration::ZERO).is_some());
        }
        let is_active = |cache: &Cache| cache.young.contains_key(&0) || cache.old.contains_key(&0);
        assert!(!is_active(&cache), "it has fallen out");
        let again = cache.active_client(&registry, marked, Duration::ZERO).unwrap();
        assert_eq!(again.keys_by(ServerKeyVersion::Key).unwrap().1.ephemeral(&packet), expected);
    }
}
