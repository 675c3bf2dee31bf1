//! Changing the file of what devices have brought about, each change in one step.

use std::path::Path;

use jiff::Timestamp;
use spa_keys::file;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::super::model::Service;
use super::super::surroundings::Surroundings;
use super::edit::{NewClient, apply_edit, make_table};
use super::files::Writer;
use super::{EditError, Secret, enrolled};

const ENROLLED_FILE_HEADER: &str =
    "# Invitations, the devices that took them, and keys that clients have \
    rotated. Written by the server and its commands;
# the clients' file stands above it. It holds pair keys: keep it to root and the daemon.
";

/// New keys, as they are written in the file.
#[derive(Clone, Debug)]
pub struct NewKeys {
    /// Public key as text.
    pub public: String,
    /// Pair key as text.
    pub psk: Secret,
}

/// Reason why the file was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// The old keys may not be replaced, or not any more.
    #[error("{0}")]
    Refused(&'static str),
    /// The file could not be changed.
    #[error(transparent)]
    Edit(#[from] EditError),
}

/// An invitation becomes a client with these keys, in one step; a second time there is no
/// invitation. `until`: moments in Unix milliseconds.
pub fn enrol_client(
    path: &Path,
    invitation: &str,
    new: &NewKeys,
    now_ms: u64,
) -> Result<(), ReplaceError> {
    change_store(path, false, None, |document| {
        let gone = ReplaceError::Refused("there is no such invitation, or it has been used up");
        if knows(document, &new.public) {
            return Err(ReplaceError::Refused("the key is already in use"));
        }
        let Some(invitations) = list_tables(document, "invitation") else { return Err(gone) };
        let Some(at) = place(invitations, "public", invitation) else { return Err(gone) };
        let Some(mut table) = invitations.get(at).cloned() else { return Err(gone) };
        if !is_before(&table, now_ms) {
            return Err(ReplaceError::Refused("the invitation has expired"));
        }
        invitations.remove(at);
        table.remove("until");
        table.insert("public", value(&new.public));
        table.insert("psk", value(new.psk.reveal()));
        push_table(document, "client", table)
    })
}

/// A client goes on with these keys; those before are good until `until_ms`. A second time with the
/// same keys nothing changes.
pub fn replace_keys(
    path: &Path,
    name: &str,
    old: &str,
    new: &NewKeys,
    until_ms: u64,
) -> Result<(), ReplaceError> {
    let until = stamp(until_ms);
    change_store(path, false, None, |document| {
        let rotated = list_tables(document, "rotated").and_then(|all| {
            let at = place(all, "name", name)?;
            all.get_mut(at)
        });
        if let Some(table) = rotated {
            let current = text(table, "public").to_owned();
            if current == new.public
                && (text(table, "old-public") == old || text(table, "stanza") == old)
            {
                return Ok(());
            }
            // Whoever signs with a key that has had its successor is not, or not for certain, whom
            // the key was for.
            if current != old {
                return Err(ReplaceError::Refused("the key is no longer the client's"));
            }
            let psk = text(table, "psk").to_owned();
            table.insert("old-public", value(current));
            table.insert("old-psk", value(psk));
            table.insert("public", value(&new.public));
            table.insert("psk", value(new.psk.reveal()));
            table.insert("until", value(&until));
            return Ok(());
        }
        if knows(document, &new.public) {
            return Err(ReplaceError::Refused("the key is already in use"));
        }
        let mut table = Table::new();
        for (key, text) in [
            ("name", name),
            ("stanza", old),
            ("public", &new.public),
            ("psk", new.psk.reveal()),
            ("until", &until),
        ] {
            table.insert(key, value(text));
        }
        push_table(document, "rotated", table)
    })
}

/// The client has shown that it has its new keys: those before are worth nothing from now on.
/// Whether there were any.
pub fn seen(path: &Path, name: &str) -> Result<bool, ReplaceError> {
    let mut had = false;
    change_store(path, false, None, |document| {
        let Some(all) = list_tables(document, "rotated") else { return Ok(()) };
        let Some(table) = place(all, "name", name).and_then(|at| all.get_mut(at)) else {
            return Ok(());
        };
        had = table.remove("until").is_some();
        table.remove("old-public");
        table.remove("old-psk");
        Ok(())
    })?;
    Ok(had)
}

/// Adds an invitation, good until `until_ms`.
pub fn add_invitation(
    path: &Path,
    client: &NewClient,
    until_ms: u64,
    services: &[Service],
    around: &Surroundings<'_>,
) -> Result<(), ReplaceError> {
    change_store(path, true, Some((services, around)), |document| {
        for kind in ["client", "invitation"] {
            if list_tables(document, kind)
                .is_some_and(|all| place(all, "name", &client.name).is_some())
            {
                return Err(ReplaceError::Refused(
                    "there is a client or an invitation of this name already: see spa-server \
                     invitations, and spa-server client list",
                ));
            }
        }
        let mut table = make_table(client);
        table.insert("until", value(stamp(until_ms)));
        push_table(document, "invitation", table)
    })
}

/// Takes out the invitation of this name; whether there was one.
pub fn remove_invitation(path: &Path, name: &str) -> Result<bool, ReplaceError> {
    remove_from(path, &["invitation"], name)
}

/// Takes out the client of this name and its rotated keys; whether it was an enrolled one.
pub fn forget_client(path: &Path, name: &str) -> Result<bool, ReplaceError> {
    let client = remove_from(path, &["client"], name)?;
    remove_from(path, &["rotated"], name)?;
    Ok(client)
}

fn remove_from(path: &Path, kinds: &[&str], name: &str) -> Result<bool, ReplaceError> {
    if !path.exists() {
        return Ok(false);
    }
    let mut found = false;
    change_store(path, true, None, |document| {
        for kind in kinds {
            let Some(all) = list_tables(document, kind) else { continue };
            while let Some(at) = place(all, "name", name) {
                all.remove(at);
                found = true;
            }
        }
        Ok(())
    })?;
    Ok(found)
}

/// `wait`: for another writer to end. A service must not: an operator's stopped command would stop
/// it too.
fn change_store(
    path: &Path,
    wait: bool,
    check: Option<(&[Service], &Surroundings<'_>)>,
    edit: impl FnOnce(&mut DocumentMut) -> Result<(), ReplaceError>,
) -> Result<(), ReplaceError> {
    let shown = path.display().to_string();
    if let Some(folder) = path.parent() {
        file::private_folder(folder).map_err(EditError::from)?;
    }
    let writer = if wait { Writer::lock(path) } else { Writer::try_lock(path) };
    let writer = writer.map_err(EditError::from)?;
    let (old, new) = apply_edit(&writer, &shown, ENROLLED_FILE_HEADER, edit)?;
    if new == old {
        return Ok(());
    }
    let none = Surroundings::none();
    let (services, around) =
        check.map_or((None, &none), |(services, around)| (Some(services), around));
    let (readable, findings) = enrolled::parse_enrolled(&shown, &new, services, around);
    if readable.is_none() {
        return Err(EditError::Refused(findings).into());
    }
    Ok(writer.replace(new.as_bytes()).map_err(EditError::from)?)
}

fn list_tables<'d>(document: &'d mut DocumentMut, kind: &str) -> Option<&'d mut ArrayOfTables> {
    document.get_mut(kind)?.as_array_of_tables_mut()
}

fn push_table(
    document: &mut DocumentMut,
    kind: &str,
    mut table: Table,
) -> Result<(), ReplaceError> {
    // Where it stood in another list means nothing in this one.
    table.set_position(None);
    let all = document.entry(kind).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    all.as_array_of_tables_mut().ok_or(EditError::Form)?.push(table);
    Ok(())
}

fn text<'t>(table: &'t Table, key: &str) -> &'t str {
    table.get(key).and_then(Item::as_str).unwrap_or_default()
}

fn place(all: &ArrayOfTables, key: &str, wanted: &str) -> Option<usize> {
    all.iter().position(|table| text(table, key) == wanted)
}

fn knows(document: &DocumentMut, public: &str) -> bool {
    let of = |kind: &str| document.get(kind).and_then(Item::as_array_of_tables);
    ["client", "invitation", "rotated"]
        .into_iter()
        .filter_map(of)
        .flat_map(ArrayOfTables::iter)
        .any(|table| {
            ["public", "old-public", "stanza"].into_iter().any(|key| text(table, key) == public)
        })
}

fn is_before(table: &Table, now_ms: u64) -> bool {
    let until = text(table, "until").parse::<Timestamp>();
    until.is_ok_and(|until| u64::try_from(until.as_millisecond()).is_ok_and(|until| now_ms < until))
}

/// RFC 3339, to the second.
fn stamp(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_string()
}
