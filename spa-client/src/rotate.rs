//! `spa-client rotate`: new keys for one host. They are on the disk before anything is sent, and come into force by one
//! rename when the server has them; until then the old ones are as they were.
//!
//! ```text
//! hosts/CHECK.key       the new key, named by the check in its line
//! hosts/NAME.rotating   the new line, while nobody knows whether the server has it
//! ```

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use spa_keys::key_file::{only_line, read_locked};
use spa_keys::{
    Failure, Fingerprint, Folder, HostLine, Identity, PassphraseSource, SecretText, exit, file, make_key,
};
use spa_proto::{ClientSecret, Op};

use crate::cli::Reach;
use crate::config::Config;
use crate::join::{family, refused};
use crate::newkeys::{self, Outcome};
use crate::plan::{self, Plan};
use crate::{key, output, resolve};

/// Change to new keys at a host.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 rotated, 1 denied or failed, 2 usage, 3 no answer, 4 nothing was sent, 77 permission, 78 a \
                  configuration or key file is wrong. It can be run again at any time: it goes on where it stood"
)]
pub(crate) struct Rotate {
    /// The host [default: the only one]
    host: Option<String>,
    /// Lock the new key with a passphrase, asked at the terminal; so it is when the old one is locked
    #[arg(long)]
    passphrase: bool,
    /// Lock the new key with the passphrase in the first line of this file descriptor
    #[arg(long, value_name = "N", conflicts_with = "passphrase")]
    passphrase_fd: Option<u32>,
    /// One JSON object on standard output instead of a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Serialize)]
struct Rotated<'a> {
    version: u8,
    host: &'a str,
    client: &'a str,
    fingerprint: String,
}

/// Runs it; the exit code.
pub(crate) fn run(args: &Rotate) -> Result<u8, Failure> {
    let folder = plan::folder(args.reach.config.as_deref())?;
    let host = host(args, &folder)?;
    let config = Config::read(&folder)?;
    let lines = folder.read_host_lines(&host)?;
    let line = folder.read_host(&host)?;
    let settings = config.host(&host);
    let identity = plan::identity(&folder, settings.identity(&folder), &line);
    let secret = key::read_whole(&identity)?;
    plan::check_enrolled(&host, &line, &identity, &secret.public())?;
    let names = if settings.addresses.is_empty() { line.hosts.clone() } else { settings.addresses.clone() };
    let addresses = resolve::addresses(&names, family(&args.reach), args.reach.verbose)?;
    let mut old = Plan::of(host.clone(), line, Identity::Whole(secret), addresses.clone(), &args.reach)?;
    old.bind_src = settings.bind_src;

    let pending = folder.hosts().join(format!("{host}.rotating"));
    // While the server changes its key, an earlier run may have asked by the other one: new keys are agreed on by one key.
    if let Some(other) = lines.get(1).filter(|_| asked_by_other(&old, &folder, &pending)) {
        spa_keys::note!("going on by the server's old key");
        old.line = other.clone();
        old = old.with_lines(vec![other.clone()]);
    }
    let (line, secret) = prepared(args, &folder, &old, &identity, &pending)?;
    let new = Plan::of(host.clone(), line.clone(), Identity::Whole(secret.clone()), addresses, &args.reach)?;
    let by_each =
        lines.iter().map(|of| HostLine { server: of.server, sequence: of.sequence.clone(), ..line.clone() });
    let mut new = new.with_lines(by_each.collect());
    new.bind_src = settings.bind_src;
    let op = Op::Rekey(secret.public());
    old.successor = Some(secret.clone());
    match newkeys::ask(&old, &new, op) {
        Outcome::Done => {}
        Outcome::Unheard => {
            return Err(Failure::new(
                exit::FAILURE,
                format!(
                    "{host} never answers, so nobody could know which keys hold: enrol anew instead: spa-server invite"
                ),
            ));
        }
        outcome => {
            if matches!(outcome, Outcome::Denied(_)) {
                let _left = file::remove(&pending).and_then(|()| file::remove(&folder.key_of(&line)));
            }
            return Err(refused(&host, &outcome));
        }
    }
    let path = folder.host_file(&host)?;
    let lock = folder.lock_hosts()?;
    std::fs::rename(&pending, &path)
        .and_then(|()| std::fs::File::open(folder.hosts())?.sync_all())
        .map_err(|error| Failure::failed(format!("{}: {error}; run this again", path.display())))?;
    drop(lock);
    // The server ends the old keys when it has seen the new ones.
    if !newkeys::knows(&new, Instant::now() + Duration::from_secs(3)) {
        spa_keys::note!("the old keys are good until your next knock, or the overlap ends");
    }
    if identity == folder.key_of(&old.line) {
        file::remove(&identity)?;
    } else {
        spa_keys::note!("{} stays: other hosts may use it", identity.display());
    }
    let fingerprint = Fingerprint::from(&secret.public()).to_string();
    if args.json {
        output::json(&Rotated { version: 1, host: &host, client: &line.name, fingerprint })?;
    } else {
        output::text(&format!("{host} has the new key {fingerprint}\n"))?;
    }
    Ok(exit::OK)
}

/// Whether the new line of an earlier run does not follow from this plan's key of the server.
fn asked_by_other(old: &Plan, folder: &Folder, pending: &Path) -> bool {
    let Ok(text) = file::read_secret(pending) else { return false };
    let line = only_line(text.expose()).ok().and_then(|(_, line)| HostLine::from_text(line).ok());
    let follows = line.and_then(|line| {
        let secret = key::read_whole(&folder.key_of(&line)).ok()?;
        Some(newkeys::successor(old, &secret).ok()?.psk == line.psk)
    });
    follows == Some(false)
}

fn host(args: &Rotate, folder: &Folder) -> Result<String, Failure> {
    if let Some(host) = &args.host {
        return Ok(host.clone());
    }
    match folder.host_names()?.as_slice() {
        [only] => Ok(only.clone()),
        [] => {
            Err(Failure::new(exit::NOTHING_SENT, "there are no hosts; take an invitation with: spa join -"))
        }
        several => Err(Failure::new(exit::USAGE, format!("name one of the hosts: {}", several.join(", ")))),
    }
}

/// The new line and key: those of an interrupted run if there was one, else fresh ones, on the disk.
fn prepared(
    args: &Rotate,
    folder: &Folder,
    old: &Plan,
    identity: &Path,
    pending: &Path,
) -> Result<(HostLine, ClientSecret), Failure> {
    if pending.exists() {
        let text = file::read_secret(pending)?;
        let line = only_line(text.expose()).ok().and_then(|(_, line)| HostLine::from_text(line).ok());
        if let Some(line) = line {
            let secret = key::read_whole(&folder.key_of(&line))?;
            if newkeys::successor(old, &secret)?.psk == line.psk {
                spa_keys::note!("going on with the new key of an earlier run");
                return Ok((line, secret));
            }
        }
        // Of an enrolment that is no more.
        file::remove(pending)?;
    }
    let descriptor = args.passphrase_fd.map(PassphraseSource::Descriptor);
    let locked = args.passphrase || read_locked(identity)?.is_some();
    let source = descriptor.or(locked.then_some(PassphraseSource::Terminal));
    let fresh = folder.hosts().join(format!("new-{}.key", std::process::id()));
    let secret = make_key(&fresh, source)?;
    let line = newkeys::successor(old, &secret)?;
    std::fs::rename(&fresh, folder.key_of(&line))
        .map_err(|error| Failure::failed(format!("{}: {error}", fresh.display())))?;
    let text =
        SecretText::new(format!("# New keys that the server may have.\n{}\n", line.to_text()?.expose()));
    file::write_new(pending, text.expose())?;
    Ok((line, secret))
}
