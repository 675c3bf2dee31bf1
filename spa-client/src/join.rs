//! `spa-client join`: an invitation becomes an enrolment. The key is on the disk before anything is
//! sent and the line holds the rest, so it can be interrupted anywhere and run again.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use spa_keys::hosts::{self, NewHost};
use spa_keys::key_file::only_line;
use spa_keys::{
    Failure, FolderError, HostLine, Identity, Invitation, LastAnswer, PassphraseSource, SplitKey,
    exit, file, find_agent_key, kind_of, make_key, make_split_key, printable,
};
use spa_proto::{Op, Reason};

use crate::cli::Reach;
use crate::config::Family;
use crate::newkeys::{self, Outcome};
use crate::plan::{self, Plan};
use crate::{key, output, resolve};

/// Take an invitation.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 enrolled, 1 denied or failed, 2 usage, 3 no answer, 4 nothing was \
        sent, 77 permission, 78 a \
                  configuration or key file is wrong. It can be run again at any time: the same key takes the same invitation"
)]
pub(crate) struct Join {
    /// The line SPA-INVITATION-1…, a file with it, or - for standard input
    #[arg(default_value = "-", value_name = "LINE")]
    file: PathBuf,
    /// What to call the host [default: the first host in the line]
    #[arg(long)]
    name: Option<String>,
    /// Knock at this address or name instead of those in the line; may be given more than once
    #[arg(long = "address", value_name = "ADDR")]
    addresses: Vec<String>,
    /// Key file; made if it is not there [default: identity in the configuration folder]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Leave the signing half to an Ed25519 key in your ssh-agent: its .pub file, comment or
    /// fingerprint
    #[arg(long, value_name = "KEY", conflicts_with_all = ["passphrase", "passphrase_fd"])]
    agent: Option<String>,
    /// Lock a new key with a passphrase, asked at the terminal; with --passphrase-fd it is locked
    /// with that
    #[arg(long, conflicts_with = "passphrase_fd")]
    passphrase: bool,
    /// Take the place of a host of the same name
    #[arg(long)]
    replace: bool,
    /// One JSON object on standard output instead of lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Serialize)]
struct Joined<'a> {
    version: u8,
    host: &'a str,
    client: &'a str,
    fingerprint: String,
    services: Vec<&'a str>,
    /// The server has said so; `false`: it never answers.
    confirmed: bool,
}

/// Runs it; the exit code.
pub(crate) fn run(args: &Join) -> Result<u8, Failure> {
    if args.file.as_os_str() == "-" {
        args.reach.leaves_input_alone()?;
    }
    let invitation = read(args)?;
    let folder = plan::folder(args.reach.config.as_deref())?;
    let host = args.name.clone().or(invitation.host.hosts.first().cloned());
    let host = host.ok_or_else(|| {
        Failure::new(exit::USAGE, "the line names no host: add --name NAME --address ADDR")
    })?;
    let host = host.as_str();
    spa_keys::check_host_name(host)?;
    let names = if args.addresses.is_empty() { &invitation.host.hosts } else { &args.addresses };
    if names.is_empty() {
        return Err(Failure::new(exit::USAGE, "the line names no host: add --address ADDR"));
    }
    let addresses = resolve::addresses(names, family(&args.reach), args.reach.verbose)?;

    let identity = args.key.clone().unwrap_or_else(|| folder.identity());
    let secret = own_key(args, &identity)?;

    let Invitation { secret: invited, host: line } = invitation;
    let mut old = Plan::of(
        host.to_owned(),
        line,
        Identity::Whole(invited.client()),
        addresses.clone(),
        &args.reach,
    )?;
    let line = newkeys::successor(&old, &secret)?;
    let mut entry = NewHost {
        line: &line,
        name: Some(host),
        addresses: &args.addresses,
        identity: args.key.as_deref(),
        replace: args.replace,
    };
    match folder.read_host(host) {
        Ok(known) if known.psk == line.psk && known.server == line.server => {
            entry.replace = true;
            // A server that never answers may not have heard the first time.
            if line.ack {
                spa_keys::note!("{host} is enrolled already");
                return told(args, host, &line, true);
            }
        }
        Ok(_) if !args.replace => {
            let message = format!(
                "{host} is enrolled already; to take this line instead, add --replace; to keep \
                 both, --name NAME"
            );
            return Err(Failure::new(exit::FAILURE, message));
        }
        Ok(_) | Err(FolderError::NoHost(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let new = Plan::of(host.to_owned(), line.clone(), secret.clone(), addresses, &args.reach)?;
    let op = Op::Enrol(secret.public());
    old.bring(secret);
    let confirmed = match newkeys::ask(&old, &new, op) {
        Outcome::Done => true,
        Outcome::Unheard => {
            spa_keys::note!(
                "{host} never answers: whether it has taken the invitation shows when you open \
                 something; if that does not work, run this again, and see there: spa-server \
                 invitations"
            );
            false
        }
        outcome => return Err(refused(host, &outcome)),
    };
    hosts::add(&folder, &entry)?;
    if confirmed {
        LastAnswer::record(&folder, host, &line, "enrolled", true);
    }
    told(args, host, &line, confirmed)
}

/// The key that is there, else a new one.
fn own_key(args: &Join, path: &Path) -> Result<Identity, Failure> {
    let passphrase = key::passphrase(args.reach.passphrase_fd)?;
    let there = path.symlink_metadata().is_ok();
    let Some(name) = &args.agent else {
        if there {
            return key::read(path, passphrase.as_ref());
        }
        let asked = args
            .passphrase
            .then(|| PassphraseSource::Terminal.ask_new(&path.display().to_string()));
        let passphrase = passphrase.or(asked.transpose()?);
        return Ok(Identity::Whole(make_key(path, passphrase.as_ref())?));
    };
    let (agent, comment) = find_agent_key(name)?;
    if !there {
        return Ok(Identity::Split(make_split_key(path, agent, &comment)?));
    }
    match SplitKey::read(path)? {
        Some(split) if split.agent == agent => Ok(Identity::Split(split)),
        _ => Err(Failure::failed(format!(
            "{path} exists already, with another signing half than {}; to keep both: --key FILE; \
             to go on with the one that is there, without --agent; to do away with it, first: mv \
             {path} {path}.old",
            agent.fingerprint(),
            path = path.display()
        ))),
    }
}

fn read(args: &Join) -> Result<Invitation, Failure> {
    let line = args.file.to_str().filter(|text| *text == "-" || kind_of(text).is_some());
    let text = match line {
        Some(line) => spa_keys::read_argument(line, "spa-client join -")?,
        None => file::read_secret(&args.file)?,
    };
    match only_line(text.expose()) {
        Ok((_, line)) => Ok(Invitation::from_text(line)?),
        Err(count) => Err(Failure::failed(format!(
            "{count} lines, one is needed: paste the line SPA-INVITATION-1… that `spa-server \
             invite` printed"
        ))),
    }
}

/// What the command line says about it.
pub(crate) fn family(reach: &Reach) -> Family {
    match (reach.ipv4, reach.ipv6) {
        (true, _) => Family::V4,
        (_, true) => Family::V6,
        _ => Family::Auto,
    }
}

fn told(args: &Join, host: &str, line: &HostLine, confirmed: bool) -> Result<u8, Failure> {
    let services = line.services.iter().map(|service| service.name.as_str());
    if args.json {
        let fingerprint = spa_keys::Fingerprint::from(&line.server).to_string();
        let services = services.collect();
        output::json(&Joined {
            version: 1,
            host,
            client: &line.name,
            fingerprint,
            services,
            confirmed,
        })?;
    } else {
        services
            .map(|name| format!("spa-client open {}@{host}\n", printable(name)))
            .try_for_each(|line| output::text(&line))?;
    }
    Ok(exit::OK)
}

/// Why there are no new keys, in words.
pub(crate) fn refused(host: &str, outcome: &Outcome) -> Failure {
    let (code, text) = match outcome {
        Outcome::Denied(reason) => (exit::FAILURE, format!("{host} says no: {}", denied(*reason))),
        Outcome::Busy(Reason::Store) => (
            exit::FAILURE,
            format!(
                "{host} takes no new keys now: a trial of another configuration runs there, or it \
                 cannot write its files; its log says which: journalctl -u spa-server. Nothing is \
                 lost: run this again when that is over"
            ),
        ),
        Outcome::Busy(reason) => (
            exit::FAILURE,
            format!("{host} cannot now ({}); run this again in a minute", reason.word()),
        ),
        Outcome::NotSent(error) => (
            exit::NOTHING_SENT,
            format!("nothing was sent to {host}: {error}; see: spa-client doctor"),
        ),
        Outcome::Silence | Outcome::Unheard | Outcome::Done => (
            exit::UNREACHABLE,
            format!(
                "no answer from {host}: the line may be used up, revoked, expired or for another \
                 server, or nothing gets through. Nothing is lost, run this again; on the server \
                 see: spa-server invitations"
            ),
        ),
    };
    Failure::new(code, text)
}

fn denied(reason: Reason) -> String {
    match reason {
        Reason::Op => "the invitation is used up or revoked, or these keys may not ask for that; \
            see on the server: spa-server invitations, spa-server client list"
            .to_owned(),
        Reason::Expired => "its time is over; ask for a new one: spa-server invite".to_owned(),
        Reason::NewKeys => "your key is known there already, or was replaced before; see there: \
            spa-server client list; or take another: --key FILE"
            .to_owned(),
        Reason::From => "not from this address".to_owned(),
        Reason::Hours => "not at this hour".to_owned(),
        other => other.word().to_owned(),
    }
}
