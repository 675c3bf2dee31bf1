//! `spa-server firewall backends`: what each kind of firewall can do for a grant.

use clap::Args;
use serde_json::{Value, json};
use spa_keys::Failure;

use super::output;
use crate::firewall::capabilities::{Capabilities, WithoutServer};

/// Version of the JSON object; it grows when the meaning of a field changes, not when one is added.
const JSON_VERSION: u32 = 1;

/// Kinds by the names that the documentation has for them.
const KINDS: [(&str, Capabilities); 3] = [
    ("nftables", Capabilities::NFTABLES),
    ("exec, expires and ends-flows", Capabilities::of_program(true, true)),
    ("exec", Capabilities::of_program(false, false)),
];

/// A row of the table: its name, and the word of a kind.
type BackendRow<'a> = (&'a str, &'a dyn Fn(&Capabilities) -> String);

/// Print what each kind of firewall can do
#[derive(Debug, Args)]
#[command(after_help = "nftables is this host's own, [firewall]. The others are kinds of \
        [[enforcer]], which open\nbeside it.\n\n\
        Example:\n  spa-server firewall backends --json")]
pub(super) struct BackendsArgs {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl BackendsArgs {
    /// Prints the table.
    pub(super) fn run(self) -> Result<(), Failure> {
        output::answer(&if self.json { to_json() } else { to_table() })
    }
}

fn to_json() -> String {
    let kind = |(name, able): (&str, Capabilities)| {
        let mut row = serde_json::to_value(able).unwrap_or_default();
        if let Value::Object(row) = &mut row {
            row.insert("kind".to_owned(), name.into());
            row.insert("provisional".to_owned(), able.takes_provisional().into());
        }
        row
    };
    format!("{}\n", json!({ "version": JSON_VERSION, "backends": KINDS.map(kind) }))
}

/// The table of docs/backends.md, in its form.
fn to_table() -> String {
    let yes = |able: bool| if able { "yes" } else { "no" }.to_owned();
    let kinds = |of: &dyn Fn(&Capabilities) -> String| {
        KINDS.iter().map(|(_, able)| of(able)).collect::<Vec<_>>().join(" | ")
    };
    let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
    let mut out = format!("| | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(KINDS.len()));
    let rows: [BackendRow<'_>; 11] = [
        ("ends by itself", &|able| yes(able.expires)),
        ("per port", &|able| yes(able.per_port)),
        ("IPv6", &|able| yes(able.ipv6)),
        ("bans", &|able| yes(able.bans)),
        ("DNAT (`to`)", &|able| yes(able.dnat)),
        ("ends flows", &|able| yes(able.ends_flows)),
        ("before the CONFIRM", &|able| yes(able.takes_provisional())),
        ("counts connections", &|able| yes(able.counts)),
        ("most entries", &|able| {
            able.most_entries.map_or("no limit of ours".to_owned(), |most| most.to_string())
        }),
        ("delay", &|able| able.delay.to_owned()),
        ("without a server", &|able| {
            match able.without_server {
                WithoutServer::Closes => "closes in time",
                WithoutServer::StaysOpen => "stays open until the next start",
            }
            .to_owned()
        }),
    ];
    for (name, of) in rows {
        out.push_str(&format!("| {name} | {} |\n", kinds(of)));
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::to_table;

    #[test]
    fn the_documents_have_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/backends.md");
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&to_table()), "write into docs/backends.md:\n{}", to_table());
    }
}
