//! All that knocking needs, read and derived before anything is sent.

mod seen_address;
pub(crate) mod session_keys;

pub(crate) use seen_address::SeenAddress;
pub(crate) use session_keys::SessionKeys;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use spa_keys::{Failure, Fingerprint, Folder, HostLine, Identity, LastAnswer, after_answer};
use spa_proto::{Ack, HedgeKey, KemCiphertext, NewKeys, Op, Psk, ServerKeys, SessionParts, Status};

use crate::address::{Family, ResolvedNames, find_source_address, has_address};
use crate::cli::{KnockOptions, Target};
use crate::clock::describe_offset;
use crate::host::{
    BindSrc, Config, FoundHost, check_enrolled, find_host, find_identity, read_key,
    read_passphrase_fd, read_unlocked_key,
};

/// Shortest time for a knock, however long its names took.
const MIN_KNOCK_TIME: Duration = Duration::from_millis(300);

/// Plan of one run.
pub(crate) struct Plan {
    /// The host's name in the folder.
    pub(crate) host: String,
    /// Enrolment line.
    pub(crate) line: HostLine,
    /// Addresses to knock at.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Names that gave the addresses.
    pub(crate) resolved: ResolvedNames,
    /// Addresses that are left out, because each would cost a touch of its own.
    pub(crate) left_out: Vec<SocketAddr>,
    /// Names of the services to knock for.
    pub(crate) services: Vec<String>,
    /// Ttl to ask for, in seconds; 0: as the server gives.
    pub(crate) ttl_s: u16,
    /// Address under which the server sees us.
    pub(crate) seen: SeenAddress,
    /// Time to try.
    pub(crate) timeout: Duration,
    /// End of the time for the first knocks, which resolving names is part of; `None`: it is over.
    first_deadline: Option<Instant>,
    /// Set by `-v`.
    pub(crate) verbose: bool,
    /// Fingerprint of this client's key.
    pub(crate) fingerprint: Fingerprint,
    secret: Identity,
    /// Keeps ephemeral keys apart when random bytes repeat.
    hedge: HedgeKey,
    /// Keys that ENROL and REKEY bring.
    successor: Option<Identity>,
    /// The server's keys, the first choice in front: one, or two while the server changes it.
    /// Never empty.
    session_keys: Mutex<Vec<Arc<SessionKeys>>>,
    /// Folder of the host's file; `None` while it has none.
    pub(crate) folder: Option<Folder>,
    /// Set when the user knows that it cannot be written.
    warned: AtomicBool,
    /// Set when the user knows that the clocks differ.
    clock_told: AtomicBool,
}

impl Plan {
    /// Reads the enrolment, the settings and the key for a target, and resolves its names.
    pub(crate) fn from_target(
        target: &Target,
        ttl: Option<u16>,
        options: &KnockOptions,
    ) -> Result<Self, Failure> {
        let folder = options.folder.find_folder()?;
        let config = Config::read_config(&folder)?;
        let FoundHost { host, line, ssh_host_name, family } =
            find_host(&folder, &config, &target.host)?;
        let settings = config.settings_of(&host);
        let identity = find_identity(&folder, settings.identity_path(&folder), &line);
        let secret = read_key(&identity, read_passphrase_fd(options.passphrase_fd)?.as_ref())?;
        let public = secret.public();
        check_enrolled(&host, &line, &identity, &public)?;
        let family = [options.chosen_family(), settings.family, family]
            .into_iter()
            .find(|family| *family != Family::Auto)
            .unwrap_or_default();
        let names = match &ssh_host_name {
            // Where ssh will connect to, which decides the family; the line's names are the way out
            // without a resolver.
            Some(name) if settings.addresses.is_empty() && has_address(name, options.timeout) => {
                std::slice::from_ref(name)
            }
            _ => settings.knock_names(&line),
        };
        let resolved = ResolvedNames::resolve(names, family, options.verbose, options.timeout)?;

        let expected = if options.expect_address.is_empty() {
            settings.expect_address
        } else {
            options.expect_address.clone()
        };
        let lines = folder.read_host_lines(&host)?;
        let plan = Self::from_enrolment(host, line, secret, resolved, options)?.with_lines(lines);
        Ok(Self {
            folder: Some(folder),
            services: target.services.iter().cloned().map(String::from).collect(),
            ttl_s: ttl.unwrap_or(0),
            seen: SeenAddress::new(settings.bind_src, expected),
            ..plan
        })
    }

    /// Makes a plan for these keys at these addresses.
    pub(crate) fn from_enrolment(
        host: String,
        line: HostLine,
        secret: Identity,
        resolved: ResolvedNames,
        options: &KnockOptions,
    ) -> Result<Self, Failure> {
        let public = secret.public();
        let keys = SessionKeys::derive_keys(line.clone(), &secret).ok_or_else(|| {
            Failure::config(format!("the server's key in the enrolment of {host} is not usable"))
        })?;
        let mut plan = Self {
            host,
            line,
            addresses: resolved.addresses.clone(),
            first_deadline: Some(
                Instant::now() + options.timeout.saturating_sub(resolved.took).max(MIN_KNOCK_TIME),
            ),
            resolved,
            left_out: Vec::new(),
            services: Vec::new(),
            ttl_s: 0,
            seen: SeenAddress::new(BindSrc::Auto, options.expect_address.clone()),
            timeout: options.timeout,
            verbose: options.verbose,
            fingerprint: Fingerprint::from(&public),
            hedge: secret.secret().hedge_key(),
            secret,
            successor: None,
            session_keys: Mutex::new(vec![Arc::new(keys)]),
            folder: None,
            warned: AtomicBool::new(false),
            clock_told: AtomicBool::new(false),
        };
        plan.spare_touches();
        Ok(plan)
    }

    /// Makes the plan anew with the host's present key, when another process has rotated ours away;
    /// `None`: it is the same, or one that the user would have to unlock.
    pub(crate) fn with_changed_key(&self) -> Option<Self> {
        let folder = self.folder.as_ref()?;
        let lines = folder.read_host_lines(&self.host).ok()?;
        let line = lines.first().filter(|line| line.client_check != self.line.client_check)?;
        let secret =
            read_unlocked_key(&folder.key_of(line)).filter(|key| line.is_for(&key.public()))?;
        let keys = SessionKeys::derive_keys(line.clone(), &secret)?;
        let plan = Self {
            line: line.clone(),
            fingerprint: Fingerprint::from(&secret.public()),
            hedge: secret.secret().hedge_key(),
            secret,
            session_keys: Mutex::new(vec![Arc::new(keys)]),
            ..self.with_addresses(self.addresses.clone())
        };
        Some(plan.with_lines(lines))
    }

    /// Copies the plan for later knocks, at these addresses.
    pub(crate) fn with_addresses(&self, addresses: Vec<SocketAddr>) -> Self {
        Self {
            host: self.host.clone(),
            line: self.line.clone(),
            addresses,
            resolved: self.resolved.clone(),
            first_deadline: None,
            left_out: self.left_out.clone(),
            services: self.services.clone(),
            seen: SeenAddress::new(self.seen.bind_src, self.seen.expected.clone()),
            fingerprint: self.fingerprint,
            hedge: self.secret.secret().hedge_key(),
            secret: self.secret.clone(),
            successor: None,
            session_keys: Mutex::new(
                self.session_keys.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ),
            folder: self.folder.clone(),
            warned: AtomicBool::new(self.warned.load(Ordering::Relaxed)),
            clock_told: AtomicBool::new(self.clock_told.load(Ordering::Relaxed)),
            ..*self
        }
    }

    /// Returns the moment to give up a knock that begins now.
    pub(crate) fn knock_deadline(&self) -> Instant {
        self.first_deadline.unwrap_or_else(|| Instant::now() + self.timeout)
    }

    /// Sets the keys that ENROL or REKEY brings.
    pub(crate) fn set_successor(&mut self, successor: Identity) {
        self.successor = Some(successor);
        self.spare_touches();
    }

    /// Returns the keys that ENROL or REKEY brings.
    pub(crate) fn successor(&self) -> Option<&Identity> {
        self.successor.as_ref()
    }

    /// Returns true if a session costs the user a touch.
    pub(crate) fn asks_for_touch(&self) -> bool {
        self.secret.asks_for_touch()
            || self.successor.as_ref().is_some_and(Identity::asks_for_touch)
    }

    /// Leaves out addresses when each costs a touch. A session is for one address, and a touch is
    /// for one session: of several addresses the first to which there is a way gets it, as a
    /// connection would take it.
    fn spare_touches(&mut self) {
        if self.addresses.len() < 2 || !self.asks_for_touch() {
            return;
        }
        let reached =
            self.addresses.iter().position(|address| find_source_address(*address).is_ok());
        let chosen = self.addresses.remove(reached.unwrap_or(0));
        self.left_out = std::mem::replace(&mut self.addresses, vec![chosen]);
        self.log_verbose(|| {
            format!(
                "one touch, one address: knocking at {}, not at {}",
                chosen.ip(),
                self.format_left_out()
            )
        });
    }

    /// Formats the addresses that are left out, for a sentence.
    pub(crate) fn format_left_out(&self) -> String {
        self.left_out
            .iter()
            .map(|address| address.ip().to_string())
            .collect::<Vec<_>>()
            .join(" and ")
    }

    /// Returns the name of a service; empty when there is none at this index.
    pub(crate) fn service_name(&self, index: usize) -> &str {
        self.services.get(index).map_or("", String::as_str)
    }

    /// Knocks by these lines instead, which differ in the server's key.
    pub(crate) fn with_lines(self, lines: Vec<HostLine>) -> Self {
        self.replace_session_keys(lines);
        self
    }

    /// Derives the keys of these lines anew; nothing changes when none is usable.
    fn replace_session_keys(&self, lines: Vec<HostLine>) {
        let keys: Vec<Arc<SessionKeys>> = lines
            .into_iter()
            .filter_map(|line| SessionKeys::derive_keys(line, &self.secret))
            .map(Arc::new)
            .collect();
        if !keys.is_empty() {
            *self.session_keys.lock().unwrap_or_else(PoisonError::into_inner) = keys;
        }
    }

    /// Makes the enrolment line of the pair that takes the place of this plan's pair, without an
    /// ML-KEM half.
    pub(crate) fn successor_line(&self, identity: &Identity) -> HostLine {
        let new = self.new_keys(identity);
        let (psk, client_check) = (new.psk(), HostLine::check_of(&new.public));
        HostLine { psk, client_check, ..self.line.clone() }
    }

    /// Derives the new pair's psk from a granted answer; `None`: it lacks what that takes.
    pub(crate) fn successor_psk(
        &self,
        with_kem: bool,
        ciphertext: Option<&KemCiphertext>,
    ) -> Option<Psk> {
        let new = self.new_keys(self.successor()?);
        if with_kem { Some(new.psk_by_kem(ciphertext?)) } else { Some(new.psk()) }
    }

    /// Returns the enrolment lines that are in use, one for each key of the server.
    pub(crate) fn lines(&self) -> Vec<HostLine> {
        let keys = self.session_keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|keys| keys.line.clone()).collect()
    }

    /// Returns the keys by one key of the server, the first choice at 0; counted round.
    pub(crate) fn session_keys_at(&self, turn: usize) -> Option<Arc<SessionKeys>> {
        let keys = self.session_keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(turn.checked_rem(keys.len())?).map(Arc::clone)
    }

    /// Counts the keys of the server to knock by.
    pub(crate) fn server_key_count(&self) -> usize {
        self.session_keys.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Borrows the parts of a session by these keys.
    pub(crate) fn session_parts<'a>(&'a self, keys: &'a SessionKeys) -> SessionParts<'a> {
        SessionParts {
            server: &keys.line.server,
            context: &keys.context,
            tag: &keys.tag,
            pair: &keys.pair,
            signer: &self.secret,
            hedge: &self.hedge,
        }
    }

    /// Borrows the new keys of a request from the identity that holds them.
    pub(crate) fn new_keys<'a>(&'a self, identity: &'a Identity) -> NewKeys<'a> {
        NewKeys {
            public: identity.public(),
            secret: identity.secret(),
            signer: identity,
            old: self.secret.public(),
            old_psk: &self.line.psk,
        }
    }

    /// Records for `spa check` that the host has answered this key.
    pub(crate) fn record_answer(&self, keys: &SessionKeys, op: Op, ack: &Ack) {
        let Some(folder) = &self.folder else { return };
        let answer = match (ack.status, ack.reason) {
            (Status::Granted, _) => "granted",
            (_, reason) => reason.word(),
        };
        // To close is allowed to whoever may not open any more.
        let decided = matches!(op, Op::Open | Op::Renew)
            && matches!(ack.status, Status::Granted | Status::Denied);
        LastAnswer::record(folder, &self.host, &keys.line, answer, decided);
    }

    /// Takes over what an authentic answer by this key of the server says of its keys, here and on
    /// the disk.
    pub(crate) fn update_server_keys(&self, keys: &SessionKeys, told: Option<&ServerKeys>) {
        let lines = self.lines();
        let Some(fresh) = after_answer(&lines, &keys.line, told) else { return };
        let first = fresh.first().map(|line| Fingerprint::from(&line.server).to_string());
        let first = first.unwrap_or_default();
        self.log_verbose(|| match fresh.len() {
            1 => format!("{} answers with its key {first}; the other one is dropped", self.host),
            _ => format!(
                "{} has a new key {first}; the old one is kept until it answers with that",
                self.host
            ),
        });
        self.replace_session_keys(fresh);
        let Some(folder) = &self.folder else { return };
        // The knock itself has succeeded.
        if let Err(error) = folder.answered(&self.host, &keys.line, told)
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            spa_keys::note!(
                "spa-client: {} changes its key, and the change could not be written: {error}; \
                 fix that before the server drops the old one, or this client is locked out",
                self.host
            );
        }
    }

    /// Warns once of a clock that is off so far that the server's own was taken.
    pub(crate) fn warn_of_clock(&self, offset_ms: i64) {
        if !self.clock_told.swap(true, Ordering::Relaxed) {
            spa_keys::note!(
                "spa-client: warning: {}; knocking by that one. Put it right: timedatectl set-ntp \
                 true",
                describe_offset(offset_ms, &self.host)
            );
        }
    }

    /// Writes a line on standard error, with `-v` only.
    pub(crate) fn log_verbose(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            spa_keys::note!("spa-client: {}", text());
        }
    }
}
