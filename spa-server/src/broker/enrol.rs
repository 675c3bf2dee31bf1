//! ENROL and REKEY: the listener asks, and is not believed. What the holder of the old keys has
//! signed is looked at here, and the stanza comes from the file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use spa_keys::TextForm;
use spa_proto::{ClientPublic, Evidence, Op, Psk, ServerPublic};

use crate::config::clients::{self, NewKeys, ReplaceError, enrolled_file};
use crate::config::{Config, Secret};
use crate::ipc::message::{ReplaceRequest, RequestError};

/// Largest distance of a request's time from now: the widest window of knocks, and what a
/// slow disk takes.
const MAX_REQUEST_AGE: Duration = Duration::from_secs(600);

/// Each change is a reload, which costs all clients something: a client of ours that is malicious
/// gets so many of them in this time.
const MAX_ROTATIONS: u32 = 6;
const ROTATION_WINDOW: Duration = Duration::from_secs(600);

/// Number of key changes of each client lately.
#[derive(Debug, Default)]
pub(super) struct Rotations(HashMap<String, (Instant, u32)>);

impl Rotations {
    /// Checks that this client may change its keys once more.
    pub(super) fn check_rate(&mut self, client: &str) -> Result<(), RequestError> {
        self.0.retain(|_, (since, _)| since.elapsed() < ROTATION_WINDOW);
        match self.0.get(client) {
            Some((_, count)) if *count >= MAX_ROTATIONS => Err(RequestError::TooLate(
                "its keys were changed too often in the last ten minutes".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// It has. Only who could sign for it gets here, so there are no more names than clients.
    pub(super) fn count_rotation(&mut self, client: &str) {
        self.0.entry(client.to_owned()).or_insert_with(|| (Instant::now(), 0)).1 += 1;
    }
}

/// Checks it and makes it durable.
pub(super) fn replace_keys(
    asked: &ReplaceRequest,
    config: &Config,
    servers: &[ServerPublic],
) -> Result<(), RequestError> {
    let refused = |text: &str| RequestError::Refused(text.to_owned());
    let old = ClientPublic::from_text(&asked.old).map_err(|_| refused("the old key is none"))?;
    let new = ClientPublic::from_text(&asked.new).map_err(|_| refused("the new key is none"))?;
    Psk::from_text(&asked.psk).map_err(|_| refused("the pair key is none"))?;
    if !super::authorize::is_client_name(&asked.client) {
        return Err(refused("no such client"));
    }
    let now_ms = unix_ms();
    let evidence = Evidence::from_bytes(asked.evidence.clone());
    // By whichever key of ours its client came.
    let body = servers.iter().find_map(|server| evidence.read(server, &old));
    let body = body.ok_or_else(|| refused("the holder of the old key has not signed that"))?;
    let wanted = if asked.invited { Op::Enrol(new) } else { Op::Rekey(new) };
    if body.op != wanted {
        return Err(refused("the holder of the old key has signed something else"));
    }
    if u128::from(body.ts_ms.abs_diff(now_ms)) > MAX_REQUEST_AGE.as_millis() {
        return Err(refused("the request is old"));
    }
    let keys = NewKeys { public: asked.new.clone(), psk: Secret::new(asked.psk.clone()) };
    let path = enrolled_path(config);
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
    done.map_err(to_request_error)
}

/// The client has its new keys: those before end. Whether there were any.
pub(super) fn confirm_keys(client: &str, config: &Config) -> Result<bool, RequestError> {
    if !super::authorize::is_client_name(client) {
        return Err(RequestError::Refused("no such client".to_owned()));
    }
    clients::seen(&enrolled_path(config), client).map_err(to_request_error)
}

fn enrolled_path(config: &Config) -> PathBuf {
    enrolled_file(&config.server.state)
}

fn to_request_error(error: ReplaceError) -> RequestError {
    match error {
        ReplaceError::Refused(text) => RequestError::TooLate(text.to_owned()),
        ReplaceError::Edit(error) => RequestError::Failed(error.to_string()),
    }
}

fn unix_ms() -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
