//! `spa-server client add|line|list|set|remove|undo`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use spa_keys::{Failure, Fingerprint, TextForm};
use spa_proto::{ClientPublic, Psk};

use super::client_list::ListArgs;
use super::client_undo::UndoArgs;
use super::enrolment::{
    LineKeys, apply_changes, apply_removal, edit_failure, load_clients, make_host_line,
    replace_failure,
};
use super::rights::{Rights, parse_number, warn_of_end};
use super::{ConfigArg, output};
use crate::config::clients::{self, EditError, RightsChange, enrolled_file};
use crate::config::{self, Loaded, Secret, server_key, surroundings};
use crate::control::rows::{Done, GrantList, GrantsClosed};
use crate::control::status::ServerStatus;
use crate::control::{self, CloseRequest, Command};

/// Add, list and remove clients
#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    Add(Box<AddArgs>),
    Line(LineArgs),
    List(ListArgs),
    Set(Box<SetArgs>),
    #[command(visible_alias = "revoke")]
    Remove(RemoveArgs),
    Undo(UndoArgs),
}

/// Enrol a client by its public key
#[derive(Debug, Args)]
#[command(after_help = "Prints the one line that `spa host add` takes on the client.\n\n\
        Example:\n  spa-server client add laptop spa1… --service ssh")]
pub(super) struct AddArgs {
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
    config: ConfigArg,
}

/// Print the enrolment line of a client again
#[derive(Debug, Args)]
#[command(
    after_help = "For a server key or a sequence that has changed. On the client: spa host add - \
        --replace\n\nExample:\n  spa-server client line laptop"
)]
pub(super) struct LineArgs {
    /// Client
    name: String,
    /// Name or address of this server for the client, in place of [server] hosts; may be given
    /// several times
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    #[command(flatten)]
    config: ConfigArg,
}

/// Change the rights of a client, also of one that came by an invitation
#[derive(Debug, Args)]
#[command(after_help = "Settings that are not named stay as they are.\n\n\
        Example:\n  spa-server client set laptop --service +web --expires 2027-01-31")]
pub(super) struct SetArgs {
    /// Client
    name: String,
    /// +NAME: it may open that as well; -NAME: not any more; NAME: it may open what is named alone
    #[arg(long = "service", value_name = "[+-]NAME", allow_hyphen_values = true)]
    services: Vec<String>,
    /// Network that it may knock from, in place of those before; may be given several times; any
    #[arg(long, value_name = "NET")]
    from: Vec<String>,
    /// Hours of the week, or any
    #[arg(long)]
    hours: Option<String>,
    /// Last day, or moment, or never
    #[arg(long)]
    expires: Option<String>,
    /// Time that it gets when it asks for none, or default
    #[arg(long)]
    ttl: Option<String>,
    /// Longest time that it gets, or default
    #[arg(long)]
    max_ttl: Option<String>,
    /// Live grants at a time
    #[arg(long, value_parser = parse_number::<u32>)]
    max_grants: Option<u32>,
    #[command(flatten)]
    config: ConfigArg,
}

/// Remove a client
#[derive(Debug, Args)]
#[command(after_help = "A running server closes what the client has open.\n\n\
        Example:\n  spa-server client remove laptop")]
pub(super) struct RemoveArgs {
    /// Client
    name: String,
    #[command(flatten)]
    config: ConfigArg,
}

impl ClientCommand {
    /// Runs the subcommand.
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add(add) => add.run(),
            Self::Line(line) => line.run(),
            Self::List(list) => list.run(),
            Self::Set(set) => set.run(),
            Self::Remove(remove) => remove.run(),
            Self::Undo(undo) => undo.run(),
        }
    }
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

impl AddArgs {
    fn run(self) -> Result<(), Failure> {
        let loaded = load_clients(&self.config)?;
        let public = ClientPublic::from_text(&self.public)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let server = server_key(&loaded.config.server.key, &surroundings(false))?;
        let psk = Psk::generate().map_err(|error| Failure::failed(error.to_string()))?;
        // Made before the file is changed: a line that cannot be made must not leave a client
        // behind.
        let line = make_host_line(
            &loaded,
            &self.name,
            &self.services,
            &self.hosts,
            &LineKeys { server: &server, client: &public, psk: &psk },
        )?;
        let line = line.to_text().map_err(|error| Failure::failed(error.to_string()))?;
        let secret = Secret::new(psk.to_text().expose().to_owned());
        warn_of_end(&self.name, self.expires.as_deref());
        let client = self.rights.into_client(
            &self.name,
            self.services,
            public.to_text(),
            secret,
            self.expires,
            loaded.config.sequence.stages.clone(),
        );
        if loaded.invitations.iter().any(|invitation| *invitation.client.name == *self.name)
            || loaded.clients.iter().any(|known| known.enrolled && *known.name == *self.name)
        {
            return Err(Failure::failed(format!(
                "there is already a device or an invitation named {0}; first: spa-server client \
                 remove {0}, or spa-server invite --revoke {0}",
                self.name
            )));
        }
        let path = clients_file(&loaded)?;
        clients::add_client(&path, &client, Some(&loaded.config.services), &surroundings(true))
            .map_err(|error| edit_failure(&error))?;
        spa_keys::note!("enrolled {} ({})", self.name, Fingerprint::from(&public));
        // The line holds a secret that is written down nowhere else: it is printed whatever the
        // server says.
        let applied = apply_changes(&loaded);
        spa_keys::note!(
            "give this line to the client and to nobody else: it contains a secret. On the client: \
             spa host add -"
        );
        output::answer(&format!("{}\n", line.expose()))?;
        applied
    }
}

impl LineArgs {
    fn run(self) -> Result<(), Failure> {
        let loaded = load_clients(&self.config)?;
        let client = loaded.clients.iter().find(|client| *client.name == *self.name);
        let client = client.ok_or_else(|| {
            let names = loaded.clients.iter().map(|client| &*client.name);
            edit_failure(&EditError::unknown(&self.name, names))
        })?;
        let wrong = |error: spa_keys::TextError| {
            Failure::config(format!("client `{}`: {error}", self.name))
        };
        let public = ClientPublic::from_text(&client.public.value).map_err(wrong)?;
        let psk = Psk::from_text(client.psk.value.reveal()).map_err(wrong)?;
        let server = server_key(&loaded.config.server.key, &surroundings(false))?;
        let services = client.services.iter().filter_map(|id| loaded.config.service(*id));
        let services: Vec<String> = services.map(|service| service.name.to_string()).collect();
        let line = make_host_line(
            &loaded,
            &self.name,
            &services,
            &self.hosts,
            &LineKeys { server: &server, client: &public, psk: &psk },
        )?;
        let line = line.to_text().map_err(|error| Failure::failed(error.to_string()))?;
        spa_keys::note!(
            "give this line to the client and to nobody else: it contains a secret. On the client: \
             spa host add - --replace"
        );
        output::answer(&format!("{}\n", line.expose()))?;
        note_sequence(&loaded, client)
    }
}

/// Writes down that the client has a line with the present sequence.
fn note_sequence(loaded: &Loaded, client: &config::Client) -> Result<(), Failure> {
    let stages = &loaded.config.sequence.stages;
    if client.sequence.as_deref() == Some(stages) {
        return Ok(());
    }
    let change = RightsChange { sequence: Some(stages.clone()), ..RightsChange::default() };
    let clients = clients_file(loaded).ok();
    if clients.is_none() && !client.enrolled {
        // A credential can only be read.
        return Ok(());
    }
    let enrolled = enrolled_file(&loaded.config.server.state);
    let around = surroundings(true);
    clients::set_rights(
        clients.as_deref(),
        &enrolled,
        &client.name,
        &change,
        &loaded.config.services,
        &around,
    )
    .map_err(|error| replace_failure(&error))?;
    apply_changes(loaded)
}

impl SetArgs {
    fn run(self) -> Result<(), Failure> {
        let loaded = load_clients(&self.config)?;
        warn_of_end(&self.name, self.expires.as_deref());
        let texts = [
            ("hours", self.hours),
            ("expires", self.expires),
            ("ttl", self.ttl),
            ("max-ttl", self.max_ttl),
        ];
        let change = RightsChange {
            services: self.services,
            from: self.from,
            texts: texts.into_iter().filter_map(|(key, text)| Some((key, text?))).collect(),
            numbers: self.max_grants.map(|most| ("max-grants", most)).into_iter().collect(),
            sequence: None,
        };
        let RightsChange { services, from, texts, numbers, .. } = &change;
        if services.is_empty() && from.is_empty() && texts.is_empty() && numbers.is_empty() {
            return Err(Failure::usage("say what to change: see spa-server client set --help"));
        }
        let clients = clients_file(&loaded).ok();
        let (enrolled, services) =
            (enrolled_file(&loaded.config.server.state), &loaded.config.services);
        let around = surroundings(true);
        clients::set_rights(clients.as_deref(), &enrolled, &self.name, &change, services, &around)
            .map_err(|error| replace_failure(&error))?;
        spa_keys::note!("changed {}", self.name);
        apply_changes(&loaded)
    }
}

/// Takes a client out of wherever it stands.
fn remove_from_files(loaded: &Loaded, name: &str) -> Result<(), Failure> {
    let file = enrolled_file(&loaded.config.server.state);
    let forgotten = clients::forget_client(&file, name).map_err(|error| replace_failure(&error))?;
    let removed = clients_file(loaded).and_then(|path| {
        match clients::remove_client(&path, name, &surroundings(true)) {
            Err(EditError::Unknown { .. }) if forgotten => Ok(()),
            other => other.map_err(|error| edit_failure(&error)),
        }
    });
    if forgotten { Ok(()) } else { removed }
}

impl RemoveArgs {
    fn run(self) -> Result<(), Failure> {
        let loaded = load_clients(&self.config)?;
        let socket = &loaded.config.server.control;
        let open: Option<GrantList> = control::client::request(socket, Command::Grants)?;
        remove_from_files(&loaded, &self.name)?;
        spa_keys::note!("removed {}", self.name);
        // At once, and also when a trial runs, whose rollback reads the files of before.
        let revoke = Command::Revoke { client: self.name.clone() };
        control::client::request::<Done>(socket, revoke)?;
        let brief = Command::Status { brief: true };
        let status = control::client::request::<ServerStatus>(socket, brief)?;
        // Root's own reload ends the trial of another user.
        if status.and_then(|status| status.trial).is_some_and(|trial| trial.by == 0) {
            let mut grants = open.iter().flat_map(|open| &open.grants);
            if grants.any(|grant| grant.client == self.name) {
                let client = Some(self.name.clone());
                let which = CloseRequest { client, ..CloseRequest::default() };
                control::client::request::<GrantsClosed>(socket, Command::Close(which))?;
            }
            spa_keys::note!(
                "a trial is running: {} is shut out now and after its rollback; when it is over: \
                 spa-server reload",
                self.name
            );
        } else {
            apply_removal(&loaded)?;
        }
        let runs = open.is_some();
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
            spa_keys::note!("their connections are cut");
        }
        if runs {
            spa_keys::note!(
                "a connection whose grant had already ended continues: find it with ss -tn state \
                 established, end it with ss -K"
            );
        }
        Ok(())
    }
}
