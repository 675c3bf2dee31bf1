//! Who may knock: the server's key, the clients and their access stanzas, packed for a million of them.

use std::collections::HashMap;
use std::sync::Arc;

use spa_proto::{
    ClientPublic, Context, Psk, ServerPublic, ServerSecret, TagKey, TagTable, TagTableBuilder, service_id,
};

use super::policy::{Role, Service, Stanza};

/// A client as it is enrolled.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its name, unique.
    pub name: String,
    /// Its public keys, unique.
    pub public: ClientPublic,
    /// The pair's pre-shared key.
    pub psk: Psk,
    /// What it may do.
    pub stanza: Stanza,
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
    /// More clients than a tag table can number.
    #[error("more than {} clients", u32::MAX >> 3)]
    TooMany,
}

/// One client, packed: 108 bytes, and its name in the arena.
struct Record {
    public: ClientPublic,
    psk: Psk,
    name: u32,
    name_len: u16,
    stanza: u32,
}

/// Server key, services, clients, stanzas. Immutable; a reload makes a new one.
pub struct Registry {
    server: ServerSecret,
    public: ServerPublic,
    services: HashMap<u16, Arc<Service>>,
    records: Vec<Record>,
    /// All names, one after the other.
    names: String,
    /// Equal stanzas are stored once.
    stanzas: Vec<Stanza>,
    /// Indices of the clients in the order of their names, without invitations and former keys.
    by_name: Vec<u32>,
    /// Indices of former keys.
    former: Vec<u32>,
}

impl Registry {
    /// Packs the clients.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn new(
        server: ServerSecret,
        services: Vec<Service>,
        clients: impl IntoIterator<Item = Client>,
    ) -> Result<Self, RegistryError> {
        let public = server.public();
        let mut by_number: HashMap<u16, Arc<Service>> = HashMap::new();
        for service in services {
            let service = Arc::new(service);
            if let Some(other) = by_number.insert(service_id(&service.name), Arc::clone(&service)) {
                return Err(RegistryError::SameNumber(Arc::clone(&other.name), Arc::clone(&service.name)));
            }
        }
        let mut registry = Self {
            server,
            public,
            services: by_number,
            records: Vec::new(),
            names: String::new(),
            stanzas: Vec::new(),
            by_name: Vec::new(),
            former: Vec::new(),
        };
        let mut known: HashMap<Stanza, u32> = HashMap::new();
        for client in clients {
            registry.push(client, &mut known)?;
        }
        registry.records.shrink_to_fit();
        registry.names.shrink_to_fit();
        // Here and not when somebody asks: a registry is built beside the running server, and asked on its hot path.
        let all = 0..u32::try_from(registry.records.len()).unwrap_or(u32::MAX);
        let role = |index: &u32| registry.client(*index).map(|view| view.stanza.role);
        let mut by_name: Vec<u32> = all.clone().filter(|index| role(index) == Some(Role::Client)).collect();
        let former = all.filter(|index| matches!(role(index), Some(Role::Former { .. }))).collect();
        by_name.sort_by(|a, b| registry.name(*a).cmp(registry.name(*b)));
        registry.by_name = by_name;
        registry.former = former;
        Ok(registry)
    }

    fn push(&mut self, client: Client, known: &mut HashMap<Stanza, u32>) -> Result<(), RegistryError> {
        if self.records.len() >= (u32::MAX >> 3) as usize {
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
        self.records.push(Record { public: client.public, psk: client.psk, name, name_len, stanza });
        Ok(())
    }

    /// The tags of every client in an epoch. Costs about 3 µs per client: call it off the hot path.
    #[must_use]
    pub fn table(&self, epoch: u64, stages: u8) -> TagTable {
        let mut builder = TagTableBuilder::with_capacity(self.records.len() * usize::from(stages));
        for (index, record) in (0u32..).zip(&self.records) {
            let key = TagKey::derive(&record.psk, &Context::new(&self.public, &record.public));
            for stage in 0..stages {
                builder.add(key.tag(epoch, stage), index, stage);
            }
        }
        builder.build()
    }

    /// Number of clients: invitations and former keys are none.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.by_name.len()
    }

    /// Whether a key of this pair is somebody's, in whatever role. Walks through all of them.
    pub(super) fn knows(&self, public: &ClientPublic) -> bool {
        let known = |other: &ClientPublic| other.sign == public.sign || other.dh == public.dh;
        self.records.iter().any(|record| known(&record.public))
    }

    /// The former keys of the client of this name.
    pub(super) fn former(&self, name: &str) -> Option<View<'_>> {
        self.former.iter().filter_map(|index| self.client(*index)).find(|view| view.name == name)
    }

    /// Number of key pairs that may knock.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
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
    pub fn service_named(&self, name: &str) -> Option<&Arc<Service>> {
        self.services.get(&service_id(name)).filter(|service| &*service.name == name)
    }

    pub(super) fn service(&self, number: u16) -> Option<&Arc<Service>> {
        self.services.get(&number)
    }

    pub(super) fn all_services(&self) -> Vec<&Service> {
        self.services.values().map(AsRef::as_ref).collect()
    }

    pub(super) fn server(&self) -> &ServerSecret {
        &self.server
    }

    fn name(&self, index: u32) -> &str {
        self.client(index).map_or("", |view| view.name)
    }

    /// The client of this name.
    pub(super) fn client_named(&self, name: &str) -> Option<View<'_>> {
        self.client(self.number(name)?)
    }

    /// The number of the client of this name.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        let at = self.by_name.binary_search_by(|index| self.name(*index).cmp(name)).ok()?;
        self.by_name.get(at).copied()
    }

    /// The access stanza of the client of this name.
    #[must_use]
    pub fn stanza(&self, name: &str) -> Option<&Stanza> {
        self.client_named(name).map(|view| view.stanza)
    }

    pub(super) fn client(&self, index: u32) -> Option<View<'_>> {
        let record = self.records.get(index as usize)?;
        let from = record.name as usize;
        Some(View {
            public: &record.public,
            psk: &record.psk,
            name: self.names.get(from..from + usize::from(record.name_len))?,
            stanza: self.stanzas.get(record.stanza as usize)?,
        })
    }
}

/// A client, unpacked.
pub(super) struct View<'a> {
    pub(super) public: &'a ClientPublic,
    pub(super) psk: &'a Psk,
    pub(super) name: &'a str,
    pub(super) stanza: &'a Stanza,
}
