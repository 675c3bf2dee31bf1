//! Writing `clients.toml`, comments kept.

use std::path::Path;

use spa_keys::file::FileError;
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, value};
use zeroize::Zeroizing;

use super::super::findings::Findings;
use super::super::model::{Service, Stages};
use super::super::surroundings::Surroundings;
use super::files::Writer;
use super::{Secret, parse_clients};
use crate::domain::rotation::Rotation;

/// First lines of a new file.
const CLIENTS_FILE_HEADER: &str =
    "# Who may knock, and for what. Written by `spa-server client add` and `client remove`, which \
     keep
# comments; the daemon reads it again on reload. It holds pair keys: keep it to root and the daemon.
";

/// A client to be added, every field as it is written in the file.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// Name.
    pub name: String,
    /// Public key as text.
    pub public: String,
    /// Pair key as text.
    pub psk: Secret,
    /// Names of services.
    pub services: Vec<String>,
    /// Networks; empty: any.
    pub from: Vec<String>,
    /// Hours.
    pub hours: Option<String>,
    /// Last day, or RFC 3339 moment.
    pub expires: Option<String>,
    /// Time granted by default.
    pub ttl: Option<String>,
    /// Longest time.
    pub max_ttl: Option<String>,
    /// Live grants at a time.
    pub max_grants: Option<u32>,
    /// Leading bits of an IPv4 source that a grant is for.
    pub grant_prefix_v4: Option<u8>,
    /// Leading bits of an IPv6 source that a grant is for.
    pub grant_prefix_v6: Option<u8>,
    /// It may open for another address than its own.
    pub third_party: bool,
    /// Which keys may take the place of its own.
    pub rotate: Option<Rotation>,
    /// The sequence that its enrolment line tells it.
    pub sequence: Stages,
}

/// Reason why the clients' file was not changed. Whatever the reason, it is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The file with the change would not be valid. Line numbers count the new client too.
    #[error("the change is refused:\n{0}")]
    Refused(Findings),
    /// There is no such client.
    #[error("there is no client `{name}`: `spa-server client list` shows them{near}")]
    Unknown {
        /// Name as given.
        name: String,
        /// Suggestion, see [`spa_keys::did_you_mean`].
        near: String,
    },
    /// The clients are written as `client = [ … ]`.
    #[error(
        "the clients are written as an array: write a [[client]] table for each, then try again"
    )]
    Form,
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl EditError {
    /// Makes the error for a client that is not among `names`.
    pub(crate) fn unknown<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Unknown { name: name.to_owned(), near: spa_keys::did_you_mean(name, names) }
    }
}

/// Adds a client at the end of the file, which is made if it is not there. `services`: the
/// configured ones.
pub fn add_client(
    path: &Path,
    client: &NewClient,
    services: Option<&[Service]>,
    around: &Surroundings<'_>,
) -> Result<(), EditError> {
    change_file(path, services, around, |document| {
        let end = document.trailing().as_str().unwrap_or_default().to_owned();
        let clients =
            document.entry("client").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        let clients = clients.as_array_of_tables_mut().ok_or(EditError::Form)?;
        let mut table = make_table(client);
        // What stands at the end of the file stays where it is: above the newcomer.
        table.decor_mut().set_prefix(end + "\n");
        clients.push(table);
        document.set_trailing("");
        Ok(())
    })
}

/// Removes a client. A comment right above its stanza goes with it, one with an empty line between
/// stays.
pub fn remove_client(path: &Path, name: &str, around: &Surroundings<'_>) -> Result<(), EditError> {
    change_file(path, None, around, |document| {
        let clients = document.get_mut("client").ok_or_else(|| EditError::unknown(name, []))?;
        let clients = clients.as_array_of_tables_mut().ok_or(EditError::Form)?;
        let names = || clients.iter().filter_map(|client| client.get("name")?.as_str());
        let is_it = |client: &Table| client.get("name").and_then(Item::as_str) == Some(name);
        let at = clients.iter().position(is_it);
        let at = at.ok_or_else(|| EditError::unknown(name, names()))?;
        let kept = clients.get(at).map(comments_apart).unwrap_or_default();
        clients.remove(at);
        match clients.get_mut(at) {
            Some(next) => {
                let own = comment_above(next).to_owned();
                next.decor_mut().set_prefix(kept + &own);
            }
            None => {
                let trailing = kept + document.trailing().as_str().unwrap_or_default();
                document.set_trailing(trailing);
            }
        }
        Ok(())
    })
}

fn comment_above(table: &Table) -> &str {
    table.decor().prefix().and_then(|raw| raw.as_str()).unwrap_or_default()
}

/// Returns the comment above a stanza but belongs to the file: up to the last empty line.
fn comments_apart(table: &Table) -> String {
    let above = comment_above(table);
    let end = above.rfind("\n\n").map_or(0, |at| at + 1);
    let apart = above.get(..end).unwrap_or_default();
    if apart.contains('#') { apart.to_owned() } else { String::new() }
}

/// Edits a clients file in place: lock, parse, edit, check, replace by rename.
///
/// # Errors
/// The file cannot be read, locked or written, or would have findings after the edit.
pub(super) fn change_file(
    path: &Path,
    services: Option<&[Service]>,
    around: &Surroundings<'_>,
    edit: impl FnOnce(&mut DocumentMut) -> Result<(), EditError>,
) -> Result<(), EditError> {
    let shown = path.display().to_string();
    let writer = Writer::lock(path)?;
    let (_, new) = apply_edit(&writer, &shown, CLIENTS_FILE_HEADER, edit)?;
    let (clients, findings) = parse_clients(&shown, &new, services, around);
    if clients.is_none() {
        return Err(EditError::Refused(findings));
    }
    Ok(writer.replace(new.as_bytes())?)
}

/// The text of the file, or of a new one, before and after an edit; it keeps comments. Both hold
/// secrets.
pub(super) fn apply_edit<E: From<EditError>>(
    writer: &Writer,
    shown: &str,
    header: &str,
    edit: impl FnOnce(&mut DocumentMut) -> Result<(), E>,
) -> Result<(Zeroizing<String>, Zeroizing<String>), E> {
    let old = writer.content().unwrap_or_default();
    let text = super::super::decode_text(shown, old).map_err(EditError::Refused)?;
    let text = if text.is_empty() { header } else { text };
    let mut document: DocumentMut = text
        .parse()
        .map_err(|_| EditError::Refused(super::super::find_syntax_error(shown, text)))?;
    edit(&mut document)?;
    Ok((Zeroizing::new(text.to_owned()), Zeroizing::new(document.to_string())))
}

/// Makes the `[[client]]` table of a client; options that are not set are left out.
pub(super) fn make_table(client: &NewClient) -> Table {
    let list = |items: &[String]| value(items.iter().collect::<Array>());
    let mut table = Table::new();
    table.insert("name", value(&client.name));
    table.insert("public", value(&client.public));
    table.insert("psk", value(client.psk.reveal()));
    table.insert("services", list(&client.services));
    if !client.from.is_empty() {
        table.insert("from", list(&client.from));
    }
    for (key, text) in [
        ("hours", &client.hours),
        ("expires", &client.expires),
        ("ttl", &client.ttl),
        ("max-ttl", &client.max_ttl),
    ] {
        if let Some(text) = text {
            table.insert(key, value(text));
        }
    }
    if let Some(most) = client.max_grants {
        table.insert("max-grants", value(i64::from(most)));
    }
    for (key, bits) in
        [("grant-prefix-v4", client.grant_prefix_v4), ("grant-prefix-v6", client.grant_prefix_v6)]
    {
        if let Some(bits) = bits {
            table.insert(key, value(i64::from(bits)));
        }
    }
    if client.third_party {
        table.insert("third-party", value(true));
    }
    if let Some(rotate) = client.rotate {
        table.insert("rotate", value(rotate.word()));
    }
    table.insert("sequence", format_stages(&client.sequence));
    table
}

/// The stages as `[sequence]` writes them, in one line.
pub(super) fn format_stages(stages: &Stages) -> Item {
    let mut table = InlineTable::new();
    match stages {
        Stages::Fixed(ports) => {
            let ports: Array = ports.iter().map(|port| i64::from(*port)).collect();
            table.insert("ports", ports.into());
        }
        Stages::Hop { range, count, exclude } => {
            table.insert("hop", range.to_string().into());
            table.insert("stages", i64::from(*count).into());
            if !exclude.is_empty() {
                let exclude: Array = exclude.iter().map(ToString::to_string).collect();
                table.insert("hop-exclude", exclude.into());
            }
        }
    }
    value(table)
}
