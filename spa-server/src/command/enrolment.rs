//! The steps that `client`, `invite` and `rotate-key` share: reading everything, making an
//! enrolment line, telling the running server.

use ipnet::IpNet;
use serde::Serialize;
use spa_keys::{Failure, HostLine, Sequence, Service, ServiceProto, UnixMillis, exit};
use spa_proto::{ClientPublic, HopKey, Psk, ServerSecret};

use super::ConfigArg;
use crate::config::clients::{EditError, ReplaceError};
use crate::config::{self, Loaded, Stages, hop_plan, surroundings};
use crate::control::rows::ReloadDone;
use crate::control::{self, Command};
use crate::domain::grant::Scope;
use crate::domain::ports::Protocol;

/// Reads the configuration and the clients.
///
/// # Errors
/// Every finding, with exit code 78.
pub(super) fn load_clients(config: &ConfigArg) -> Result<Loaded, Failure> {
    config::load(&config.config, &surroundings(true))
        .map_err(|findings| Failure::config(findings.to_string()))
}

/// Returns the failure of an edit of the clients' file or the configuration.
pub(super) fn edit_failure(error: &EditError) -> Failure {
    let code = match error {
        EditError::File(error) => return error.into(),
        EditError::Refused(_) | EditError::Form => exit::CONFIG,
        _ => exit::FAILURE,
    };
    Failure::new(code, error.to_string())
}

/// Returns the failure of a change of the file of invitations and devices.
pub(super) fn replace_failure(error: &ReplaceError) -> Failure {
    match error {
        ReplaceError::Edit(error) => edit_failure(error),
        ReplaceError::Refused(_) | ReplaceError::JustTaken => Failure::failed(error.to_string()),
    }
}

/// Tells a running server that the files have changed; without one the change waits for the next
/// start.
///
/// # Errors
/// Refusal of the running server: the files are changed all the same.
pub(super) fn apply_changes(loaded: &Loaded) -> Result<(), Failure> {
    reload_server(loaded, Command::Reload { force: false })
}

/// Tells a running server as [`apply_changes`], after the removal of a client: the last one, too.
///
/// # Errors
/// As [`apply_changes`].
pub(super) fn apply_removal(loaded: &Loaded) -> Result<(), Failure> {
    reload_server(loaded, Command::Reload { force: true })
}

fn reload_server(loaded: &Loaded, reload: Command) -> Result<(), Failure> {
    match control::client::request::<ReloadDone>(&loaded.config.server.control, reload) {
        Ok(Some(_)) => spa_keys::note!("the running server knows it"),
        Ok(None) => spa_keys::note!("no server is running; it takes effect at the next start"),
        Err(failure) => {
            let text = format!(
                "the file is changed, but the running server did not accept it: {failure}; when \
                that is fixed: spa-server reload"
            );
            return Err(Failure::new(failure.code, text));
        }
    }
    Ok(())
}

/// Keys of an enrolment line.
pub(super) struct LineKeys<'a> {
    /// Key whose public half stands in the line.
    pub(super) server: &'a ServerSecret,
    /// Key that the client signs with.
    pub(super) client: &'a ClientPublic,
    /// Pair key; the line is secret because of it.
    pub(super) psk: &'a Psk,
}

/// Makes the line that a client of this name needs to knock here. Without `hosts` it names
/// `[server] hosts`.
///
/// # Errors
/// The hop range does not fit.
pub(super) fn make_host_line(
    loaded: &Loaded,
    name: &str,
    services: &[String],
    hosts: &[String],
    keys: &LineKeys<'_>,
) -> Result<HostLine, Failure> {
    let config = &loaded.config;
    let sequence = match (&config.sequence.stages, hop_plan(config)) {
        (Stages::Fixed(ports), _) => Sequence::Ports(ports.clone()),
        (Stages::Hop { .. }, Some(plan)) => {
            Sequence::Hop { key: HopKey::of_server(keys.server), plan: plan? }
        }
        (Stages::Hop { .. }, None) => return Err(Failure::config("no hop range")),
    };
    let services =
        config.services.iter().filter(|service| services.iter().any(|s| **s == *service.name));
    let hosts = if hosts.is_empty() { config.server.hosts.clone() } else { hosts.to_vec() };
    if hosts.is_empty() {
        spa_keys::note!(
            "no [server] hosts and no --host: tell the client where to knock: --address ADDR"
        );
    }
    let mut line = HostLine {
        server: keys.server.public(),
        client_check: HostLine::check_of(keys.client),
        psk: keys.psk.clone(),
        name: name.to_owned(),
        hosts,
        sequence,
        ack: config.server.ack,
        kem: false,
        services: services.map(probed_port).collect(),
    };
    line.kem = line.can_carry_kem();
    Ok(line)
}

/// Returns what the client probes: the first TCP port, else the first UDP port.
fn probed_port(service: &config::Service) -> Service {
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

/// An invitation in `--json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct InvitationRow {
    /// Name that the device will have.
    pub(super) name: String,
    /// Names of the services that it may open.
    pub(super) services: Vec<String>,
    /// Networks that it may knock from; empty: any.
    pub(super) from: Vec<IpNet>,
    /// First moment at which it is worth nothing, Unix milliseconds.
    pub(super) until_ms: u64,
    /// Set when that moment has passed.
    pub(super) expired: bool,
}

/// The invitations that are open, and those whose time is over.
pub(super) fn list_invitations(loaded: &Loaded) -> Vec<InvitationRow> {
    let now_ms = UnixMillis::now().as_millis();
    let row = |invitation: &crate::config::Invitation| {
        let client = &invitation.client;
        let services = client.services.iter().filter_map(|id| loaded.config.service(*id));
        InvitationRow {
            name: client.name.to_string(),
            services: services.map(|service| service.name.to_string()).collect(),
            from: client.from.to_vec(),
            until_ms: invitation.until,
            expired: invitation.until <= now_ms,
        }
    };
    loaded.invitations.iter().map(row).collect()
}
