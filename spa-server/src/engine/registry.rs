//! Registry of those who may knock: the server's key, the clients and their access stanzas, packed
//! for a million of them.

use std::collections::HashMap;
use std::sync::Arc;

use spa_proto::{
    ClientPublic, Context, EPOCH_MS, KemRandom, Psk, ServerPublic, ServerSecret, TagKey, TagTable,
    TagTableBuilder, service_id,
};

use super::policy::{Role, ServiceTerms, Stanza};
use crate::domain::server_key::ServerKeyVersion;

/// A client as it is enrolled.
#[derive(Clone, Debug)]
pub struct RegisteredClient {
    /// Name, unique.
    pub name: String,
    /// Public keys, unique.
    pub public: ClientPublic,
    /// The pair's pre-shared key.
    pub psk: Psk,
    /// Rights of the client.
    pub stanza: Stanza,
    /// When its psk was made, unix ms; `None`: it stood in a line, which somebody may have seen.
    pub since_ms: Option<u64>,
    /// Of former keys: what the ML-KEM half of their successor's psk was made from.
    pub kem: Option<KemRandom>,
}

/// Why a registry cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Two services derive the same number.
    #[error("the services `{0}` and `{1}` have the same number on the wire: rename one of them")]
    SameNumber(Arc<str>, Arc<str>),
    /// A stanza names a service that is not there.
    #[error("client `{0}` may use `{1}`, which is no service")]
    NoService(String, Arc<str>),
    /// More clients than a tag table can number, each by two keys of the server.
    #[error("more than {MAX_KEY_PAIRS} clients")]
    TooMany,
}

const DAY_MS: u64 = 24 * 3_600_000;

/// A tag table numbers clients with 29 bits, one of which says by which key they come.
const MAX_KEY_PAIRS: u32 = 1 << 28;

/// The server's key from before, while clients may still come by it.
#[derive(Clone, Debug)]
pub struct Previous {
    /// The secret.
    pub secret: ServerSecret,
    /// From this moment on (unix ms) it is as if it were not there.
    pub until_ms: Option<u64>,
}

/// A client, and by which key it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PeerId {
    /// Index of the client in the registry.
    pub(super) client: u32,
    /// The server key that it used.
    pub(super) by: ServerKeyVersion,
}

/// One client, packed: 108 bytes, and its name in the arena.
struct ClientRecord {
    public: ClientPublic,
    psk: Psk,
    name: u32,
    name_len: u16,
    /// Day since 1970 on which the psk was made; 0: it stood in a line.
    since_day: u16,
    stanza: u32,
}

/// Server key, services, clients, stanzas. Immutable; a reload makes a new one.
pub struct Registry {
    server: ServerSecret,
    public: ServerPublic,
    previous: Option<(Previous, ServerPublic)>,
    services: HashMap<u16, Arc<ServiceTerms>>,
    records: Vec<ClientRecord>,
    /// All names, one after the other.
    names: String,
    /// Equal stanzas are stored once.
    stanzas: Vec<Stanza>,
    /// Indices of the clients in the order of their names, without invitations and former keys.
    by_name: Vec<u32>,
    /// Indices of former keys, and of invitations that were taken.
    former: Vec<u32>,
    /// Of those of them whose successor has an ML-KEM half, what it was made from.
    kem: HashMap<u32, KemRandom>,
}

impl Registry {
    /// Packs the clients.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn new(
        server: ServerSecret,
        services: Vec<ServiceTerms>,
        clients: impl IntoIterator<Item = RegisteredClient>,
    ) -> Result<Self, RegistryError> {
        let public = server.public();
        let mut by_number: HashMap<u16, Arc<ServiceTerms>> = HashMap::new();
        for service in services {
            let service = Arc::new(service);
            if let Some(other) = by_number.insert(service_id(&service.name), Arc::clone(&service)) {
                return Err(RegistryError::SameNumber(
                    Arc::clone(&other.name),
                    Arc::clone(&service.name),
                ));
            }
        }
        let mut registry = Self {
            server,
            public,
            previous: None,
            services: by_number,
            records: Vec::new(),
            names: String::new(),
            stanzas: Vec::new(),
            by_name: Vec::new(),
            former: Vec::new(),
            kem: HashMap::new(),
        };
        let mut known: HashMap<Stanza, u32> = HashMap::new();
        for client in clients {
            registry.push_client(client, &mut known)?;
        }
        registry.records.shrink_to_fit();
        registry.names.shrink_to_fit();
        // Here and not when somebody asks: a registry is built beside the running server, and asked
        // on its hot path.
        let all = 0..u32::try_from(registry.records.len()).unwrap_or(u32::MAX);
        let role = |index: &u32| registry.client_at(*index).map(|view| view.stanza.role);
        let mut by_name: Vec<u32> =
            all.clone().filter(|index| role(index) == Some(Role::Client)).collect();
        let is_former =
            |index: &u32| matches!(role(index), Some(Role::Former { .. } | Role::Taken { .. }));
        let former = all.filter(is_former).collect();
        by_name.sort_by(|a, b| registry.name_at(*a).cmp(registry.name_at(*b)));
        registry.by_name = by_name;
        registry.former = former;
        Ok(registry)
    }

    fn push_client(
        &mut self,
        client: RegisteredClient,
        known: &mut HashMap<Stanza, u32>,
    ) -> Result<(), RegistryError> {
        if self.records.len() >= MAX_KEY_PAIRS as usize {
            return Err(RegistryError::TooMany);
        }
        let stanza = match known.get(&client.stanza) {
            Some(at) => *at,
            None => {
                for name in &client.stanza.services {
                    if self.service_named(name).is_none() {
                        return Err(RegistryError::NoService(client.name, Arc::clone(name)));
                    }
                }
                let at = u32::try_from(self.stanzas.len()).map_err(|_| RegistryError::TooMany)?;
                self.stanzas.push(client.stanza.clone());
                known.insert(client.stanza, at);
                at
            }
        };
        let name = u32::try_from(self.names.len()).map_err(|_| RegistryError::TooMany)?;
        let name_len = u16::try_from(client.name.len()).map_err(|_| RegistryError::TooMany)?;
        self.names.push_str(&client.name);
        if let Some(kem) = client.kem {
            let index = u32::try_from(self.records.len()).map_err(|_| RegistryError::TooMany)?;
            self.kem.insert(index, kem);
        }
        self.records.push(ClientRecord {
            public: client.public,
            psk: client.psk,
            name,
            name_len,
            since_day: client
                .since_ms
                .map_or(0, |ms| u16::try_from(ms / DAY_MS).unwrap_or(u16::MAX)),
            stanza,
        });
        Ok(())
    }

    /// The same with a key from before, by which every client may come as well.
    #[must_use]
    pub fn with_previous(mut self, previous: Option<Previous>) -> Self {
        let previous = previous.map(|previous| {
            let public = previous.secret.public();
            (previous, public)
        });
        // The present key under two names would only cost.
        self.previous = previous.filter(|(_, public)| *public != self.public);
        self
    }

    /// The tags of every client in an epoch, for each key of the server by which one may come then.
    /// Costs about 3 µs per client and key: call it off the hot path.
    #[must_use]
    pub fn table(&self, epoch: u64, stages: u8) -> TagTable {
        let over = |previous: &Previous| self.is_over(previous, epoch.saturating_mul(EPOCH_MS));
        let previous = self.previous.as_ref().filter(|(previous, _)| !over(previous));
        let keys = [
            Some((&self.public, ServerKeyVersion::Key)),
            previous.map(|(_, public)| (public, ServerKeyVersion::PreviousKey)),
        ];
        let keys = || keys.iter().flatten();
        let tags = self.records.len() * keys().count() * usize::from(stages);
        let mut builder = TagTableBuilder::with_capacity(tags);
        for (index, record) in (0u32..).zip(&self.records) {
            for (server, by) in keys() {
                let key = TagKey::derive(&record.psk, &Context::new(server, &record.public));
                for stage in 0..stages {
                    builder.add(key.tag(epoch, stage), table_number(index, *by), stage);
                }
            }
        }
        builder.build()
    }

    fn is_over(&self, previous: &Previous, unix_ms: u64) -> bool {
        previous.until_ms.is_some_and(|until| unix_ms >= until)
    }

    /// Whom a number of the tag tables means; nobody when it comes by a key whose time is over.
    pub(super) fn find_identity(&self, number: u32, unix_ms: u64) -> Option<PeerId> {
        let (client, by) = (
            number >> 1,
            if number & 1 == 0 { ServerKeyVersion::Key } else { ServerKeyVersion::PreviousKey },
        );
        let over = match (by, &self.previous) {
            (ServerKeyVersion::Key, _) => false,
            (ServerKeyVersion::PreviousKey, Some((previous, _))) => self.is_over(previous, unix_ms),
            (ServerKeyVersion::PreviousKey, None) => true,
        };
        (!over).then_some(PeerId { client, by })
    }

    /// The secret of a key by which one comes.
    pub(super) fn server_secret(&self, by: ServerKeyVersion) -> Option<&ServerSecret> {
        match by {
            ServerKeyVersion::Key => Some(&self.server),
            ServerKeyVersion::PreviousKey => {
                self.previous.as_ref().map(|(previous, _)| &previous.secret)
            }
        }
    }

    /// The public half of a key by which one comes.
    pub(super) fn public_of(&self, by: ServerKeyVersion) -> Option<&ServerPublic> {
        match by {
            ServerKeyVersion::Key => Some(&self.public),
            ServerKeyVersion::PreviousKey => self.previous.as_ref().map(|(_, public)| public),
        }
    }

    /// By which key somebody comes who believes in this one.
    pub(super) fn key_of_server(&self, public: &ServerPublic) -> Option<ServerKeyVersion> {
        [ServerKeyVersion::Key, ServerKeyVersion::PreviousKey]
            .into_iter()
            .find(|by| self.public_of(*by) == Some(public))
    }

    /// The server's public key from before, and until when it is good (unix ms), while there is
    /// one.
    #[must_use]
    pub fn previous(&self) -> Option<(&ServerPublic, Option<u64>)> {
        self.previous.as_ref().map(|(previous, public)| (public, previous.until_ms))
    }

    /// Number of clients: invitations and former keys are none.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.by_name.len()
    }

    /// Returns true if a half of these keys is already known, in whatever role, but for the signing
    /// half of `own`. Walks through all of them.
    pub(super) fn is_anothers(&self, public: &ClientPublic, own: &ClientPublic) -> bool {
        let keeps_signer = (own.sign, own.kind) == (public.sign, public.kind);
        let known = |other: &ClientPublic| {
            other.dh == public.dh || (!keeps_signer && other.sign == public.sign)
        };
        self.records.iter().any(|record| known(&record.public))
    }

    /// Tells whether these keys are somebody's.
    #[must_use]
    pub fn knows(&self, public: &ClientPublic) -> bool {
        self.records.iter().any(|record| record.public == *public)
    }

    /// The former keys of the client of this name.
    pub(super) fn former_keys_of(&self, name: &str) -> Option<ClientView<'_>> {
        self.former.iter().filter_map(|index| self.client_at(*index)).find(|view| view.name == name)
    }

    /// Number of key pairs that may knock.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns true without any client.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The server's public key.
    #[must_use]
    pub fn public(&self) -> &ServerPublic {
        &self.public
    }

    /// A service by its name.
    #[must_use]
    pub fn service_named(&self, name: &str) -> Option<&Arc<ServiceTerms>> {
        self.services.get(&service_id(name)).filter(|service| &*service.name == name)
    }

    /// Finds a service by its number on the wire.
    pub(super) fn find_service(&self, number: u16) -> Option<&Arc<ServiceTerms>> {
        self.services.get(&number)
    }

    /// Lists the services, in no order.
    pub(super) fn all_services(&self) -> Vec<&ServiceTerms> {
        self.services.values().map(AsRef::as_ref).collect()
    }

    fn name_at(&self, index: u32) -> &str {
        self.client_at(index).map_or("", |view| view.name)
    }

    /// The client of this name.
    pub(super) fn client_named(&self, name: &str) -> Option<ClientView<'_>> {
        self.client_at(self.number_of(name)?)
    }

    /// The number of the client of this name.
    pub(super) fn number_of(&self, name: &str) -> Option<u32> {
        let at = self.by_name.binary_search_by(|index| self.name_at(*index).cmp(name)).ok()?;
        self.by_name.get(at).copied()
    }

    /// The access stanza of the client of this name.
    #[must_use]
    pub fn stanza(&self, name: &str) -> Option<&Stanza> {
        self.client_named(name).map(|view| view.stanza)
    }

    /// Unpacks the client of an index.
    pub(super) fn client_at(&self, index: u32) -> Option<ClientView<'_>> {
        let record = self.records.get(index as usize)?;
        let from = record.name as usize;
        Some(ClientView {
            public: &record.public,
            psk: &record.psk,
            name: self.names.get(from..from + usize::from(record.name_len))?,
            stanza: self.stanzas.get(record.stanza as usize)?,
            since_ms: u64::from(record.since_day) * DAY_MS,
            kem: self.kem.get(&index),
        })
    }
}

/// Number in the tag tables of a client that comes by a key of the server.
fn table_number(client: u32, by: ServerKeyVersion) -> u32 {
    client << 1 | u32::from(by == ServerKeyVersion::PreviousKey)
}

/// A client, unpacked.
#[derive(Clone, Copy)]
pub(super) struct ClientView<'a> {
    /// Public keys of the client.
    pub(super) public: &'a ClientPublic,
    /// Key of the pair.
    pub(super) psk: &'a Psk,
    /// Name of the client.
    pub(super) name: &'a str,
    /// Rights of the client.
    pub(super) stanza: &'a Stanza,
    /// When the psk was made, unix ms to the day; 0: it stood in a line.
    pub(super) since_ms: u64,
    /// Of former keys: random bytes behind the ML-KEM half of their successor's psk.
    pub(super) kem: Option<&'a KemRandom>,
}
