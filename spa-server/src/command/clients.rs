//! `spa-server clients`.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use jiff::tz::TimeZone;
use serde_json::Value;
use spa_keys::Failure;

use super::table::{number, rows, table, word, words};
use super::talk::{Asking, Line};
use crate::control::Command;
use crate::domain::dates;
use spa_keys::duration;

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
    pub(super) fn run(self) -> Result<(), Failure> {
        self.asking.run_pages("clients", page, clients_table)
    }
}

fn page(after: Option<String>) -> Result<Command, Failure> {
    Ok(Command::Clients { limit: None, after })
}

/// Asks the running server for all clients; `None` when no server answers.
pub(super) fn ask_clients(socket: &Path) -> Option<Value> {
    let mut line = Line::connect(socket).ok()??;
    line.ask_pages("clients", page).ok().map(|answer| Value::Object(answer.body))
}

/// Formats the clients as a table.
pub(super) fn clients_table(answer: &Value) -> String {
    let now_ms = number(answer, "now-ms");
    let clients = rows(answer, "clients");
    if clients.is_empty() {
        return "nobody is enrolled; spa-server client add\n".to_owned();
    }
    let zone = TimeZone::system();
    // While the server's key is being replaced: who has followed.
    let change = answer.get("key-change").is_some_and(|change| !change.is_null());
    let dash = || "-".to_owned();
    let row = |client: &Value| {
        let expires = client.get("expires-ms").and_then(Value::as_u64);
        let mut row = vec![
            word(client, "name"),
            words(client, "services"),
            client.get("grants").and_then(Value::as_u64).map_or_else(dash, |n| n.to_string()),
            last(client.get("last").unwrap_or(&Value::Null), now_ms),
            words(client, "from"),
            word(client, "hours"),
            expires.map_or_else(dash, |ms| dates::local(ms, &zone)),
            word(client, "fingerprint"),
        ];
        if change {
            row.push(word(client, "server-key"));
        }
        row
    };
    let rows: Vec<Vec<String>> = clients.iter().map(row).collect();
    let mut head =
        vec!["NAME", "SERVICES", "GRANTS", "LAST SEEN", "FROM", "HOURS", "EXPIRES", "KEY"];
    if change {
        head.push("BY SERVER KEY");
    }
    table(&head, &rows)
}

fn last(last: &Value, now_ms: u64) -> String {
    let Some(ms) = last.get("ms").and_then(Value::as_u64) else { return "-".to_owned() };
    let ago = duration::format(Duration::from_secs(now_ms.saturating_sub(ms) / 1000));
    format!("{ago} ago, {}", word(last, "source"))
}
