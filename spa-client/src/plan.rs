//! All that one run of `open` needs, read and derived before anything is sent.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use spa_keys::file::FileError;
use spa_keys::key_file::{self, KeyFileError};
use spa_keys::{Fingerprint, Folder, FolderError, HostLine, PassphraseSource, exit};
use spa_proto::{ClientSecret, Context, GateKeys, PairKey, SessionParts};

use crate::cli::Open;
use crate::config::{BindSrc, Config, Family};
use crate::resolve;
use spa_keys::Failure;

/// One run.
pub(crate) struct Plan {
    /// The host's name in the folder.
    pub(crate) host: String,
    pub(crate) host_file: PathBuf,
    pub(crate) line: HostLine,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) services: Vec<String>,
    /// 0: as the server gives.
    pub(crate) ttl_s: u16,
    pub(crate) bind_src: BindSrc,
    pub(crate) timeout: Duration,
    pub(crate) verbose: bool,
    pub(crate) fingerprint: Fingerprint,
    secret: ClientSecret,
    context: Context,
    gate: GateKeys,
    pair: PairKey,
}

impl Plan {
    pub(crate) fn make(args: &Open) -> Result<Self, Failure> {
        let folder = match &args.config {
            Some(path) => Folder::at(path.clone()),
            None => Folder::of_user()?,
        };
        let config = Config::read(&folder)?;
        let (host, line) = enrolment(&folder, &config, &args.target.host)?;
        let settings = config.host(&host);
        let identity = settings.identity(&folder);
        let secret: ClientSecret = match key_file::read_unlocking(&identity, PassphraseSource::Remembered) {
            Err(error @ KeyFileError::File(FileError::Missing(_))) => {
                let message = format!("{error}; make a key with: spa keygen, and have it enrolled");
                return Err(Failure::new(exit::CONFIG, message));
            }
            other => other?,
        };
        let public = secret.public();
        if !line.is_for(&public) {
            let message = format!(
                "{host} was enrolled for another key than {} ({}); name the right one in config.toml, or enrol anew: spa host add - --replace",
                identity.display(),
                Fingerprint::from(&public)
            );
            return Err(Failure::new(exit::CONFIG, message));
        }
        let family = match (args.ipv4, args.ipv6) {
            (true, _) => Family::V4,
            (_, true) => Family::V6,
            _ => settings.family,
        };
        let names = if settings.addresses.is_empty() { &line.hosts } else { &settings.addresses };
        let addresses = resolve::addresses(names, family, args.verbose)?;

        let context = Context::new(&line.server, &public);
        let gate = GateKeys::derive(&line.psk, &context);
        let pair = PairKey::of_client(&line.psk, &secret, &line.server, &context).ok_or_else(|| {
            Failure::new(exit::CONFIG, format!("the server's key in the enrolment of {host} is not usable"))
        })?;
        Ok(Self {
            host_file: folder.host_file(&host)?,
            host,
            line,
            addresses,
            services: args.target.services.clone(),
            ttl_s: args.ttl.unwrap_or(0),
            bind_src: settings.bind_src,
            timeout: args.timeout,
            verbose: args.verbose,
            fingerprint: Fingerprint::from(&public),
            secret,
            context,
            gate,
            pair,
        })
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

/// The enrolment under this name, or that of the host which has this address in the settings.
fn enrolment(folder: &Folder, config: &Config, name: &str) -> Result<(String, HostLine), Failure> {
    match folder.read_host(name) {
        Ok(line) => Ok((name.to_owned(), line)),
        Err(error @ (FolderError::NoHost(_) | FolderError::Name(_))) => match config.host_at(name) {
            Some(alias) => Ok((alias.to_owned(), folder.read_host(alias)?)),
            None => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}
