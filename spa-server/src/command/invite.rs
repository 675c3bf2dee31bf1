//! `spa-server invite` and `spa-server invitations`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::tz::TimeZone;
use serde_json::json;
use spa_keys::{Failure, Invitation, TextForm, UnixMillis, exit};
use spa_proto::InvitationSecret;

use super::enrolment::{
    InvitationRow, LineKeys, apply_changes, list_invitations, load_clients, make_host_line,
    replace_failure,
};
use super::rights::{Rights, warn_of_end};
use super::table::{describe_way_in, table, words};
use super::{ConfigArg, output, qr};
use crate::config::clients::{self, enrolled_file};
use crate::config::{Loaded, Secret};
use crate::config::{server_key, surroundings};
use crate::domain::dates;
use crate::host_check::describe_wrong_clock;
use spa_keys::duration::{self, DurationError};

/// Longest lifetime of an invitation: it lies in somebody's mailbox.
const LONGEST_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Invite a device: print a line that enrols it once
#[derive(Debug, Args)]
#[command(after_help = "On the device: spa join -\n\n\
        Example:\n  spa-server invite phone --service ssh --expires 1h")]
pub(super) struct InviteArgs {
    /// Name for the log and the list; the device will have it
    #[arg(required_unless_present = "revoke")]
    name: Option<String>,
    /// Service that it may open; may be given several times
    #[arg(long = "service", value_name = "NAME", required_unless_present = "revoke")]
    services: Vec<String>,
    #[command(flatten)]
    rights: Rights,
    /// Time that the invitation is valid, 30d at most
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_lifetime)]
    expires: Duration,
    /// Last day, or moment, of the device's own access: 2027-01-31
    #[arg(long, value_name = "DAY")]
    client_expires: Option<String>,
    /// Name or address of this server for the client, in place of [server] hosts; may be given
    /// several times
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Write the QR code as a picture too; it is as secret as the line
    #[cfg(feature = "png")]
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Take the invitation of this name back
    #[arg(long, value_name = "NAME", conflicts_with_all = NOT_WITH_REVOKE)]
    revoke: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

/// List the invitations that are not used yet
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  spa-server invitations")]
pub(super) struct InvitationsArgs {
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

/// Parses how long an invitation is valid.
fn parse_lifetime(text: &str) -> Result<Duration, DurationError> {
    duration::parse_within(text, Duration::from_secs(60)..=LONGEST_LIFETIME)
}

/// Arguments of a new invitation: none of them goes with `--revoke`.
const NOT_WITH_REVOKE: &[&str] = &[
    "name",
    "services",
    #[cfg(feature = "png")]
    "png",
    "client_expires",
    "hosts",
];

impl InviteArgs {
    /// Path of the picture that was asked for; none in a build without the feature `png`.
    fn picture_path(&self) -> Option<PathBuf> {
        #[cfg(feature = "png")]
        return self.png.clone();
        #[cfg(not(feature = "png"))]
        None
    }

    /// Makes an invitation or revokes one.
    pub(super) fn run(self) -> Result<(), Failure> {
        let loaded = load_clients(&self.config)?;
        match (&self.revoke, &self.name) {
            (Some(name), _) => revoke_invitation(&loaded, name, self.json),
            (None, Some(name)) => {
                let name = name.clone();
                self.make_invitation(&loaded, &name)
            }
            (None, None) => Err(Failure::new(exit::USAGE, "a name is needed")),
        }
    }

    fn make_invitation(self, loaded: &Loaded, name: &str) -> Result<(), Failure> {
        if loaded.clients.iter().any(|client| *client.name == *name) {
            return Err(Failure::failed(format!(
                "there is a client {name} already: choose another name, or first: spa-server \
                 client remove {name}"
            )));
        }
        // It would have expired when the clock is set.
        if let Some(problem) = describe_wrong_clock() {
            return Err(Failure::failed(format!("no invitation was made: {problem}")));
        }
        let server = server_key(&loaded.config.server.key, &surroundings(false))?;
        let secret =
            InvitationSecret::generate().map_err(|error| Failure::failed(error.to_string()))?;
        let (public, psk) = (secret.client().public(), secret.psk());
        // Made before anything is written: what cannot be handed over must not lie open.
        let host = make_host_line(
            loaded,
            name,
            &self.services,
            &self.hosts,
            &LineKeys { server: &server, client: &public, psk: &psk },
        )?;
        let ports = host.sequence.describe_ports();
        let text = Invitation::new(secret, host).to_text();
        let text = text.map_err(|error| Failure::failed(error.to_string()))?;
        let code = qr::make_code(text.expose());
        let picture = self.picture_path();
        #[cfg(feature = "png")]
        if let Some(path) = &picture {
            qr::write_picture(code.as_ref().map_err(Clone::clone)?, path)?;
        }
        let until_ms = (UnixMillis::now() + self.expires).as_millis();
        let psk = Secret::new(psk.to_text().expose().to_owned());
        warn_of_end(name, self.client_expires.as_deref());
        let client = self.rights.into_client(
            name,
            self.services,
            public.to_text(),
            psk,
            self.client_expires,
            loaded.config.sequence.stages.clone(),
        );
        let file = enrolled_file(&loaded.config.server.state);
        let made = clients::add_invitation(
            &file,
            &client,
            until_ms,
            &loaded.config.services,
            &surroundings(true),
        );
        if let Err(error) = made {
            // A picture of an invitation that there is not.
            let _gone = picture.map(std::fs::remove_file);
            return Err(replace_failure(&error));
        }
        // The line is written down nowhere else: it is printed whatever the server says.
        let applied = apply_changes(loaded);
        let until = dates::local(until_ms, &TimeZone::system());
        spa_keys::note!("{name} is invited once, until {until}");
        spa_keys::note!(
            "give this line to one device: whoever uses it first is let in. On the device: spa \
             join -"
        );
        spa_keys::note!("{}", describe_way_in(&ports));
        if self.json {
            let answer = json!({
                "version": 1, "name": name, "line": text.expose(), "until-ms": until_ms,
                "png": picture.map(|path| path.display().to_string()),
            });
            output::answer(&format!("{answer}\n"))?;
            return applied;
        }
        if let Ok(code) = &code
            && std::io::stderr().is_terminal()
        {
            spa_keys::note!("{}", qr::draw_code(code).trim_end_matches('\n'));
        }
        output::answer(&format!("{}\n", text.expose()))?;
        applied
    }
}

fn revoke_invitation(loaded: &Loaded, name: &str, json: bool) -> Result<(), Failure> {
    let file = enrolled_file(&loaded.config.server.state);
    if !clients::remove_invitation(&file, name).map_err(|error| replace_failure(&error))? {
        return Err(Failure::failed(format!(
            "there is no invitation for {}: it has been used up, or was never made; see: \
            spa-server invitations, spa-server client list{}",
            spa_keys::printable(name),
            spa_keys::did_you_mean(name, loaded.invitations.iter().map(|i| &*i.client.name))
        )));
    }
    spa_keys::note!("the invitation for {name} is no longer valid");
    apply_changes(loaded)?;
    if json {
        output::answer(&format!("{}\n", json!({"version": 1, "revoked": name})))
    } else {
        Ok(())
    }
}

impl InvitationsArgs {
    /// Lists the invitations from the files, also those that have expired.
    pub(super) fn run(self) -> Result<(), Failure> {
        let rows = list_invitations(&load_clients(&self.config)?);
        if self.json {
            return output::answer(&format!("{}\n", json!({"version": 1, "invitations": rows})));
        }
        if rows.is_empty() {
            spa_keys::note!("nobody is invited; spa-server invite NAME --service SERVICE");
            return Ok(());
        }
        let zone = TimeZone::system();
        let cells = |row: &InvitationRow| {
            let until = dates::local(row.until_ms, &zone);
            vec![
                row.name.clone(),
                words(&row.services),
                if row.expired { "expired".to_owned() } else { until },
                words(&row.from),
            ]
        };
        let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
        output::answer(&table(&["NAME", "SERVICES", "UNTIL", "FROM"], &cells))
    }
}
