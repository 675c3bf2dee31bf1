//! `spa-server client list`.

use std::collections::{HashMap, HashSet};

use clap::Args;
use serde_json::{Value, json};
use spa_keys::{Failure, Fingerprint, TextForm, UnixMillis};
use spa_proto::ClientPublic;

use super::client_undo::describe_change;
use super::clients::{ask_clients, clients_table};
use super::enrolment::{list_invitations, load_clients};
use super::table::count;
use super::{ConfigArg, output};
use crate::config::{self, Loaded};
use crate::control::rows::{ClientList, ClientRow};
use crate::domain::dates;

/// List the clients
#[derive(Debug, Args)]
#[command(
    after_help = "Grants and times come from the running server; without one they are shown as \
        `-`.\n\nExample:\n  spa-server client list"
)]
pub(super) struct ListArgs {
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

impl ListArgs {
    /// Prints the clients of the files, with what the running server knows of them.
    pub(super) fn run(self) -> Result<(), Failure> {
        let loaded = load_clients(&self.config)?;
        let pending = list_invitations(&loaded);
        if self.json {
            let clients: Vec<Value> =
                loaded.clients.iter().map(|client| stored_row(client, &loaded)).collect();
            let list = json!({"version": 1, "clients": clients, "invitations": pending});
            return output::answer(&format!("{list}\n"));
        }
        if !pending.is_empty() {
            spa_keys::note!(
                "{} not used yet: spa-server invitations",
                count(pending.len(), "invitation")
            );
        }
        let zone = jiff::tz::TimeZone::system();
        for client in &loaded.clients {
            if let Some(change) = describe_change(client) {
                spa_keys::note!("{change}");
            }
            if let Some(former) = client.former.as_ref().filter(|former| !former.invited) {
                let until = dates::local(former.until, &zone);
                spa_keys::note!(
                    "the former keys of {} are valid until {until}, or until the new ones have \
                     been seen",
                    client.name
                );
            }
        }
        let live = ask_clients(&loaded.config.server.control);
        let known: HashSet<&str> =
            live.iter().flat_map(|live| &live.clients).map(|row| row.name.as_str()).collect();
        let list = list_stored(&loaded, live.as_ref());
        output::answer(&clients_table(&list, |name| known.contains(name)))
    }
}

/// Returns a client of the files as a JSON object.
fn stored_row(client: &config::Client, loaded: &Loaded) -> Value {
    let services = client.services.iter().filter_map(|id| loaded.config.service(*id));
    json!({
        "name": &*client.name,
        "public": client.public.value,
        "fingerprint": format_fingerprint(&client.public.value),
        "services": services.map(|service| &*service.name).collect::<Vec<_>>(),
        "expires-ms": client.expires,
        "max-grants": client.max_grants,
        "grant-prefix-v4": client.grant_prefix_v4,
        "grant-prefix-v6": client.grant_prefix_v6,
        "third-party": client.third_party,
        "kind": client.keys().map(|keys| keys.kind.word()),
        "rotate": client.rotation().word(),
        "enrolled": client.enrolled,
        "former-keys-until-ms": client
            .former
            .as_ref()
            .filter(|former| !former.invited)
            .map(|former| former.until),
        "undo": client.undo.as_ref().map(|undo| json!({
            "fingerprint": format_fingerprint(&undo.public),
            "until-ms": undo.until,
        })),
        "from": client.from.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn format_fingerprint(public: &str) -> String {
    ClientPublic::from_text(public)
        .map_or_else(|_| "?".to_owned(), |public| Fingerprint::from(&public).to_string())
}

/// Returns the clients of the files as `spa-server clients` has them. Live grants and the last
/// knock come from the running server, if there is one.
fn list_stored(loaded: &Loaded, live: Option<&ClientList>) -> ClientList {
    let live_rows = live.map_or_else(Default::default, |live| live.clients.as_slice());
    let known: HashMap<&str, &ClientRow> =
        live_rows.iter().map(|row| (row.name.as_str(), row)).collect();
    let rows = loaded.clients.iter().map(|client| {
        let known = known.get(&*client.name);
        let services = client.services.iter().filter_map(|id| loaded.config.service(*id));
        ClientRow {
            name: client.name.to_string(),
            fingerprint: format_fingerprint(&client.public.value),
            kind: client.keys().map_or_else(String::new, |keys| keys.kind.word().to_owned()),
            rotate: client.rotation().word().to_owned(),
            services: services.map(|service| service.name.to_string()).collect(),
            from: client.from.to_vec(),
            hours: client.hours.as_ref().map(ToString::to_string),
            expires_ms: client.expires,
            max_grants: Some(client.max_grants),
            grants: known.map_or(0, |row| row.grants),
            last: known.and_then(|row| row.last.clone()),
            server_key: known.and_then(|row| row.server_key.clone()),
        }
    });
    let clients: Vec<ClientRow> = rows.collect();
    ClientList {
        all: clients.len() as u64,
        clients,
        key_change: live.and_then(|live| live.key_change.clone()),
        next: None,
        now_ms: UnixMillis::now().as_millis(),
    }
}
