//! Changes that devices have made themselves: invitations, the clients that came of them, and keys
//! that clients have rotated. A file of the broker's own, beside the store, since the clients' file
//! is the administrator's and may be one that can only be read.
//!
//! ```text
//! [[invitation]]  a client's stanza with the invitation's keys, and `until`
//! [[client]]      a client's stanza, and since when it has its psk;
//!                 old-public, old-psk, until: the invitation's that it took
//! [[rotated]]     name, stanza (the key in the stanza), public, psk, since (the keys now), until;
//!                 old-public, old-psk: the keys before those, when they are not the stanza's;
//!                 undo-public, undo-psk, undo-until: the keys that an administrator can put back
//! ```
//! `until` beside them: the keys before are good until then; without it they are not any more.
//! `kem` is what the ML-KEM half of the psk was made from, in the form of a psk; kept as long as
//! the keys before may ask again.
//! Without `undo-psk` it is the stanza's.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use toml::de::DeTable;
use zeroize::Zeroizing;

use super::super::findings::{Findings, Report};
use super::super::model::Service;
use super::super::section::Section;
use super::super::span::Located;
use super::super::surroundings::{KeyText, Surroundings};
use super::super::{decode_text, find_syntax_error};
use super::read::read_client;
use super::{Client, Former, Invitation, Secret, Undo};
use crate::domain::dates;
use spa_keys::{Fingerprint, Severity, TextForm};
use spa_proto::ClientPublic;

const ENROLLED_FILE: &str = "enrolled.toml";

/// The file, for the store in `state`: in a folder beside it that the listener cannot reach.
#[must_use]
pub fn enrolled_file(state: &Path) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push("-broker");
    PathBuf::from(name).join(ENROLLED_FILE)
}

/// Returns true when a path is that of such a file, whatever the store.
#[must_use]
pub fn is_enrolled_file(path: &Path) -> bool {
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    path.file_name().is_some_and(|name| name == ENROLLED_FILE)
        && folder.is_some_and(|name| name.ends_with("-broker"))
}

/// Content of the file.
#[derive(Debug, Default)]
pub(in super::super) struct Enrolled {
    clients: Vec<Client>,
    invitations: Vec<Invitation>,
    rotated: Vec<Rotated>,
}

#[derive(Debug)]
struct Rotated {
    name: String,
    stanza: String,
    public: Located<String>,
    psk: Located<Secret>,
    old: Option<(String, Secret)>,
    kem: Option<Secret>,
    since: Option<u64>,
    until: Option<u64>,
    undo: Option<Undo>,
}

/// Reads the text of the file.
pub(super) fn parse_enrolled(
    name: &str,
    text: &str,
    services: Option<&[Service]>,
    around: &Surroundings<'_>,
) -> (Option<Enrolled>, Findings) {
    let Ok(document) = DeTable::parse(text) else { return (None, find_syntax_error(name, text)) };
    let mut report = Report::new(name, text);
    let mut root = Section::root(document.get_ref());
    let clients = root.read_tables(&mut report, "client");
    let invitations = root.read_tables(&mut report, "invitation");
    let keys = root.read_tables(&mut report, "rotated");
    root.finish(&mut report);
    let r = &mut report;
    let mut enrolled = Enrolled::default();
    for mut section in clients {
        let former = read_former(&mut section, r, around).map(Box::new);
        let since = read_moment(&mut section, "since", r, around);
        let client = read_client(section, r, services, around).client;
        enrolled.clients.push(Client { enrolled: true, since, former, ..client });
    }
    for mut section in invitations {
        section.require(r, "until", "\"2027-01-31T18:00:00Z\"");
        let until = read_moment(&mut section, "until", r, around);
        let client = read_client(section, r, services, around).client;
        enrolled.invitations.push(Invitation { client, until: until.unwrap_or_default() });
    }
    for section in keys {
        enrolled.rotated.extend(read_rotated(section, r, around));
    }
    if text.is_empty() {
        // Written by us it begins with a comment, also when nobody is left.
        let text = "it is empty: devices that enrolled themselves are unknown; put it back from a \
            copy, or invite them anew";
        report.warning(&(0..0), text);
    }
    let enrolled = (!report.has_errors()).then_some(enrolled);
    (enrolled, report.finish())
}

fn read_moment(
    s: &mut Section<'_>,
    key: &'static str,
    r: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<u64> {
    s.text(r, key, "\"2027-01-31T18:00:00Z\"", |text| dates::parse(text, &around.zone))
        .map(|l| l.value)
}

fn read_rotated(
    mut section: Section<'_>,
    r: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<Rotated> {
    let s = &mut section;
    for key in ["name", "stanza", "public", "psk"] {
        s.require(r, key, "\"…\"");
    }
    let name = s.text(r, "name", "\"alice\"", spa_keys::ClientName::new);
    let (stanza, new) = (read_public(s, "stanza", r, around), read_public(s, "public", r, around));
    let new_psk = read_psk(s, "psk", r, around);
    let old = read_public(s, "old-public", r, around).zip(read_psk(s, "old-psk", r, around));
    let kem = read_psk(s, "kem", r, around).map(|kem| kem.value);
    let since = read_moment(s, "since", r, around);
    let until = read_moment(s, "until", r, around);
    let undo = read_public(s, "undo-public", r, around);
    let _checked = read_psk(s, "undo-psk", r, around);
    let undo = undo.zip(read_moment(s, "undo-until", r, around));
    section.finish(r);
    Some(Rotated {
        name: name?.value.to_string(),
        stanza: stanza?.value,
        public: new?,
        psk: new_psk?,
        old: old.map(|(public, psk)| (public.value, psk.value)),
        kem,
        since,
        until,
        undo: undo.map(|(public, until)| Undo { public: public.value, until }),
    })
}

/// Reads the keys of the invitation that a client took, while they may ask again.
fn read_former(
    s: &mut Section<'_>,
    r: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<Former> {
    let (public, psk) =
        (read_public(s, "old-public", r, around), read_psk(s, "old-psk", r, around));
    let kem = read_psk(s, "kem", r, around).map(|kem| kem.value);
    let until = read_moment(s, "until", r, around);
    Some(Former { public: public?.value, psk: psk?.value, until: until?, kem, invited: true })
}

fn read_public(
    s: &mut Section<'_>,
    key: &'static str,
    r: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<Located<String>> {
    s.text(r, key, "\"spa1…\"", |text| {
        (around.check_key)(KeyText::Public(text)).map(|()| text.to_owned())
    })
}

fn read_psk(
    s: &mut Section<'_>,
    key: &'static str,
    r: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Option<Located<Secret>> {
    s.text(r, key, "\"SPA-PSK-1…\"", |text| {
        (around.check_key)(KeyText::Psk(text)).map(|()| Secret::new(text.to_owned()))
    })
}

/// Reads the file of this store; nothing when there is none.
pub(in super::super) fn load_enrolled(
    state: &Path,
    services: Option<&[Service]>,
    around: &Surroundings<'_>,
) -> (Option<Enrolled>, Findings) {
    let path = enrolled_file(state);
    let shown = path.display().to_string();
    match (around.read_secret)(&path).map(Zeroizing::new) {
        Ok(bytes) => {
            let (enrolled, mut findings) = match decode_text(&shown, &bytes) {
                Ok(text) => parse_enrolled(&shown, text, services, around),
                Err(findings) => (None, findings),
            };
            if enrolled.is_none() {
                let text = format!(
                    "put back a copy, or invite the devices anew without it: mv {shown} \
                     {shown}.old"
                );
                findings.append(Findings::of_file(&shown, Severity::Note, text));
            }
            (enrolled, findings)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            (Some(Enrolled::default()), Findings::default())
        }
        Err(e) => {
            (None, Findings::of_file(&shown, Severity::Error, format!("cannot be read: {e}")))
        }
    }
}

/// Adds them to the clients of the administrator's file, whose word holds where the two disagree: a
/// command may have changed that one meanwhile, and a server that does not start locks everybody
/// out.
pub(in super::super) fn merge_enrolled(
    clients: &mut Vec<Client>,
    enrolled: Enrolled,
    state: &Path,
) -> (Vec<Invitation>, Findings) {
    let shown = enrolled_file(state).display().to_string();
    let mut findings = Findings::default();
    let mut skip = |name: &str, why: &str| {
        let text = format!(
            "`{name}` is ignored: {why}; remove it with: spa-server client remove {name}, or \
            spa-server invite --revoke {name}"
        );
        findings.append(Findings::of_file(&shown, Severity::Warning, text));
    };
    let mut names: HashSet<String> = clients.iter().map(|client| client.name.to_string()).collect();
    let mut keys: HashSet<String> =
        clients.iter().map(|client| client.public.value.clone()).collect();
    let mut fits = |client: &Client| {
        let fits = !names.contains(&*client.name) && !keys.contains(&client.public.value);
        if fits {
            names.insert(client.name.to_string());
            keys.insert(client.public.value.clone());
        }
        fits
    };
    let (mut known, mut invitations) = (Vec::new(), Vec::new());
    for client in enrolled.clients {
        if fits(&client) {
            known.push(client)
        } else {
            skip(&client.name, "another client has its name or key")
        }
    }
    for invitation in enrolled.invitations {
        if fits(&invitation.client) {
            invitations.push(invitation);
        } else {
            skip(&invitation.client.name, "a client has the name or key of this invitation");
        }
    }
    clients.append(&mut known);
    for rotated in enrolled.rotated {
        let taken = keys.contains(&rotated.public.value);
        let of = |client: &&mut Client| {
            *client.name == *rotated.name && client.public.value == rotated.stanza
        };
        match clients.iter_mut().find(of) {
            Some(client) if !taken => {
                keys.insert(rotated.public.value.clone());
                let stanza = std::mem::replace(&mut client.public, rotated.public);
                let psk = std::mem::replace(&mut client.psk, rotated.psk);
                let (public, psk) = rotated.old.unwrap_or((stanza.value, psk.value));
                let former =
                    |until| Former { public, psk, until, kem: rotated.kem, invited: false };
                client.former = rotated.until.map(|until| Box::new(former(until)));
                client.since = rotated.since;
                client.undo = rotated.undo.map(Box::new);
            }
            _ => skip(
                &rotated.name,
                "its stanza has another key by now than the one that was rotated",
            ),
        }
    }
    clients.iter().for_each(|client| findings.append(find_changed_kind(&shown, client)));
    (invitations, findings)
}

/// Warns of keys that are of another kind than those before, while that can be undone.
fn find_changed_kind(shown: &str, client: &Client) -> Findings {
    let undo = client.undo.as_deref();
    let old = undo.and_then(|undo| ClientPublic::from_text(&undo.public).ok());
    let (Some(old), Some(new)) = (old, client.keys()) else { return Findings::default() };
    if old.kind == new.kind {
        return Findings::default();
    }
    let text = format!(
        "`{name}` has changed its keys from {} ({}) to {} ({}): if nobody knows of it, take them \
        back with: spa-server client undo {name}",
        Fingerprint::from(&old),
        old.kind.word(),
        Fingerprint::from(&new),
        new.kind.word(),
        name = client.name,
    );
    Findings::of_file(shown, Severity::Warning, text)
}
