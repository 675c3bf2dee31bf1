//! All that knocking needs, read and derived before anything is sent.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use spa_keys::{Failure, Fingerprint, Folder, HostLine, Identity, LastAnswer, after_answer, exit};
use spa_proto::{
    Ack, ClientPublic, Context, GateKeys, Op, PairKey, ServerKeys, SessionParts, Status,
};

use crate::address::resolve;
use crate::address::source;
use crate::cli::{Reach, Target};
use crate::host::find::{self, Found};
use crate::host::key;
use crate::host::settings::{BindSrc, Config, Family};

/// What a session by one key of the server is made from.
pub(crate) struct By {
    pub(crate) line: HostLine,
    context: Context,
    gate: GateKeys,
    pair: PairKey,
}

impl By {
    fn new(line: HostLine, secret: &Identity) -> Option<Self> {
        let context = Context::new(&line.server, &secret.public());
        let gate = GateKeys::derive(&line.psk, &context);
        let pair = PairKey::of_client(&line.psk, secret.secret(), &line.server, &context)?;
        Some(Self { line, context, gate, pair })
    }
}

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
    by: Mutex<Vec<Arc<By>>>,
    /// Where the host's file lies; `None` while it has none.
    folder: Option<Folder>,
    /// The user knows that it cannot be written.
    warned: AtomicBool,
}

impl Plan {
    /// Reads and derives it.
    pub(crate) fn make(target: &Target, ttl: Option<u16>, reach: &Reach) -> Result<Self, Failure> {
        let folder = folder(reach.config.as_deref())?;
        let config = Config::read(&folder)?;
        let Found { host, line, by_ssh, family } = find::find(&folder, &config, &target.host)?;
        let settings = config.host(&host);
        let identity = identity(&folder, settings.identity(&folder), &line);
        let secret = key::read(&identity, key::passphrase(reach.passphrase_fd)?.as_ref())?;
        let public = secret.public();
        check_enrolled(&host, &line, &identity, &public)?;
        let family = match (reach.ipv4, reach.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ if settings.family != Family::Auto => settings.family,
            _ => family,
        };
        let names = if settings.addresses.is_empty() {
            line.hosts.clone()
        } else {
            settings.addresses.clone()
        };
        let names = match by_ssh {
            // Where ssh will connect to, which decides the family; the line's names are the way out
            // without a resolver.
            Some(name) if settings.addresses.is_empty() && resolve::resolves(&name) => vec![name],
            _ => names,
        };
        let addresses = resolve::addresses(&names, family, reach.verbose)?;

        let expected = if reach.expect_address.is_empty() {
            settings.expect_address
        } else {
            reach.expect_address.clone()
        };
        let lines = folder.read_host_lines(&host)?;
        let plan = Self::of(host, line, secret, addresses, reach)?.with_lines(lines);
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
    pub(crate) fn of(
        host: String,
        line: HostLine,
        secret: Identity,
        addresses: Vec<SocketAddr>,
        reach: &Reach,
    ) -> Result<Self, Failure> {
        let public = secret.public();
        let by = By::new(line.clone(), &secret).ok_or_else(|| {
            Failure::new(
                exit::CONFIG,
                format!("the server's key in the enrolment of {host} is not usable"),
            )
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
            timeout: reach.timeout,
            verbose: reach.verbose,
            fingerprint: Fingerprint::from(&public),
            secret,
            successor: None,
            by: Mutex::new(vec![Arc::new(by)]),
            folder: None,
            warned: AtomicBool::new(false),
        };
        plan.spare_touches();
        Ok(plan)
    }

    /// With the keys that ENROL or REKEY brings.
    pub(crate) fn bring(&mut self, successor: Identity) {
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
            self.addresses.iter().position(|address| source::source_for(*address).is_ok());
        let chosen = self.addresses.remove(reached.unwrap_or(0));
        self.left_out = std::mem::replace(&mut self.addresses, vec![chosen]);
        self.tell(|| {
            format!(
                "one touch, one address: knocking at {}, not at {}",
                chosen.ip(),
                self.left_out()
            )
        });
    }

    /// The addresses that are left out, for a sentence.
    pub(crate) fn left_out(&self) -> String {
        self.left_out
            .iter()
            .map(|address| address.ip().to_string())
            .collect::<Vec<_>>()
            .join(" and ")
    }

    /// Both public halves of the key.
    pub(crate) fn public(&self) -> ClientPublic {
        self.secret.public()
    }

    /// The same by these lines, which differ in the server's key.
    pub(crate) fn with_lines(self, lines: Vec<HostLine>) -> Self {
        self.take(lines);
        self
    }

    fn take(&self, lines: Vec<HostLine>) {
        let by: Vec<Arc<By>> = lines
            .into_iter()
            .filter_map(|line| By::new(line, &self.secret))
            .map(Arc::new)
            .collect();
        if !by.is_empty() {
            *self.by.lock().unwrap_or_else(PoisonError::into_inner) = by;
        }
    }

    /// A new pair's psk, as far as this pair decides it: `psk` is given the server's key and the
    /// pair key.
    pub(crate) fn pair<T>(&self, psk: impl FnOnce(&PairKey) -> T) -> Option<T> {
        self.by(0).map(|by| psk(&by.pair))
    }

    /// A key of the server, the first choice at 0; counted round.
    pub(crate) fn by(&self, turn: usize) -> Option<Arc<By>> {
        let by = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        by.get(turn.checked_rem(by.len())?).map(Arc::clone)
    }

    /// How many keys of the server there are to knock by.
    pub(crate) fn keys(&self) -> usize {
        self.by.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What a session is made from.
    pub(crate) fn parts<'a>(&'a self, by: &'a By) -> SessionParts<'a> {
        SessionParts {
            server: &by.line.server,
            context: &by.context,
            gate: &by.gate,
            pair: &by.pair,
            signer: &self.secret,
        }
    }

    /// Notes down for `spa check` that the host has answered this key.
    pub(crate) fn heard(&self, by: &By, op: Op, ack: &Ack) {
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
    pub(crate) fn answered(&self, by: &By, told: Option<&ServerKeys>) {
        let lines: Vec<HostLine> = {
            let by = self.by.lock().unwrap_or_else(PoisonError::into_inner);
            by.iter().map(|by| by.line.clone()).collect()
        };
        let Some(fresh) = after_answer(&lines, &by.line, told) else { return };
        let first = fresh.first().map(|line| Fingerprint::from(&line.server).to_string());
        let first = first.unwrap_or_default();
        self.tell(|| match fresh.len() {
            1 => format!("{} answers by its key {first}; the other one is dropped", self.host),
            _ => format!(
                "{} has a new key {first}; the old one stays until it answers by that",
                self.host
            ),
        });
        self.take(fresh);
        let Some(folder) = &self.folder else { return };
        // The knock itself has succeeded.
        if let Err(error) = folder.answered(&self.host, &by.line, told)
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            spa_keys::note!(
                "spa-client: {} changes its key, and the change could not be written: {error}; \
                 mend that before the server drops the old one, or this client is locked out",
                self.host
            );
        }
    }

    /// With `-v` only.
    pub(crate) fn tell(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            spa_keys::note!("spa-client: {}", text());
        }
    }
}

/// The key of a host: its own after a rotation, else what the settings say.
pub(crate) fn identity(folder: &Folder, settings: PathBuf, line: &HostLine) -> PathBuf {
    let own = folder.key_of(line);
    if own.exists() { own } else { settings }
}

/// The folder that the user has named, or the user's own.
pub(crate) fn folder(named: Option<&Path>) -> Result<Folder, Failure> {
    match named {
        Some(path) => Ok(Folder::at(path.to_owned())),
        None => Ok(Folder::of_user()?),
    }
}

/// Whether the line was made for this key: another one would meet silence.
pub(crate) fn check_enrolled(
    host: &str,
    line: &HostLine,
    identity: &Path,
    public: &ClientPublic,
) -> Result<(), Failure> {
    if line.is_for(public) {
        return Ok(());
    }
    let message = format!(
        "{host} was enrolled for another key than {} ({}); name the right one with: spa-client \
         hosts set {host} identity FILE, or enrol anew: spa host add - --replace",
        identity.display(),
        Fingerprint::from(public)
    );
    Err(Failure::new(exit::CONFIG, message))
}
