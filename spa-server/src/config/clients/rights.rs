//! Changing the rights of a client: in the administrator's file, or where devices stand that came
//! by an invitation. Keys stay.

use std::path::Path;

use toml_edit::{Array, DocumentMut, Item, Table, value};

use super::super::model::{Service, Stages};
use super::super::surroundings::Surroundings;
use super::edit::{change_file, format_stages};
use super::replace::change_store;
use super::{EditError, ReplaceError};

/// Words that take a right's bound away.
const NO_BOUND: [&str; 3] = ["any", "never", "default"];

/// Changes of a stanza; what is not set stays.
#[derive(Clone, Debug, Default)]
pub struct RightsChange {
    /// Services: `+ssh` adds, `-ssh` takes away, `ssh` alone and its like are all from then on.
    pub services: Vec<String>,
    /// Networks that it may knock from, all of them; `any`: everywhere.
    pub from: Vec<String>,
    /// Texts by the key of the stanza (`hours`, `expires`, `ttl`, `max-ttl`); `any`, `never` and
    /// `default` take the bound away.
    pub texts: Vec<(&'static str, String)>,
    /// Numbers by the key of the stanza.
    pub numbers: Vec<(&'static str, u32)>,
    /// The sequence that a new enrolment line told it.
    pub sequence: Option<Stages>,
}

/// Changes the rights of a client, of a device or of an invitation. `enrolled`: the file of the
/// latter two, where it is looked for first.
///
/// # Errors
/// Nobody has the name, or the file would not be valid; nothing is changed then.
pub fn set_rights(
    clients: Option<&Path>,
    enrolled: &Path,
    name: &str,
    change: &RightsChange,
    services: &[Service],
    around: &Surroundings<'_>,
) -> Result<(), ReplaceError> {
    let mut found = false;
    if enrolled.exists() {
        change_store(enrolled, true, Some((services, around)), |document| {
            for kind in ["client", "invitation"] {
                found |= change_stanza(document, kind, name, change);
            }
            Ok(())
        })?;
    }
    match clients {
        Some(path) if !found => Ok(change_file(path, Some(services), around, |document| {
            if change_stanza(document, "client", name, change) {
                return Ok(());
            }
            let all = document.get("client").and_then(Item::as_array_of_tables);
            let all = all.ok_or(EditError::Form)?;
            Err(EditError::unknown(name, all.iter().filter_map(|one| one.get("name")?.as_str())))
        })?),
        None if !found => Err(EditError::unknown(name, []).into()),
        _ => Ok(()),
    }
}

fn change_stanza(
    document: &mut DocumentMut,
    kind: &str,
    name: &str,
    change: &RightsChange,
) -> bool {
    let all = document.get_mut(kind).and_then(Item::as_array_of_tables_mut);
    let is_it = |table: &&mut Table| table.get("name").and_then(Item::as_str) == Some(name);
    let stanza = all.and_then(|all| all.iter_mut().find(is_it));
    stanza.map(|stanza| change_rights(stanza, change)).is_some()
}

fn change_rights(stanza: &mut Table, change: &RightsChange) {
    if !change.services.is_empty() {
        let services = new_services(stanza, &change.services);
        stanza.insert("services", value(services.iter().collect::<Array>()));
    }
    if change.from.iter().any(|net| NO_BOUND.contains(&net.as_str())) {
        stanza.remove("from");
    } else if !change.from.is_empty() {
        stanza.insert("from", value(change.from.iter().collect::<Array>()));
    }
    for (key, text) in &change.texts {
        if NO_BOUND.contains(&text.as_str()) {
            stanza.remove(key);
        } else {
            stanza.insert(key, value(text));
        }
    }
    for (key, number) in &change.numbers {
        stanza.insert(key, value(i64::from(*number)));
    }
    if let Some(stages) = &change.sequence {
        stanza.insert("sequence", format_stages(stages));
    }
}

fn new_services(stanza: &Table, wanted: &[String]) -> Vec<String> {
    let now = stanza.get("services").and_then(Item::as_array);
    let now = now.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned));
    let is_change = |word: &String| word.starts_with(['+', '-']);
    let mut services: Vec<String> =
        if wanted.iter().all(is_change) { now.collect() } else { Vec::new() };
    for word in wanted {
        let name = word.trim_start_matches(['+', '-']);
        services.retain(|known| known != name);
        if !word.starts_with('-') {
            services.push(name.to_owned());
        }
    }
    services
}
