//! ENROL and REKEY: the listener asks, and is not believed. What the holder of the old keys has
//! signed is looked at here, and the stanza comes from the file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use spa_keys::TextForm;
use spa_proto::{ClientPublic, Evidence, Op, Psk, ServerPublic};
use zeroize::Zeroizing;

use crate::config::clients::{self, NewKeys, ReplaceError, enrolled_file};
use crate::config::{Config, Secret};
use crate::ipc::message::Trouble;

/// How far from now a request may say that it was made: the widest window of knocks, and what a
/// slow disk takes.
const FRESH: Duration = Duration::from_secs(600);

/// Each change is a reload, which costs all clients something: a client of ours that is malicious
/// gets so many of them in this time.
const ROTATIONS: u32 = 6;
const IN: Duration = Duration::from_secs(600);

/// How often each client has changed its keys lately.
#[derive(Debug, Default)]
pub(super) struct Rotations(HashMap<String, (Instant, u32)>);

impl Rotations {
    /// Whether this client may once more.
    pub(super) fn may(&mut self, client: &str) -> Result<(), Trouble> {
        self.0.retain(|_, (since, _)| since.elapsed() < IN);
        match self.0.get(client) {
            Some((_, count)) if *count >= ROTATIONS => Err(Trouble::Gone(
                "its keys were changed too often in the last ten minutes".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// It has. Only who could sign for it gets here, so there are no more names than clients.
    pub(super) fn count(&mut self, client: String) {
        self.0.entry(client).or_insert_with(|| (Instant::now(), 0)).1 += 1;
    }
}

/// What the listener asks for.
pub(super) struct Asked {
    /// The old keys are an invitation's.
    pub(super) invited: bool,
    /// The client's name.
    pub(super) client: String,
    /// The old public key as text.
    pub(super) old: String,
    /// The new one.
    pub(super) new: String,
    /// The new pair key as text.
    pub(super) psk: Zeroizing<String>,
    /// The signed request.
    pub(super) evidence: Vec<u8>,
}

/// Checks it and makes it durable.
pub(super) fn replace(
    asked: Asked,
    config: &Config,
    servers: &[ServerPublic],
) -> Result<(), Trouble> {
    let refused = |text: &str| Trouble::Refused(text.to_owned());
    let old = ClientPublic::from_text(&asked.old).map_err(|_| refused("the old key is none"))?;
    let new = ClientPublic::from_text(&asked.new).map_err(|_| refused("the new key is none"))?;
    Psk::from_text(&asked.psk).map_err(|_| refused("the pair key is none"))?;
    if !super::authorize::is_client_name(&asked.client) {
        return Err(refused("no such client"));
    }
    let now_ms = unix_ms();
    let evidence = Evidence::from_bytes(asked.evidence);
    // By whichever key of ours its client came.
    let body = servers.iter().find_map(|server| evidence.read(server, &old));
    let body = body.ok_or_else(|| refused("the holder of the old key has not signed that"))?;
    let wanted = if asked.invited { Op::Enrol(new) } else { Op::Rekey(new) };
    if body.op != wanted {
        return Err(refused("the holder of the old key has signed something else"));
    }
    if u128::from(body.ts_ms.abs_diff(now_ms)) > FRESH.as_millis() {
        return Err(refused("the request is old"));
    }
    let keys = NewKeys { public: asked.new, psk: Secret::new((*asked.psk).clone()) };
    let path = file(config);
    let done = if asked.invited {
        clients::enrol_client(&path, &asked.old, &keys, now_ms)
    } else {
        let overlap = u64::try_from(config.server.rotate_overlap.as_millis()).unwrap_or(u64::MAX);
        clients::replace_keys(
            &path,
            &asked.client,
            &asked.old,
            &keys,
            now_ms.saturating_add(overlap),
        )
    };
    done.map_err(trouble)
}

/// The client has its new keys: those before end. Whether there were any.
pub(super) fn seen(client: &str, config: &Config) -> Result<bool, Trouble> {
    if !super::authorize::is_client_name(client) {
        return Err(Trouble::Refused("no such client".to_owned()));
    }
    clients::seen(&file(config), client).map_err(trouble)
}

fn file(config: &Config) -> PathBuf {
    enrolled_file(&config.server.state)
}

fn trouble(error: ReplaceError) -> Trouble {
    match error {
        ReplaceError::Refused(text) => Trouble::Gone(text.to_owned()),
        ReplaceError::Edit(error) => Trouble::Other(error.to_string()),
    }
}

fn unix_ms() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
