//! ENROL and REKEY: the listener asks, and is not believed. What the holder of the old keys has
//! signed is looked at here, and the stanza comes from the file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use spa_keys::{TextForm, UnixMillis};
use spa_proto::{ClientPublic, Evidence, Op, Psk, ServerPublic};

use super::authorize::{Authorization, is_client_name};
use crate::config::clients::{self, NewKeys, ReplaceError, enrolled_file};
use crate::config::{Config, Secret};
use crate::ipc::message::{ReplaceRequest, RequestError};
use crate::log::{self, Level};

/// Largest distance of a request's time from now: the widest window of knocks, and what a
/// slow disk takes.
const MAX_REQUEST_AGE: Duration = Duration::from_secs(600);

/// Time between two searches for former keys whose time is over.
const ERASE_INTERVAL: Duration = Duration::from_secs(3600);

/// Each change is a reload, which costs all clients something: a client of ours that is malicious
/// gets so many of them in this time.
const MAX_ROTATIONS: u32 = 6;
const ROTATION_WINDOW: Duration = Duration::from_secs(600);

/// Changes of clients' keys.
#[derive(Debug, Default)]
pub(super) struct KeyChanges {
    /// Whose requests for new keys are ours.
    servers: Vec<ServerPublic>,
    /// Set when keys were replaced since the listener last read them.
    changed: bool,
    /// No key is replaced for now.
    keys_stay: bool,
    /// When former keys are to be erased whose time is over; `None`: at once.
    erase_at: Option<Instant>,
    /// Changes of each client lately. Only who could sign for it gets here, so there are no more
    /// names than clients.
    rotations: HashMap<String, (Instant, u32)>,
}

impl KeyChanges {
    /// From now on requests are for the server with one of these keys.
    pub(super) fn set_servers(&mut self, servers: &[ServerPublic]) {
        self.servers = servers.to_vec();
    }

    /// Puts requests off, as during a trial, or takes them again.
    pub(super) fn keep_keys(&mut self, stay: bool) {
        self.keys_stay = stay;
    }

    /// Tells whether keys were replaced since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Checks a request and makes it durable.
    pub(super) fn replace_keys(
        &mut self,
        asked: &ReplaceRequest,
        current: &Authorization,
    ) -> Result<(), RequestError> {
        self.check_trial()?;
        self.check_rate(&asked.client)?;
        replace_keys(asked, current, &self.servers)?;
        let client = self.rotations.entry(asked.client.clone());
        client.or_insert_with(|| (Instant::now(), 0)).1 += 1;
        self.changed = true;
        Ok(())
    }

    /// Ends the keys of before: the client has its new ones.
    pub(super) fn confirm_keys(
        &mut self,
        client: &str,
        config: &Config,
    ) -> Result<(), RequestError> {
        self.check_trial()?;
        if !is_client_name(client) {
            return Err(RequestError::Refused("no such client".to_owned()));
        }
        self.changed |= clients::seen(&enrolled_path(config), client).map_err(to_request_error)?;
        Ok(())
    }

    /// When [`KeyChanges::erase_former`] has something to do.
    pub(super) fn next_erase(&self) -> Instant {
        self.erase_at.unwrap_or_else(Instant::now)
    }

    /// Erases former keys whose time is over, once an hour.
    pub(super) fn erase_former(&mut self, config: &Config) {
        if self.next_erase() > Instant::now() {
            return;
        }
        self.erase_at = Some(Instant::now() + ERASE_INTERVAL);
        if let Err(error) =
            clients::erase_former(&enrolled_path(config), UnixMillis::now().as_millis())
        {
            log::event(Level::Warn, "former-keys-stay").with("error", error).emit();
        }
    }

    fn check_trial(&self) -> Result<(), RequestError> {
        if !self.keys_stay {
            return Ok(());
        }
        Err(RequestError::Failed(
            "a trial of another configuration is running: try again when it is over".to_owned(),
        ))
    }

    /// Checks that this client may change its keys once more.
    fn check_rate(&mut self, client: &str) -> Result<(), RequestError> {
        self.rotations.retain(|_, (since, _)| since.elapsed() < ROTATION_WINDOW);
        match self.rotations.get(client) {
            Some((_, count)) if *count >= MAX_ROTATIONS => Err(RequestError::TooLate(
                "its keys were changed too often in the last ten minutes".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

fn replace_keys(
    asked: &ReplaceRequest,
    current: &Authorization,
    servers: &[ServerPublic],
) -> Result<(), RequestError> {
    let refused = |text: &str| RequestError::Refused(text.to_owned());
    let old =
        ClientPublic::from_text(&asked.old).map_err(|_| refused("the old key is not a key"))?;
    let new =
        ClientPublic::from_text(&asked.new).map_err(|_| refused("the new key is not a key"))?;
    Psk::from_text(&asked.psk).map_err(|_| refused("the pair key is not a key"))?;
    if !is_client_name(&asked.client) {
        return Err(refused("no such client"));
    }
    let now_ms = UnixMillis::now().as_millis();
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
    if !asked.invited {
        current.check_rekey(&asked.client, &old, &new, now_ms)?;
    }
    if asked.kem.as_ref().is_some_and(|kem| Psk::from_text(kem).is_err()) {
        return Err(refused("the ML-KEM half is not a key"));
    }
    let keys = NewKeys {
        public: asked.new.clone(),
        psk: Secret::new(asked.psk.clone()),
        kem: asked.kem.clone().map(Secret::new),
    };
    let path = enrolled_path(&current.config);
    let overlap = current.config.server.rotate_overlap;
    let done = if asked.invited {
        clients::enrol_client(&path, &asked.old, &keys, now_ms, overlap)
    } else {
        clients::replace_keys(&path, &asked.client, &asked.old, &keys, now_ms, overlap)
    };
    done.map_err(to_request_error)
}

fn enrolled_path(config: &Config) -> PathBuf {
    enrolled_file(&config.server.state)
}

fn to_request_error(error: ReplaceError) -> RequestError {
    match error {
        ReplaceError::Refused(text) => RequestError::TooLate(text.to_owned()),
        // Asked again, the listener knows what is stored.
        ReplaceError::JustTaken | ReplaceError::Edit(_) => RequestError::Failed(error.to_string()),
    }
}
