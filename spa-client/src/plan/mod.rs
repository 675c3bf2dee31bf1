//! All that knocking needs, read and derived before anything is sent.

mod session_keys;

pub(crate) use session_keys::SessionKeys;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use spa_keys::{Failure, Fingerprint, Folder, HostLine, Identity, LastAnswer, after_answer};
use spa_proto::{Ack, ClientPublic, NewKeys, Op, ServerKeys, SessionParts, Status};

use crate::address::{Family, find_source_address, has_address, resolve_names};
use crate::cli::{KnockOptions, Target};
use crate::host::{
    BindSrc, Config, FoundHost, check_enrolled, find_host, find_identity, read_key,
    read_passphrase_fd,
};

/// One run.
pub(crate) struct Plan {
    /// The host's name in the folder.
    pub(crate) host: String,
    pub(crate) line: HostLine,
    pub(crate) addresses: Vec<SocketAddr>,
    /// Addresses that are left out, because each would cost a touch of its own.
    pub(crate) left_out: Vec<SocketAddr>,
    pub(crate) services: Vec<String>,
    /// 0: as the server gives.
    pub(crate) ttl_s: u16,
    pub(crate) bind_src: BindSrc,
    /// Under which addresses the server may see us; empty: nobody said.
    pub(crate) expected: Vec<IpNet>,
    pub(crate) timeout: Duration,
    pub(crate) verbose: bool,
    pub(crate) fingerprint: Fingerprint,
    secret: Identity,
    /// What ENROL and REKEY bring.
    successor: Option<Identity>,
    /// The server's keys, the first choice in front: one, or two while the server changes it.
    /// Never empty.
    session_keys: Mutex<Vec<Arc<SessionKeys>>>,
    /// Where the host's file lies; `None` while it has none.
    folder: Option<Folder>,
    /// The user knows that it cannot be written.
    warned: AtomicBool,
}

impl Plan {
    /// Reads and derives it.
    pub(crate) fn from_target(
        target: &Target,
        ttl: Option<u16>,
        options: &KnockOptions,
    ) -> Result<Self, Failure> {
        let folder = options.folder.find_folder()?;
        let config = Config::read_config(&folder)?;
        let FoundHost { host, line, ssh_host_name: by_ssh, family } =
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
        let names = if settings.addresses.is_empty() {
            line.hosts.clone()
        } else {
            settings.addresses.clone()
        };
        let names = match by_ssh {
            // Where ssh will connect to, which decides the family; the line's names are the way out
            // without a resolver.
            Some(name) if settings.addresses.is_empty() && has_address(&name) => vec![name],
            _ => names,
        };
        let addresses = resolve_names(&names, family, options.verbose)?;

        let expected = if options.expect_address.is_empty() {
            settings.expect_address
        } else {
            options.expect_address.clone()
        };
        let lines = folder.read_host_lines(&host)?;
        let plan = Self::from_enrolment(host, line, secret, addresses, options)?.with_lines(lines);
        Ok(Self {
            folder: Some(folder),
            services: target.services.clone(),
            ttl_s: ttl.unwrap_or(0),
            bind_src: settings.bind_src,
            expected,
            ..plan
        })
    }

    /// For these keys at these addresses.
    pub(crate) fn from_enrolment(
        host: String,
        line: HostLine,
        secret: Identity,
        addresses: Vec<SocketAddr>,
        options: &KnockOptions,
    ) -> Result<Self, Failure> {
        let public = secret.public();
        let by = SessionKeys::derive_keys(line.clone(), &secret).ok_or_else(|| {
            Failure::config(format!("the server's key in the enrolment of {host} is not usable"))
        })?;
        let mut plan = Self {
            host,
            line,
            addresses,
            left_out: Vec::new(),
            services: Vec::new(),
            ttl_s: 0,
            bind_src: BindSrc::Auto,
            expected: Vec::new(),
            timeout: options.timeout,
            verbose: options.verbose,
            fingerprint: Fingerprint::from(&public),
            secret,
            successor: None,
            session_keys: Mutex::new(vec![Arc::new(by)]),
            folder: None,
            warned: AtomicBool::new(false),
        };
        plan.spare_touches();
        Ok(plan)
    }

    /// With the keys that ENROL or REKEY brings.
    pub(crate) fn set_successor(&mut self, successor: Identity) {
        self.successor = Some(successor);
        self.spare_touches();
    }

    /// The keys that ENROL or REKEY brings.
    pub(crate) fn successor(&self) -> Option<&Identity> {
        self.successor.as_ref()
    }

    /// Whether a session costs the user a touch.
    pub(crate) fn asks_for_touch(&self) -> bool {
        self.secret.asks_for_touch()
            || self.successor.as_ref().is_some_and(Identity::asks_for_touch)
    }

    /// A session is for one address, and a touch is for one session: of several addresses the first
    /// to which there is a way gets it, as a connection would take it.
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

    /// The addresses that are left out, for a sentence.
    pub(crate) fn format_left_out(&self) -> String {
        self.left_out
            .iter()
            .map(|address| address.ip().to_string())
            .collect::<Vec<_>>()
            .join(" and ")
    }

    /// Both public halves of the key.
    pub(crate) fn public_key(&self) -> ClientPublic {
        self.secret.public()
    }

    /// The same by these lines, which differ in the server's key.
    pub(crate) fn with_lines(self, lines: Vec<HostLine>) -> Self {
        self.replace_session_keys(lines);
        self
    }

    fn replace_session_keys(&self, lines: Vec<HostLine>) {
        let by: Vec<Arc<SessionKeys>> = lines
            .into_iter()
            .filter_map(|line| SessionKeys::derive_keys(line, &self.secret))
            .map(Arc::new)
            .collect();
        if !by.is_empty() {
            *self.session_keys.lock().unwrap_or_else(PoisonError::into_inner) = by;
        }
    }

    /// Makes the enrolment line of the pair that takes the place of this plan's pair.
    pub(crate) fn successor_line(&self, identity: &Identity) -> Result<HostLine, Failure> {
        let new = new_keys(identity);
        let psk = self.session_keys_at(0).and_then(|keys| keys.derive_psk(&new));
        let psk = psk.ok_or_else(|| Failure::config("the server's key is not usable"))?;
        Ok(HostLine { psk, client_check: HostLine::check_of(&new.public), ..self.line.clone() })
    }

    /// A key of the server, the first choice at 0; counted round.
    pub(crate) fn session_keys_at(&self, turn: usize) -> Option<Arc<SessionKeys>> {
        let by = self.session_keys.lock().unwrap_or_else(PoisonError::into_inner);
        by.get(turn.checked_rem(by.len())?).map(Arc::clone)
    }

    /// How many keys of the server there are to knock by.
    pub(crate) fn server_key_count(&self) -> usize {
        self.session_keys.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Borrows the parts of a session by these keys.
    pub(crate) fn session_parts<'a>(&'a self, keys: &'a SessionKeys) -> SessionParts<'a> {
        keys.session_parts(&self.secret)
    }

    /// Notes down for `spa check` that the host has answered this key.
    pub(crate) fn record_answer(&self, by: &SessionKeys, op: Op, ack: &Ack) {
        let Some(folder) = &self.folder else { return };
        let answer = match (ack.status, ack.reason) {
            (Status::Granted, _) => "granted",
            (_, reason) => reason.word(),
        };
        // To close is allowed to whoever may not open any more.
        let decided = matches!(op, Op::Open | Op::Renew)
            && matches!(ack.status, Status::Granted | Status::Denied);
        LastAnswer::record(folder, &self.host, &by.line, answer, decided);
    }

    /// An authentic answer came by this key of the server: what it says of its keys is taken over,
    /// here and on the disk.
    pub(crate) fn update_server_keys(&self, by: &SessionKeys, told: Option<&ServerKeys>) {
        let lines: Vec<HostLine> = {
            let by = self.session_keys.lock().unwrap_or_else(PoisonError::into_inner);
            by.iter().map(|by| by.line.clone()).collect()
        };
        let Some(fresh) = after_answer(&lines, &by.line, told) else { return };
        let first = fresh.first().map(|line| Fingerprint::from(&line.server).to_string());
        let first = first.unwrap_or_default();
        self.log_verbose(|| match fresh.len() {
            1 => format!("{} answers by its key {first}; the other one is dropped", self.host),
            _ => format!(
                "{} has a new key {first}; the old one stays until it answers by that",
                self.host
            ),
        });
        self.replace_session_keys(fresh);
        let Some(folder) = &self.folder else { return };
        // The knock itself has succeeded.
        if let Err(error) = folder.answered(&self.host, &by.line, told)
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            spa_keys::note!(
                "spa-client: {} changes its key, and the change could not be written: {error}; \
                 fix that before the server drops the old one, or this client is locked out",
                self.host
            );
        }
    }

    /// With `-v` only.
    pub(crate) fn log_verbose(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            spa_keys::note!("spa-client: {}", text());
        }
    }
}

/// Borrows the new keys of a request from the identity that holds them.
pub(crate) fn new_keys(identity: &Identity) -> NewKeys<'_> {
    NewKeys { public: identity.public(), secret: identity.secret(), signer: identity }
}
