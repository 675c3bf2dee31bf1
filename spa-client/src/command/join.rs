//! `spa-client join`: an invitation becomes an enrolment. The key is on the disk before anything is
//! sent and the line holds the rest, so it can be interrupted anywhere and run again.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use spa_keys::hosts::{self, NewHost};
use spa_keys::{
    Failure, FolderError, HostLine, Identity, Invitation, LastAnswer, PassphraseSource, SplitKey,
    check_address, exit, find_agent_key, make_key, make_split_key, printable,
};
use spa_proto::Op;

use super::read_line;
use crate::address::ResolvedNames;
use crate::cli::JoinArgs;
use crate::host::{read_key, read_passphrase_fd};
use crate::knock::{KemUse, KeyChange, Outcome, is_known, request_key_change};
use crate::output;
use crate::plan::Plan;
use crate::report::{Purpose, explain_failure};

/// Time for a server to say whether it knows a pair.
const KNOWN_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Serialize)]
struct JoinReport<'a> {
    version: u8,
    host: &'a str,
    client: &'a str,
    fingerprint: String,
    services: Vec<&'a str>,
    /// The server has said so; `false`: it never answers.
    confirmed: bool,
}

/// Runs `spa-client join`; returns the exit code.
pub(crate) fn run_join(args: &JoinArgs) -> Result<u8, Failure> {
    if args.file.as_os_str() == "-" {
        args.options.check_input_unused()?;
    }
    let invitation = read_line(
        &args.file,
        "SPA-INVITATION-1… that `spa-server invite`",
        Some("spa-client join -"),
        |line| Ok(Invitation::from_text(line)?),
    )?;
    let folder = args.options.folder.find_folder()?;
    let host = args.name.clone().or(invitation.host.hosts.first().cloned());
    let host = host
        .ok_or_else(|| Failure::usage("the line names no host: add --name NAME --address ADDR"))?;
    let host = host.as_str();
    spa_keys::check_host_name(host)?;
    let names = if args.addresses.is_empty() { &invitation.host.hosts } else { &args.addresses };
    if names.is_empty() {
        return Err(Failure::usage("the line names no host: add --address ADDR"));
    }
    names
        .iter()
        .try_for_each(|name| check_address(name))
        .map_err(|error| Failure::usage(error.to_string()))?;
    let options = &args.options;
    let family = options.chosen_family();
    let resolved = ResolvedNames::resolve(names, family, options.verbose, options.timeout)?;

    let identity = args.key.clone().unwrap_or_else(|| folder.identity());
    let secret = read_or_make_key(args, &identity)?;

    let Invitation { secret: invited, host: line } = invitation;
    let mut old = Plan::from_enrolment(
        host.to_owned(),
        line,
        Identity::Whole(invited.client()),
        resolved.clone(),
        &args.options,
    )?;
    let mut line = old.successor_line(&secret);
    let plan = |line: &HostLine| {
        let (line, resolved) = (line.clone(), resolved.clone());
        Plan::from_enrolment(host.to_owned(), line, secret.clone(), resolved, &args.options)
    };
    let mut replace = args.replace;
    match folder.read_host(host) {
        Ok(known) if is_of_line(&known, &line, || plan(&known))? => {
            replace = true;
            // A server that never answers may not have heard the first time.
            if line.ack {
                spa_keys::note!("{host} is enrolled already");
                return report_enrolment(args, host, &line, true);
            }
        }
        Ok(_) if !args.replace => {
            let message = format!(
                "{host} is enrolled already; to take this line instead, add --replace; to keep \
                 both, --name NAME"
            );
            return Err(Failure::failed(message));
        }
        Ok(_) | Err(FolderError::NoHost(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let new = plan(&line)?;
    let op = Op::Enrol(secret.public());
    old.set_successor(secret.clone());
    let kem = if line.kem { KemUse::Always } else { KemUse::Never };
    let confirmed = match request_key_change(&old, &new, op, kem) {
        KeyChange::Done(psk) => {
            line.psk = psk;
            true
        }
        KeyChange::Unheard => {
            spa_keys::note!(
                "{host} never answers: you will see whether it accepted the invitation when you \
                open something; if that fails, run this again, and on the server see: spa-server \
                invitations"
            );
            false
        }
        KeyChange::Failed(outcomes) => {
            let all: Vec<&Outcome> = outcomes.iter().collect();
            return Err(explain_failure(&old, Purpose::Enrolment, &all));
        }
    };
    let entry = NewHost {
        line: &line,
        name: Some(host),
        addresses: &args.addresses,
        identity: args.key.as_deref(),
        replace,
    };
    hosts::add(&folder, &entry)?;
    if confirmed {
        LastAnswer::record(&folder, host, &line, "enrolled", true);
        let new = plan(&line)?;
        // The server ends the invitation when it has seen the new keys; that is not worth a touch.
        let _ended = !new.asks_for_touch() && is_known(&new, Instant::now() + KNOWN_TIMEOUT);
    }
    report_enrolment(args, host, &line, confirmed)
}

/// Tells whether a known enrolment came of this line. With an ML-KEM key the line does not tell the
/// psk: then the server says whether it knows the pair, unless that costs a touch.
fn is_of_line(
    known: &HostLine,
    line: &HostLine,
    plan: impl FnOnce() -> Result<Plan, Failure>,
) -> Result<bool, Failure> {
    if !line.kem {
        return Ok(known.psk == line.psk && known.server == line.server);
    }
    let pair = |line: &HostLine| (line.server, line.client_check, line.name.clone());
    if pair(known) != pair(line) {
        return Ok(false);
    }
    let plan = plan()?;
    Ok(plan.asks_for_touch() || is_known(&plan, Instant::now() + KNOWN_TIMEOUT))
}

/// Reads the key that is there, else makes one.
fn read_or_make_key(args: &JoinArgs, path: &Path) -> Result<Identity, Failure> {
    let passphrase = read_passphrase_fd(args.options.passphrase_fd)?;
    let there = path.symlink_metadata().is_ok();
    let Some(name) = &args.agent else {
        if there {
            return read_key(path, passphrase.as_ref());
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
            to use the existing one, leave out --agent; to discard it, first: mv {path} \
            {path}.old",
            agent.fingerprint(),
            path = path.display()
        ))),
    }
}

fn report_enrolment(
    args: &JoinArgs,
    host: &str,
    line: &HostLine,
    confirmed: bool,
) -> Result<u8, Failure> {
    let services = line.services.iter().map(|service| service.name.as_str());
    if args.json {
        let fingerprint = spa_keys::Fingerprint::from(&line.server).to_string();
        let services = services.collect();
        output::print_json(&JoinReport {
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
            .try_for_each(|line| output::print_text(&line))?;
    }
    Ok(exit::OK)
}
