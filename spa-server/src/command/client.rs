//! `spa-server client add|list|remove`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use spa_keys::{Fingerprint, HostLine, Sequence, Service, ServiceProto, TextForm, exit};
use spa_proto::{ClientPublic, HopKey, Psk, ServerSecret};

use super::rights::Rights;
use super::{Config, output};
use crate::config::clients::{self, EditError, ReplaceError, enrolled_file};
use crate::config::{self, Loaded, Secret, Stages};
use crate::config::{hop_plan, server_key, surroundings};
use crate::control::rows::{GrantList, ReloadDone};
use crate::control::{self, Command};
use crate::domain::dates;
use crate::domain::grant::Scope;
use crate::domain::ports::Protocol;
use spa_keys::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum Client {
    /// Enrol a client by its public key
    Add(Box<Add>),
    /// Print the enrolment line of a client again
    Line(Line),
    /// List the clients
    List(List),
    /// Remove a client
    #[command(visible_alias = "revoke")]
    Remove(Remove),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Prints the one line that `spa host add` takes on the client.\n\nExample:\n  spa-server client add laptop spa1… --service ssh"
)]
pub(super) struct Add {
    /// Name for the log and the list
    name: String,
    /// The client's public key, `spa1…`, as `spa keygen` printed it
    public: String,
    /// Service that it may open; may be given several times
    #[arg(long = "service", value_name = "NAME", required = true)]
    services: Vec<String>,
    #[command(flatten)]
    rights: Rights,
    /// Last day, or moment: 2027-01-31
    #[arg(long)]
    expires: Option<String>,
    /// Name or address of this server for the client, in place of [server] hosts; may be given
    /// several times
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    #[command(flatten)]
    config: Config,
}

#[derive(Debug, Args)]
#[command(
    after_help = "For a server key or a sequence that has changed. On the client: spa host add - --replace\n\nExample:\n  spa-server client line laptop"
)]
pub(super) struct Line {
    /// Its name
    name: String,
    /// Name or address of this server for the client, in place of [server] hosts; may be given
    /// several times
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    #[command(flatten)]
    config: Config,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Grants and times come from the running server; without one they are shown as `-`.\n\nExample:\n  spa-server client list"
)]
pub(super) struct List {
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A running server closes what the client has open.\n\nExample:\n  spa-server client remove laptop"
)]
pub(super) struct Remove {
    /// Its name
    name: String,
    #[command(flatten)]
    config: Config,
}

impl Client {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add(add) => add.run(),
            Self::Line(line) => line.run(),
            Self::List(list) => list.run(),
            Self::Remove(remove) => remove.run(),
        }
    }
}

pub(super) fn load(config: &Config) -> Result<Loaded, Failure> {
    config::load(&config.config, &surroundings(true))
        .map_err(|findings| Failure::config(findings.to_string()))
}

fn clients_file(loaded: &Loaded) -> Result<PathBuf, Failure> {
    let file = &loaded.config.server.clients;
    match file {
        config::SecretFile::File(path) => Ok(path.clone()),
        config::SecretFile::Credential(name) => Err(Failure::config(format!(
            "[server] clients is the credential `{name}`, which can only be read: edit its source, \
             or name a file"
        ))),
    }
}

pub(super) fn refused(error: &EditError) -> Failure {
    let code = match error {
        EditError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            exit::PERMISSION
        }
        EditError::Refused(_) | EditError::Form => exit::CONFIG,
        _ => exit::FAILURE,
    };
    Failure::new(code, error.to_string())
}

/// Tells a running server; without one the change waits for the next start.
pub(super) fn apply(loaded: &Loaded) -> Result<(), Failure> {
    match control::client::request::<ReloadDone>(&loaded.config.server.control, Command::Reload) {
        Ok(Some(_)) => spa_keys::note!("the running server knows it"),
        Ok(None) => spa_keys::note!("no server is running; it takes effect at the next start"),
        Err(failure) => {
            let text = format!(
                "the file is changed, but the running server did not take it: {failure}; when that \
                 is mended: spa-server reload"
            );
            return Err(Failure::new(failure.code, text));
        }
    }
    Ok(())
}

impl Add {
    fn run(self) -> Result<(), Failure> {
        let loaded = load(&self.config)?;
        let public = ClientPublic::from_text(&self.public)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let server = server_key(&loaded.config.server.key, &surroundings(false))?;
        let psk = Psk::generate().map_err(|error| Failure::failed(error.to_string()))?;
        // Made before the file is changed: a line that cannot be made must not leave a client
        // behind.
        let line =
            line(&loaded, &self.name, &self.services, &self.hosts, (&server, &public, &psk))?;
        let line = line.to_text().map_err(|error| Failure::failed(error.to_string()))?;
        let secret = Secret::new(psk.to_text().expose().to_owned());
        let client = self.rights.client(
            (&self.name, self.services),
            (public.to_text(), secret),
            self.expires,
        );
        if loaded.invitations.iter().any(|invitation| *invitation.client.name == *self.name)
            || loaded.clients.iter().any(|known| known.enrolled && *known.name == *self.name)
        {
            return Err(Failure::failed(format!(
                "there is a device or an invitation of the name {0} already; first: spa-server \
                 client remove {0}, or spa-server invite --revoke {0}",
                self.name
            )));
        }
        let path = clients_file(&loaded)?;
        clients::add(&path, &client, Some(&loaded.config.services), &surroundings(true))
            .map_err(|error| refused(&error))?;
        spa_keys::note!("enrolled {} ({})", self.name, Fingerprint::from(&public));
        // The line holds a secret that is written down nowhere else: it is printed whatever the
        // server says.
        let applied = apply(&loaded);
        spa_keys::note!(
            "give this line to the client, and to nobody else: it holds a secret. There: spa host \
             add -"
        );
        output::answer(&format!("{}\n", line.expose()))?;
        applied
    }
}

impl Line {
    fn run(self) -> Result<(), Failure> {
        let loaded = load(&self.config)?;
        let client = loaded.clients.iter().find(|client| *client.name == *self.name);
        let client = client.ok_or_else(|| refused(&EditError::Unknown(self.name.clone())))?;
        let wrong = |error: spa_keys::TextError| {
            Failure::config(format!("client `{}`: {error}", self.name))
        };
        let public = ClientPublic::from_text(&client.public.value).map_err(wrong)?;
        let psk = Psk::from_text(client.psk.value.reveal()).map_err(wrong)?;
        let server = server_key(&loaded.config.server.key, &surroundings(false))?;
        let services = client.services.iter().filter_map(|id| loaded.config.service(*id));
        let services: Vec<String> = services.map(|service| service.name.to_string()).collect();
        let line = line(&loaded, &self.name, &services, &self.hosts, (&server, &public, &psk))?;
        let line = line.to_text().map_err(|error| Failure::failed(error.to_string()))?;
        eprintln!(
            "give this line to the client, and to nobody else: it holds a secret. There: spa host \
             add - --replace"
        );
        output::answer(&format!("{}\n", line.expose()))
    }
}

/// What a client of this name needs to knock here.
pub(super) fn line(
    loaded: &Loaded,
    name: &str,
    services: &[String],
    hosts: &[String],
    (server, public, psk): (&ServerSecret, &ClientPublic, &Psk),
) -> Result<HostLine, Failure> {
    let config = &loaded.config;
    let sequence = match (&config.sequence.stages, hop_plan(config)) {
        (Stages::Fixed(ports), _) => Sequence::Ports(ports.clone()),
        (Stages::Hop { .. }, Some(plan)) => {
            Sequence::Hop { key: HopKey::of_server(server), plan: plan? }
        }
        (Stages::Hop { .. }, None) => return Err(Failure::config("no hop range")),
    };
    let services =
        config.services.iter().filter(|service| services.iter().any(|s| **s == *service.name));
    let hosts = if hosts.is_empty() { config.server.hosts.clone() } else { hosts.to_vec() };
    if hosts.is_empty() {
        spa_keys::note!(
            "no [server] hosts and no --host: the client must be told where to knock: --address \
             ADDR"
        );
    }
    Ok(HostLine {
        server: server.public(),
        client_check: HostLine::check_of(public),
        psk: psk.clone(),
        name: name.to_owned(),
        hosts,
        sequence,
        ack: config.server.ack,
        services: services.map(first_port).collect(),
    })
}

/// What the client probes: the first TCP port, else the first UDP port.
fn first_port(service: &config::Service) -> Service {
    let ports = match &service.scope {
        Scope::All => &[][..],
        Scope::Ports(ports) | Scope::Inside(ports) => ports,
    };
    let first = |wanted: Protocol| {
        ports.iter().find(|port| port.protocol == wanted).map(|port| port.range.first)
    };
    let (proto, port) = match (first(Protocol::Tcp), first(Protocol::Udp)) {
        (Some(port), _) => (ServiceProto::Tcp, port),
        (None, Some(port)) => (ServiceProto::Udp, port),
        (None, None) => (ServiceProto::All, 0),
    };
    Service { name: service.name.to_string(), proto, port }
}

impl List {
    fn run(self) -> Result<(), Failure> {
        let loaded = load(&self.config)?;
        let mut text = String::new();
        let mut json = Vec::new();
        for client in &loaded.clients {
            let names: Vec<&str> = client
                .services
                .iter()
                .filter_map(|id| loaded.config.service(*id))
                .map(|s| &*s.name)
                .collect();
            let fingerprint = ClientPublic::from_text(&client.public.value)
                .map_or_else(|_| "?".to_owned(), |public| Fingerprint::from(&public).to_string());
            if self.json {
                json.push(serde_json::json!({
                    "name": &*client.name, "public": client.public.value, "fingerprint": fingerprint,
                    "services": names, "expires-ms": client.expires, "max-grants": client.max_grants,
                    "grant-prefix-v4": client.grant_prefix_v4, "grant-prefix-v6": client.grant_prefix_v6,
                    "third-party": client.third_party, "enrolled": client.enrolled,
                    "former-keys-until-ms": client.former.as_ref().map(|former| former.until),
                    "from": client.from.iter().map(ToString::to_string).collect::<Vec<_>>(),
                }));
            } else {
                let former = client.former.as_ref().map_or_else(String::new, |former| {
                    let until = dates::local(former.until, &jiff::tz::TimeZone::system());
                    format!("  (rotated; former keys good until {until}, or the new ones are seen)")
                });
                text.push_str(&format!(
                    "{}  {fingerprint}  {}{former}\n",
                    client.name,
                    names.join(",")
                ));
            }
        }
        let pending = super::invite::rows(&loaded);
        if self.json {
            text = format!(
                "{}\n",
                serde_json::json!({"version": 1, "clients": json, "invitations": pending})
            );
        } else if !pending.is_empty() {
            spa_keys::note!(
                "{} invitations nobody has taken yet: spa-server invitations",
                pending.len()
            );
        }
        output::answer(&text)
    }
}

/// Takes a client out of wherever it stands.
fn remove(loaded: &Loaded, name: &str) -> Result<(), Failure> {
    let file = enrolled_file(&loaded.config.server.state);
    let forgotten = clients::forget(&file, name).map_err(|error| not_replaced(&error))?;
    let removed = clients_file(loaded).and_then(|path| {
        match clients::remove(&path, name, &surroundings(true)) {
            Err(EditError::Unknown(_)) if forgotten => Ok(()),
            other => other.map_err(|error| refused(&error)),
        }
    });
    if forgotten { Ok(()) } else { removed }
}

/// Why the file of invitations and devices was not changed.
pub(super) fn not_replaced(error: &ReplaceError) -> Failure {
    match error {
        ReplaceError::Edit(error) => refused(error),
        ReplaceError::Refused(text) => Failure::failed(*text),
    }
}

impl Remove {
    fn run(self) -> Result<(), Failure> {
        let loaded = load(&self.config)?;
        let open: Option<GrantList> =
            control::client::request(&loaded.config.server.control, Command::Grants)?;
        remove(&loaded, &self.name)?;
        spa_keys::note!("removed {}", self.name);
        apply(&loaded)?;
        // The reload has closed what it had open.
        let grants = open.into_iter().flat_map(|open| open.grants);
        let closed: String = grants
            .filter(|grant| grant.client == self.name)
            .map(|grant| {
                let source = grant.network_text();
                super::close::line(&grant.grant, &grant.client, &grant.service, &source)
            })
            .collect();
        if !closed.is_empty() {
            spa_keys::note!("{}", closed.trim_end());
        }
        Ok(())
    }
}
