//! `spa-server clients`.

use std::path::Path;

use clap::Args;
use jiff::tz::TimeZone;
use spa_keys::Failure;

use super::table::{elapsed, or_dash, table, words};
use super::talk::Asking;
use crate::control::client::Connection;
use crate::control::rows::{ClientList, ClientRow};
use crate::control::{Command, Response};
use crate::domain::dates;

/// List the clients that the running server knows
#[derive(Debug, Args)]
#[command(
    after_help = "The table of `spa-server client list`, as the running server knows it.\n\n\
        Example:\n  spa-server clients"
)]
pub(super) struct ClientsArgs {
    #[command(flatten)]
    asking: Asking,
}

impl ClientsArgs {
    /// Asks the server for all pages of its clients and prints them as one table.
    pub(super) fn run(self) -> Result<(), Failure> {
        self.asking.run_pages("clients", page, |list| clients_table(list, |_| true))
    }
}

/// Asks for a page of clients behind this name.
fn page(after: Option<String>) -> Result<Command, Failure> {
    Ok(Command::Clients { limit: None, after })
}

/// Asks the running server for all clients; `None` when no server answers.
pub(super) fn ask_clients(socket: &Path) -> Option<ClientList> {
    let mut line = Connection::connect(socket).ok()??;
    line.ask_pages("clients", page).and_then(Response::read_body).ok()
}

/// Formats the clients as a table. Grants of a client that the server does not know are not shown.
pub(super) fn clients_table(list: &ClientList, is_known: impl Fn(&str) -> bool) -> String {
    let ClientList { clients, key_change, now_ms, .. } = list;
    if clients.is_empty() {
        return "nobody is enrolled; spa-server client add\n".to_owned();
    }
    let zone = TimeZone::system();
    // While the server's key is being replaced: who has followed.
    let change = key_change.is_some();
    let row = |client: &ClientRow| {
        let last = client.last.as_ref();
        let mut row = vec![
            client.name.clone(),
            words(&client.services),
            or_dash(is_known(&client.name).then_some(client.grants)),
            or_dash(last.map(|last| format!("{} ago, {}", elapsed(last.ms, *now_ms), last.source))),
            words(&client.from),
            or_dash(client.hours.as_ref()),
            or_dash(client.expires_ms.map(|ms| dates::local(ms, &zone))),
            client.fingerprint.clone(),
            client.kind.clone(),
            client.rotate.clone(),
        ];
        if change {
            row.push(or_dash(client.server_key.as_ref()));
        }
        row
    };
    let rows: Vec<Vec<String>> = clients.iter().map(row).collect();
    let mut head = vec![
        "NAME",
        "SERVICES",
        "GRANTS",
        "LAST SEEN",
        "FROM",
        "HOURS",
        "EXPIRES",
        "KEY",
        "KIND",
        "ROTATE",
    ];
    if change {
        head.push("BY SERVER KEY");
    }
    table(&head, &rows)
}
