//! From the configuration file to what an engine is made of.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use spa_keys::file::{self, FileError};
use spa_keys::key_file::KeyFileError;
use spa_keys::{TextForm, exit, key_file};
use spa_proto::{ClientPublic, HopKey, HopPlan, Psk, ServerSecret};

use crate::broker::Received;
use crate::config::{self, Config, Findings, KeyText, SecretFile, Stages, Surroundings};
use crate::engine::{Client, Ports, Previous, Registry, Role, Sequence, Service, Settings, Stanza};
use spa_keys::Failure;

/// Most bytes of a clients' file: a million stanzas.
pub(crate) const CLIENTS_LIMIT: u64 = 512 << 20;

/// A configuration with its keys and clients, ready to run.
pub struct Setup {
    /// The configuration.
    pub config: Config,
    /// Warnings and notes.
    pub findings: Findings,
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
        Self::of(loaded, server, previous)
    }

    /// Reads what the broker has opened.
    ///
    /// # Errors
    /// As [`Setup::load`].
    pub fn read(files: Received) -> Result<Self, Failure> {
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
            key_file::read_opened(&path, files.key).map_err(|error| key_failure(&path, &error))?;
        let previous = match (&loaded.config.server.previous, files.previous) {
            (Some(previous), Some(file)) => {
                let path = previous.file.path(around.credentials.as_deref()).unwrap_or_default();
                Some(read_previous(&path, file)?)
            }
            _ => None,
        };
        Self::of(loaded, server, previous)
    }

    fn of(
        loaded: config::Loaded,
        server: ServerSecret,
        previous: Option<ServerSecret>,
    ) -> Result<Self, Failure> {
        let sequence = sequence(&loaded.config, &server)?
            .with_previous(previous.as_ref().map(HopKey::of_server));
        let until_ms = loaded.config.server.previous.as_ref().and_then(|previous| previous.until);
        let previous = previous.map(|secret| Previous { secret, until_ms });
        let services = loaded.config.services.iter().map(service).collect();
        let clients = clients(&loaded)?;
        let registry = Registry::new(server, services, clients)
            .map_err(|error| Failure::config(error.to_string()))?;
        let registry = registry.with_previous(previous);
        let settings = Settings {
            sequence,
            window_past: loaded.config.server.window_past,
            window_future: loaded.config.server.window_future,
            ack: loaded.config.server.ack,
            mark_sequence: loaded.config.baits.iter().any(|bait| bait.unless_in_sequence),
        };
        Ok(Self {
            config: loaded.config,
            findings: loaded.findings,
            registry: Arc::new(registry),
            settings,
        })
    }
}

/// This process's surroundings, with keys checked and secret files opened in the one place that
/// does so.
#[must_use]
pub fn surroundings(check_only: bool) -> Surroundings<'static> {
    Surroundings {
        check_key: &check_key,
        read_secret: &read_secret,
        check_only,
        ..Surroundings::of_process()
    }
}

fn check_key(key: KeyText<'_>) -> Result<(), String> {
    match key {
        KeyText::Public(text) => ClientPublic::from_text(text).map(drop),
        KeyText::Psk(text) => Psk::from_text(text).map(drop),
    }
    .map_err(|error| error.to_string())
}

fn read_secret(path: &Path) -> std::io::Result<Vec<u8>> {
    match spa_keys::file::read_secret_up_to(path, CLIENTS_LIMIT) {
        Ok(text) => Ok(text.expose().as_bytes().to_vec()),
        Err(error) if !path.exists() => {
            Err(std::io::Error::new(std::io::ErrorKind::NotFound, error.to_string()))
        }
        Err(error) => Err(std::io::Error::other(error.to_string())),
    }
}

/// The server's key from its file or credential.
///
/// # Errors
/// What is wrong with it, and the command that makes one.
pub fn server_key(file: &SecretFile, around: &Surroundings<'_>) -> Result<ServerSecret, Failure> {
    let path = key_path(file, around)?;
    key_file::read(&path).map_err(|error| key_failure(&path, &error))
}

/// The opened file of the server's key.
///
/// # Errors
/// As [`server_key`].
pub(crate) fn open_key(file: &SecretFile, around: &Surroundings<'_>) -> Result<File, Failure> {
    let path = key_path(file, around)?;
    file::open_secret(&path).map_err(|error| key_failure(&path, &error.into()))
}

/// The opened file of the server's key from before and its path, unless there is none or its time
/// is over: then its file may be gone as well.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn open_previous(
    config: &Config,
    around: &Surroundings<'_>,
) -> Result<Option<(PathBuf, File)>, Failure> {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let Some(previous) =
        config.server.previous.as_ref().filter(|previous| !previous.is_over(now_ms))
    else {
        return Ok(None);
    };
    let path = key_path(&previous.file, around)?;
    let file = file::open_secret(&path).map_err(|error| previous_failure(&path, &error.into()))?;
    Ok(Some((path, file)))
}

/// The server's key from before, while it lives.
///
/// # Errors
/// What is wrong with it.
pub fn previous_key(
    config: &Config,
    around: &Surroundings<'_>,
) -> Result<Option<ServerSecret>, Failure> {
    open_previous(config, around)?.map(|(path, file)| read_previous(&path, file)).transpose()
}

pub(crate) fn read_previous(path: &Path, file: File) -> Result<ServerSecret, Failure> {
    key_file::read_opened(path, file).map_err(|error| previous_failure(path, &error))
}

fn previous_failure(path: &Path, error: &KeyFileError) -> Failure {
    let Failure { code, .. } = key_failure(path, error);
    Failure::new(
        code,
        format!(
            "previous server key: {error}; put the file back, or take previous-key out of \
             [server]: clients that have not followed are then locked out"
        ),
    )
}

fn key_path(file: &SecretFile, around: &Surroundings<'_>) -> Result<PathBuf, Failure> {
    file.path(around.credentials.as_deref()).ok_or_else(|| {
        Failure::config(
            "the server key is a credential, but $CREDENTIALS_DIRECTORY is not set: start the \
             server by its systemd \
             unit, or name a file in [server] key",
        )
    })
}

pub(crate) fn key_failure(path: &Path, error: &KeyFileError) -> Failure {
    let (code, hint) = match error {
        // A start that cannot work before somebody acts: systemd must not try it again and again.
        KeyFileError::File(FileError::Missing(_)) => {
            (exit::CONFIG, format!("; make one: spa keygen --server -o {}", path.display()))
        }
        error => (error.exit_code(), String::new()),
    };
    Failure::new(code, format!("server key: {error}{hint}"))
}

/// The sequence as the engine knocks it.
///
/// # Errors
/// A hop range that leaves too few ports.
fn sequence(config: &Config, server: &ServerSecret) -> Result<Sequence, Failure> {
    let ports = match &config.sequence.stages {
        Stages::Fixed(ports) => Ports::Fixed(ports.clone()),
        Stages::Hop { .. } => {
            let plan =
                hop_plan(config).ok_or_else(|| Failure::config("no hop range".to_owned()))??;
            Ports::Hop(plan, HopKey::of_server(server))
        }
    };
    Ok(Sequence::new(ports, config.sequence.timeout, config.sequence.reorder))
}

/// Where the stages hop: the configured range without the excluded ports. The enrolment line
/// carries the same, so nothing that may change later, as baits may, is taken out here; a knock
/// port takes precedence over a bait in the table.
pub fn hop_plan(config: &Config) -> Option<Result<HopPlan, Failure>> {
    let Stages::Hop { range, count, exclude } = &config.sequence.stages else { return None };
    let exclude = exclude.iter().map(|e| (e.first, e.last)).collect();
    let plan = HopPlan::new(range.first, range.last, *count, exclude);
    Some(plan.map_err(|error| Failure::config(format!("[sequence] hop: {error}"))))
}

fn service(service: &config::Service) -> Service {
    Service {
        name: Arc::clone(&service.name),
        scope: service.scope.clone(),
        ttl: service.ttl,
        max_ttl: service.max_ttl,
    }
}

/// The clients, then what knocks besides: whoever lists clients stops there.
fn clients(loaded: &config::Loaded) -> Result<Vec<Client>, Failure> {
    let config = &loaded.config;
    let mut clients = Vec::with_capacity(loaded.clients.len() + loaded.invitations.len());
    for client in &loaded.clients {
        clients.push(enrolled(config, client, Role::Client)?);
    }
    for client in &loaded.clients {
        let Some(former) = &client.former else { continue };
        let mut before = client.clone();
        before.public.value.clone_from(&former.public);
        before.psk.value = former.psk.clone();
        clients.push(enrolled(config, &before, Role::Former { until_ms: former.until })?);
    }
    for invitation in &loaded.invitations {
        let role = Role::Invitation { until_ms: invitation.until };
        clients.push(enrolled(config, &invitation.client, role)?);
    }
    Ok(clients)
}

fn enrolled(config: &Config, client: &config::Client, role: Role) -> Result<Client, Failure> {
    let wrong =
        |error: spa_keys::TextError| Failure::config(format!("client `{}`: {error}", client.name));
    Ok(Client {
        name: client.name.to_string(),
        public: ClientPublic::from_text(&client.public.value).map_err(wrong)?,
        psk: Psk::from_text(client.psk.value.reveal()).map_err(wrong)?,
        stanza: Stanza {
            services: client
                .services
                .iter()
                .filter_map(|id| config.service(*id).map(|service| Arc::clone(&service.name)))
                .collect(),
            from: client.from.to_vec(),
            hours: client.hours.clone(),
            expires_ms: client.expires,
            ttl: client.ttl,
            max_ttl: client.max_ttl,
            max_grants: Some(client.max_grants),
            prefix_v4: Some(client.grant_prefix_v4),
            prefix_v6: Some(client.grant_prefix_v6),
            third_party: client.third_party,
            role,
        },
    })
}
