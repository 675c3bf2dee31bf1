//! From the configuration file to what an engine is made of.

use std::path::Path;
use std::sync::Arc;

use spa_keys::file;
use spa_keys::{TextForm, key_file};
use spa_proto::{ClientPublic, HopKey, KemRandom, Psk, ServerSecret};

use super::received::ReceivedFiles;
use crate::config::{
    self, CLIENTS_LIMIT, Config, Findings, Lockout, Stages, Surroundings, hop_plan, key_failure,
    previous_key, read_previous, server_key, surroundings,
};
use crate::engine::{
    Ports, Previous, RegisteredClient, Registry, Role, Sequence, ServiceTerms, Settings,
};
use crate::ipc::stanza::make_stanza;
use spa_keys::Failure;

/// State of the file of what devices have brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EnrolledFile {
    /// There is none.
    Absent,
    /// It has no content, as we never leave it.
    Empty,
    /// It says something.
    Held,
}

/// A configuration with its keys and clients, ready to run.
pub struct Setup {
    /// The configuration.
    pub config: Config,
    /// Warnings and notes.
    pub findings: Findings,
    /// Who knocks where nothing is heard.
    pub(crate) lockout: Lockout,
    /// State of the file of what devices have brought about.
    pub(crate) enrolled: EnrolledFile,
    /// Server key, services, clients.
    pub registry: Arc<Registry>,
    /// The engine's settings.
    pub settings: Settings,
}

impl Setup {
    /// Reads everything that the configuration names.
    ///
    /// # Errors
    /// All findings at once, or what is wrong with the key.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let around = surroundings(false);
        let loaded = config::load(path, &around)
            .map_err(|findings| Failure::config(findings.to_string()))?;
        let server = server_key(&loaded.config.server.key, &around)?;
        let previous = previous_key(&loaded.config, &around)?;
        Self::from_parts(loaded, server, previous)
    }

    /// Reads what the broker has opened.
    ///
    /// # Errors
    /// As [`Setup::load`].
    pub fn from_received(files: ReceivedFiles) -> Result<Self, Failure> {
        let length = files.enrolled.as_ref().ok().and_then(|file| file.metadata().ok());
        let state = match length.map(|meta| meta.len()) {
            None => EnrolledFile::Absent,
            Some(0) => EnrolledFile::Empty,
            Some(_) => EnrolledFile::Held,
        };
        let clients = std::cell::RefCell::new(Some(files.clients));
        let enrolled = std::cell::RefCell::new(Some(files.enrolled));
        let take = |path: &Path| {
            if config::clients::is_enrolled_file(path) { enrolled.take() } else { clients.take() }
        };
        let read_clients = |path: &Path| match take(path) {
            Some(Ok(file)) => file::read_opened(path, file, CLIENTS_LIMIT)
                .map(|text| text.expose().as_bytes().to_vec())
                .map_err(|error| std::io::Error::other(error.to_string())),
            Some(Err(error)) => Err(error),
            None => Err(std::io::ErrorKind::NotFound.into()),
        };
        let around = Surroundings { read_secret: &read_clients, ..surroundings(false) };
        let bytes = file::read_opened_bytes(&files.path, files.text, u64::MAX - 1)?;
        let loaded = config::load_text(&files.path, &bytes, &around)
            .map_err(|findings| Failure::config(findings.to_string()))?;
        let path = loaded.config.server.key.path(around.credentials.as_deref()).unwrap_or_default();
        let server =
            key_file::read_opened(&path, files.key).map_err(|error| key_failure(&error))?;
        let previous = match (&loaded.config.server.previous, files.previous) {
            (Some(previous), Some(file)) => {
                let path = previous.file.path(around.credentials.as_deref()).unwrap_or_default();
                Some(read_previous(&path, file)?)
            }
            _ => None,
        };
        Ok(Self { enrolled: state, ..Self::from_parts(loaded, server, previous)? })
    }

    fn from_parts(
        loaded: config::Loaded,
        server: ServerSecret,
        previous: Option<ServerSecret>,
    ) -> Result<Self, Failure> {
        let sequence = make_sequence(&loaded.config, &server)?
            .with_previous(previous.as_ref().map(HopKey::of_server));
        let until_ms = loaded.config.server.previous.as_ref().and_then(|previous| previous.until);
        let previous = previous.map(|secret| Previous { secret, until_ms });
        let services = loaded.config.services.iter().map(make_service).collect();
        let clients = make_clients(&loaded)?;
        let registry = Registry::new(server, services, clients)
            .map_err(|error| Failure::config(error.to_string()))?;
        let registry = registry.with_previous(previous);
        let settings = Settings {
            sequence,
            window_past: loaded.config.server.window_past,
            window_future: loaded.config.server.window_future,
            provisional: loaded.config.server.provisional,
            ack: loaded.config.server.ack,
            pair_age: loaded.config.server.pair_age,
            mark_sequence: loaded.config.baits.iter().any(|bait| bait.unless_in_sequence),
        };
        Ok(Self {
            lockout: Lockout::find(&loaded.config, &loaded.clients, &loaded.invitations),
            config: loaded.config,
            findings: loaded.findings,
            enrolled: EnrolledFile::Absent,
            registry: Arc::new(registry),
            settings,
        })
    }
}

/// The sequence as the engine knocks it.
///
/// # Errors
/// A hop range that leaves too few ports.
fn make_sequence(config: &Config, server: &ServerSecret) -> Result<Sequence, Failure> {
    let ports = match &config.sequence.stages {
        Stages::Fixed(ports) => Ports::Fixed(ports.clone()),
        Stages::Hop { .. } => {
            let plan =
                hop_plan(config).ok_or_else(|| Failure::config("no hop range".to_owned()))??;
            Ports::Hop(plan, HopKey::of_server(server))
        }
    };
    Ok(Sequence::new(ports, config.sequence.timeout, config.sequence.reorder)
        .with_previous_ports(config.sequence.previous.clone()))
}

fn make_service(service: &config::Service) -> ServiceTerms {
    ServiceTerms {
        name: Arc::clone(&service.name),
        scope: service.scope.clone(),
        ttl: service.ttl,
        max_ttl: service.max_ttl,
    }
}

/// The clients, then what knocks besides: whoever lists clients stops there.
fn make_clients(loaded: &config::Loaded) -> Result<Vec<RegisteredClient>, Failure> {
    let config = &loaded.config;
    let mut clients = Vec::with_capacity(loaded.clients.len() + loaded.invitations.len());
    for client in &loaded.clients {
        clients.push(make_client(config, client, Role::Client)?);
    }
    for client in &loaded.clients {
        let Some(former) = &client.former else { continue };
        let mut before = client.clone();
        before.public.value.clone_from(&former.public);
        before.psk.value = former.psk.clone();
        let until_ms = former.until;
        let role =
            if former.invited { Role::Taken { until_ms } } else { Role::Former { until_ms } };
        clients.push(RegisteredClient {
            kem: read_kem(former)?,
            ..make_client(config, &before, role)?
        });
    }
    for invitation in &loaded.invitations {
        let role = Role::Invitation { until_ms: invitation.until };
        clients.push(make_client(config, &invitation.client, role)?);
    }
    Ok(clients)
}

fn make_client(
    config: &Config,
    client: &config::Client,
    role: Role,
) -> Result<RegisteredClient, Failure> {
    let wrong =
        |error: spa_keys::TextError| Failure::config(format!("client `{}`: {error}", client.name));
    Ok(RegisteredClient {
        name: client.name.to_string(),
        public: ClientPublic::from_text(&client.public.value).map_err(wrong)?,
        psk: Psk::from_text(client.psk.value.reveal()).map_err(wrong)?,
        stanza: make_stanza(config, client, role),
        since_ms: client.since,
        kem: None,
    })
}

/// Reads the random bytes behind the ML-KEM half of a pair key.
fn read_kem(former: &config::clients::Former) -> Result<Option<KemRandom>, Failure> {
    let Some(kem) = &former.kem else { return Ok(None) };
    let kem = Psk::from_text(kem.reveal()).map_err(|error| Failure::config(error.to_string()))?;
    Ok(Some(KemRandom::from_bytes(*kem.to_bytes())))
}
