//! Changing the file of what devices have brought about, each change in one step.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use spa_keys::file::{self, FileError};
use spa_keys::whole_millis;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::super::model::Service;
use super::super::surroundings::Surroundings;
use super::edit::{NewClient, apply_edit, make_table};
use super::files::Writer;
use super::{EditError, Secret, enrolled};

/// Tables in which former keys stand, and the keys that tell of them.
const KINDS_WITH_FORMER: [&str; 2] = ["client", "rotated"];
const FORMER_KEYS: [&str; 4] = ["until", "old-public", "old-psk", "kem"];
/// Keys that tell of what can be undone.
const UNDO_KEYS: [&str; 3] = ["undo-public", "undo-psk", "undo-until"];

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
    /// Random bytes behind its ML-KEM half, in the text form of a pair key.
    pub kem: Option<Secret>,
}

impl NewKeys {
    /// Checks that a table of the same keys has the same psk. The listener may ask twice before it
    /// has read the first change, each time with an ML-KEM half of its own.
    fn check_psk_of(&self, table: &Table) -> Result<(), ReplaceError> {
        if text(table, "psk") == self.psk.reveal() { Ok(()) } else { Err(ReplaceError::JustTaken) }
    }

    fn write_to(&self, table: &mut Table, now_ms: u64) {
        table.insert("public", value(&self.public));
        table.insert("psk", value(self.psk.reveal()));
        table.insert("since", value(stamp(now_ms)));
        match &self.kem {
            Some(kem) => table.insert("kem", value(kem.reveal())),
            None => table.remove("kem"),
        };
    }
}

/// Reason why the file was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// The old keys may not be replaced, or not any more.
    #[error("{0}")]
    Refused(&'static str),
    /// The same keys stand there with another psk: who is told of this one would be locked out.
    #[error("these keys have just been taken: ask again")]
    JustTaken,
    /// The file could not be changed.
    #[error(transparent)]
    Edit(#[from] EditError),
}

/// An invitation becomes a client with these keys, in one step; a second time there is no
/// invitation. Its keys are kept for the overlap: its ENROL may be asked again.
pub fn enrol_client(
    path: &Path,
    invitation: &str,
    new: &NewKeys,
    now_ms: u64,
    overlap: Duration,
) -> Result<(), ReplaceError> {
    change_store(path, false, None, |document| {
        let gone = ReplaceError::Refused("there is no such invitation, or it has been used up");
        let taken = list_tables(document, "client").and_then(|all| {
            let at = place(all, "public", &new.public)?;
            all.get(at).filter(|table| text(table, "old-public") == invitation)
        });
        if let Some(table) = taken {
            return new.check_psk_of(table);
        }
        if has_key(document, &new.public) {
            return Err(ReplaceError::Refused("the key is already in use"));
        }
        let Some(invitations) = list_tables(document, "invitation") else { return Err(gone) };
        let Some(at) = place(invitations, "public", invitation) else { return Err(gone) };
        let Some(mut table) = invitations.get(at).cloned() else { return Err(gone) };
        if !is_before(&table, "until", now_ms) {
            return Err(ReplaceError::Refused("the invitation has expired"));
        }
        invitations.remove(at);
        let psk = text(&table, "psk").to_owned();
        table.insert("until", value(stamp_after(now_ms, overlap)));
        table.insert("old-public", value(invitation));
        table.insert("old-psk", value(psk));
        new.write_to(&mut table, now_ms);
        push_table(document, "client", table)
    })
}

/// A client goes on with these keys; those before are good for the overlap, and as long
/// [`undo_change`] can put them back. A second time with the same keys nothing changes.
pub fn replace_keys(
    path: &Path,
    name: &str,
    old: &str,
    new: &NewKeys,
    now_ms: u64,
    overlap: Duration,
) -> Result<(), ReplaceError> {
    let until = stamp_after(now_ms, overlap);
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
                return new.check_psk_of(table);
            }
            // Whoever signs with a key that has had its successor is not, or not for certain, whom
            // the key was for.
            if current != old {
                return Err(ReplaceError::Refused("the key is no longer the client's"));
            }
            let psk = text(table, "psk").to_owned();
            // The first change of the overlap is the one to undo: a thief of the keys would rotate
            // once more.
            if !is_before(table, "undo-until", now_ms) {
                table.insert("undo-public", value(&current));
                table.insert("undo-psk", value(&psk));
                table.insert("undo-until", value(&until));
            }
            table.insert("old-public", value(current));
            table.insert("old-psk", value(psk));
            new.write_to(table, now_ms);
            table.insert("until", value(&until));
            return Ok(());
        }
        if has_key(document, &new.public) {
            return Err(ReplaceError::Refused("the key is already in use"));
        }
        let mut table = Table::new();
        table.insert("name", value(name));
        table.insert("stanza", value(old));
        new.write_to(&mut table, now_ms);
        for (key, text) in [("until", &*until), ("undo-public", old), ("undo-until", &until)] {
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
        for kind in KINDS_WITH_FORMER {
            let Some(all) = list_tables(document, kind) else { continue };
            let table = place(all, "name", name).and_then(|at| all.get_mut(at));
            had |= table.is_some_and(|table| remove_keys(table, &FORMER_KEYS));
        }
        Ok(())
    })?;
    Ok(had)
}

/// Gives a client the keys back that it had before the first change of the overlap; those that it
/// has now are worth nothing any more.
pub fn undo_change(path: &Path, name: &str, now_ms: u64) -> Result<(), ReplaceError> {
    let gone = ReplaceError::Refused(
        "it has not changed its keys within rotate-overlap: there is nothing to undo",
    );
    change_store(path, true, None, |document| {
        let Some(all) = list_tables(document, "rotated") else { return Err(gone) };
        let Some(at) = place(all, "name", name) else { return Err(gone) };
        let Some(table) = all.get_mut(at) else { return Err(gone) };
        if !is_before(table, "undo-until", now_ms) {
            return Err(gone);
        }
        let public = text(table, "undo-public").to_owned();
        if text(table, "stanza") == public {
            all.remove(at);
            return Ok(());
        }
        let psk = text(table, "undo-psk").to_owned();
        table.insert("public", value(public));
        table.insert("psk", value(psk));
        // As old as it may be: new keys are due.
        table.remove("since");
        remove_keys(table, &FORMER_KEYS);
        remove_keys(table, &UNDO_KEYS);
        Ok(())
    })
}

/// Erases former keys whose time is over.
pub fn erase_former(path: &Path, now_ms: u64) -> Result<(), ReplaceError> {
    if !path.exists() {
        return Ok(());
    }
    change_store(path, false, None, |document| {
        for kind in KINDS_WITH_FORMER {
            for table in list_tables(document, kind).into_iter().flat_map(ArrayOfTables::iter_mut) {
                if !is_before(table, "until", now_ms) {
                    remove_keys(table, &FORMER_KEYS);
                }
                if !is_before(table, "undo-until", now_ms) {
                    remove_keys(table, &UNDO_KEYS);
                }
            }
        }
        Ok(())
    })
}

/// Removes keys of a table; whether one was there.
fn remove_keys(table: &mut Table, keys: &[&str]) -> bool {
    let removed = keys.iter().filter(|key| table.remove(key).is_some());
    removed.count() > 0
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
pub(super) fn change_store(
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
    if writer.content().is_some_and(<[u8]>::is_empty) {
        // With one entry more nobody would see that the others are gone, and that the keys which
        // clients have replaced are good again.
        let text = format!(
            "it is empty: put it back from a copy, or begin anew without it: mv {shown} {shown}.old"
        );
        return Err(EditError::from(FileError::from_io(path, std::io::Error::other(text))).into());
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

fn has_key(document: &DocumentMut, public: &str) -> bool {
    let of = |kind: &str| document.get(kind).and_then(Item::as_array_of_tables);
    ["client", "invitation", "rotated"]
        .into_iter()
        .filter_map(of)
        .flat_map(ArrayOfTables::iter)
        .any(|table| {
            let keys = ["public", "old-public", "undo-public", "stanza"];
            keys.into_iter().any(|key| text(table, key) == public)
        })
}

fn is_before(table: &Table, key: &str, now_ms: u64) -> bool {
    let until = text(table, key).parse::<Timestamp>();
    until.is_ok_and(|until| u64::try_from(until.as_millisecond()).is_ok_and(|until| now_ms < until))
}

/// The moment so long after another.
fn stamp_after(now_ms: u64, time: Duration) -> String {
    stamp(now_ms.saturating_add(whole_millis(time)))
}

/// RFC 3339, to the second.
fn stamp(unix_ms: u64) -> String {
    let seconds = i64::try_from(unix_ms / 1000).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_string()
}
