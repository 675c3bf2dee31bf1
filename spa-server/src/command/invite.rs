//! `spa-server invite` and `spa-server invitations`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use ipnet::IpNet;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::json;
use spa_keys::{Failure, Invitation, TextForm, exit};
use spa_proto::InvitationSecret;

use super::client::{apply, line, load, not_replaced};
use super::rights::Rights;
use super::table::{table, words};
use super::{Config, output, qr};
use crate::config::clients::{self, enrolled_file};
use crate::config::{Loaded, Secret};
use crate::config::{server_key, surroundings};
use crate::domain::{dates, duration};

/// Longest life of an invitation: it lies in somebody's mailbox.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Debug, Args)]
#[command(
    after_help = "On the device: spa join -\n\nExample:\n  spa-server invite phone --service ssh --expires 1h"
)]
pub(super) struct Invite {
    /// Name for the log and the list; the device will have it
    #[arg(required_unless_present = "revoke")]
    name: Option<String>,
    /// Service that it may open; may be given several times
    #[arg(long = "service", value_name = "NAME", required_unless_present = "revoke")]
    services: Vec<String>,
    #[command(flatten)]
    rights: Rights,
    /// How long the invitation is good, 30d at most
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = lifetime)]
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
    config: Config,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  spa-server invitations")]
pub(super) struct Invitations {
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(60)..=LONGEST).contains(&time) {
        Ok(time)
    } else {
        Err(format!("{} is not between 1m and {}", duration::show(time), duration::show(LONGEST)))
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
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

impl Invite {
    /// Path of the picture that was asked for; none in a build without the feature `png`.
    fn picture(&self) -> Option<PathBuf> {
        #[cfg(feature = "png")]
        return self.png.clone();
        #[cfg(not(feature = "png"))]
        None
    }

    pub(super) fn run(self) -> Result<(), Failure> {
        let loaded = load(&self.config)?;
        match (&self.revoke, &self.name) {
            (Some(name), _) => revoke(&loaded, name, self.json),
            (None, Some(name)) => {
                let name = name.clone();
                self.invite(&loaded, &name)
            }
            (None, None) => Err(Failure::new(exit::USAGE, "a name is needed")),
        }
    }

    fn invite(self, loaded: &Loaded, name: &str) -> Result<(), Failure> {
        if loaded.clients.iter().any(|client| *client.name == *name) {
            return Err(Failure::failed(format!(
                "there is a client {name} already: choose another name, or first: spa-server \
                 client remove {name}"
            )));
        }
        let server = server_key(&loaded.config.server.key, &surroundings(false))?;
        let secret =
            InvitationSecret::generate().map_err(|error| Failure::failed(error.to_string()))?;
        let (public, psk) = (secret.client().public(), secret.psk());
        // Made before anything is written: what cannot be handed over must not lie open.
        let host = line(loaded, name, &self.services, &self.hosts, (&server, &public, &psk))?;
        let text = Invitation::new(secret, host).to_text();
        let text = text.map_err(|error| Failure::failed(error.to_string()))?;
        let code = qr::code(text.expose());
        let picture = self.picture();
        #[cfg(feature = "png")]
        if let Some(path) = &picture {
            qr::picture(code.as_ref().map_err(Clone::clone)?, path)?;
        }
        let until_ms =
            now_ms().saturating_add(u64::try_from(self.expires.as_millis()).unwrap_or(u64::MAX));
        let psk = Secret::new(psk.to_text().expose().to_owned());
        let client =
            self.rights.client((name, self.services), (public.to_text(), psk), self.client_expires);
        let file = enrolled_file(&loaded.config.server.state);
        let made =
            clients::invite(&file, &client, until_ms, &loaded.config.services, &surroundings(true));
        if let Err(error) = made {
            // A picture of an invitation that there is not.
            let _gone = picture.map(std::fs::remove_file);
            return Err(not_replaced(&error));
        }
        // The line is written down nowhere else: it is printed whatever the server says.
        let applied = apply(loaded);
        let until = dates::local(until_ms, &TimeZone::system());
        spa_keys::note!("{name} is invited, once, until {until}");
        spa_keys::note!(
            "give this line to one device: whoever has it first is let in. There: spa join -"
        );
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
            spa_keys::note!("{}", qr::terminal(code).trim_end_matches('\n'));
        }
        output::answer(&format!("{}\n", text.expose()))?;
        applied
    }
}

fn revoke(loaded: &Loaded, name: &str, json: bool) -> Result<(), Failure> {
    let file = enrolled_file(&loaded.config.server.state);
    if !clients::uninvite(&file, name).map_err(|error| not_replaced(&error))? {
        return Err(Failure::failed(format!(
            "there is no invitation for {}: it is used up, or was never made; see: spa-server \
             invitations, spa-server client list",
            spa_keys::printable(name)
        )));
    }
    spa_keys::note!("the invitation for {name} is worth nothing any more");
    apply(loaded)?;
    if json {
        output::answer(&format!("{}\n", json!({"version": 1, "revoked": name})))
    } else {
        Ok(())
    }
}

/// An invitation in `--json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct InvitationRow {
    name: String,
    services: Vec<String>,
    from: Vec<IpNet>,
    until_ms: u64,
    expired: bool,
}

/// The invitations that are open, and those whose time is over.
pub(super) fn rows(loaded: &Loaded) -> Vec<InvitationRow> {
    let now_ms = now_ms();
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

impl Invitations {
    pub(super) fn run(self) -> Result<(), Failure> {
        let rows = rows(&load(&self.config)?);
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
