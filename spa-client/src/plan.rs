//! All that knocking needs, read and derived before anything is sent.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use spa_keys::{Failure, Fingerprint, Folder, HostLine, Identity, exit};
use spa_proto::{ClientPublic, ClientSecret, Context, GateKeys, PairKey, SessionParts};

use crate::cli::{Reach, Target};
use crate::config::{BindSrc, Config, Family};
use crate::find::{self, Found};
use crate::{key, resolve};

/// One run.
pub(crate) struct Plan {
    /// The host's name in the folder.
    pub(crate) host: String,
    pub(crate) line: HostLine,
    pub(crate) addresses: Vec<SocketAddr>,
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
    pub(crate) successor: Option<ClientSecret>,
    context: Context,
    gate: GateKeys,
    pair: PairKey,
}

impl Plan {
    /// Reads and derives it.
    pub(crate) fn make(target: &Target, ttl: Option<u16>, reach: &Reach) -> Result<Self, Failure> {
        let folder = folder(reach.config.as_deref())?;
        let config = Config::read(&folder)?;
        let Found { host, line, by_ssh, family } = find::find(&folder, &config, &target.host)?;
        let settings = config.host(&host);
        let identity = identity(&folder, settings.identity(&folder), &line);
        let secret = key::read(&identity)?;
        let public = secret.public();
        check_enrolled(&host, &line, &identity, &public)?;
        let family = match (reach.ipv4, reach.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ if settings.family != Family::Auto => settings.family,
            _ => family,
        };
        let names =
            if settings.addresses.is_empty() { line.hosts.clone() } else { settings.addresses.clone() };
        let names = match by_ssh {
            // Where ssh will connect to, which decides the family; the line's names are the way out without a resolver.
            Some(name) if settings.addresses.is_empty() && resolve::resolves(&name) => vec![name],
            _ => names,
        };
        let addresses = resolve::addresses(&names, family, reach.verbose)?;

        let expected = if reach.expect_address.is_empty() {
            settings.expect_address
        } else {
            reach.expect_address.clone()
        };
        let plan = Self::of(host, line, secret, addresses, reach)?;
        Ok(Self {
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
        let context = Context::new(&line.server, &public);
        let gate = GateKeys::derive(&line.psk, &context);
        let pair =
            PairKey::of_client(&line.psk, secret.secret(), &line.server, &context).ok_or_else(|| {
                Failure::new(
                    exit::CONFIG,
                    format!("the server's key in the enrolment of {host} is not usable"),
                )
            })?;
        Ok(Self {
            host,
            line,
            addresses,
            services: Vec::new(),
            ttl_s: 0,
            bind_src: BindSrc::Auto,
            expected: Vec::new(),
            timeout: reach.timeout,
            verbose: reach.verbose,
            fingerprint: Fingerprint::from(&public),
            secret,
            successor: None,
            context,
            gate,
            pair,
        })
    }

    /// The pair key, from which a new pair's psk comes.
    pub(crate) fn pair(&self) -> &PairKey {
        &self.pair
    }

    /// What a session is made from.
    pub(crate) fn parts(&self) -> SessionParts<'_> {
        SessionParts {
            server: &self.line.server,
            context: &self.context,
            gate: &self.gate,
            pair: &self.pair,
            signer: &self.secret,
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
        "{host} was enrolled for another key than {} ({}); name the right one with: spa-client hosts set {host} identity FILE, or enrol anew: spa host add - --replace",
        identity.display(),
        Fingerprint::from(public)
    );
    Err(Failure::new(exit::CONFIG, message))
}
