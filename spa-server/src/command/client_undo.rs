//! `spa-server client undo`.

use clap::Args;
use jiff::tz::TimeZone;
use spa_keys::{Failure, Fingerprint, TextForm, UnixMillis};
use spa_proto::ClientPublic;

use super::enrolment::{apply_changes, edit_failure, load_clients, replace_failure};
use super::{ConfigArg, output};
use crate::config::Client;
use crate::config::clients::{self, EditError, enrolled_file};
use crate::domain::dates;

/// Give a client the keys back that it had before it changed them
#[derive(Debug, Args)]
#[command(after_help = "For a client whose keys somebody else has replaced. It works until \
        `rotate-overlap` after the change; the present keys become invalid, and their grants are \
        closed.\n\nExample:\n  spa-server client undo laptop")]
pub(super) struct UndoArgs {
    /// Client
    name: String,
    #[command(flatten)]
    config: ConfigArg,
}

impl UndoArgs {
    /// Puts the keys back, in the file and in the running server.
    pub(super) fn run(self) -> Result<(), Failure> {
        let loaded = load_clients(&self.config)?;
        if !loaded.clients.iter().any(|client| *client.name == *self.name) {
            let names = loaded.clients.iter().map(|client| &*client.name);
            return Err(edit_failure(&EditError::unknown(&self.name, names)));
        }
        let file = enrolled_file(&loaded.config.server.state);
        let now_ms = UnixMillis::now().as_millis();
        clients::undo_change(&file, &self.name, now_ms).map_err(|error| replace_failure(&error))?;
        let restored = load_clients(&self.config)?;
        let client = restored.clients.iter().find(|client| *client.name == *self.name);
        let keys = client.map(|client| describe_keys(&client.public.value)).unwrap_or_default();
        // The reload closes what the keys of now have open.
        apply_changes(&loaded)?;
        output::answer(&format!("{} has its former keys again: {keys}\n", self.name))
    }
}

/// Describes a public key for people: its fingerprint and kind.
fn describe_keys(public: &str) -> String {
    match ClientPublic::from_text(public) {
        Ok(public) => format!("{} ({})", Fingerprint::from(&public), public.kind.word()),
        Err(_) => "?".to_owned(),
    }
}

/// Describes a change of keys that can be undone.
pub(super) fn describe_change(client: &Client) -> Option<String> {
    let undo = client.undo.as_deref()?;
    Some(format!(
        "{name} has changed its keys from {} to {}; until {} this can be undone: spa-server client \
        undo {name}",
        describe_keys(&undo.public),
        describe_keys(&client.public.value),
        dates::local(undo.until, &TimeZone::system()),
        name = client.name,
    ))
}
