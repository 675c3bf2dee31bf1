//! The configuration: TOML text to a checked value, with every finding at once.
//!
//! Reading is a function of the text and its [`Surroundings`]: no step looks at the clock, the
//! environment or another file, except [`load`] and what asks where files are.

pub(crate) mod activated;
mod check;
mod check_enforcers;
mod check_forwarding;
pub mod clients;
mod edit;
mod enforcers;
mod excerpt;
mod findings;
mod forwarding;
mod hooks;
mod host;
mod key_files;
mod lockout;
mod model;
mod parsers;
pub(crate) mod paths;
mod places;
mod rules;
mod section;
mod separation;
mod server;
mod services;
mod span;
mod surroundings;
mod telemetry;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use spa_keys::file::{self, FileError};
use toml::de::DeTable;

pub use crate::domain::hours::{Hours, HoursError};
pub use clients::{Client, Invitation, Secret};
pub use edit::set_server;
pub use excerpt::Excerpt;
pub use findings::{FilePosition, Finding, Findings};
pub use hooks::HOOK_PLACEHOLDERS;
pub(crate) use key_files::{
    CLIENTS_LIMIT, is_numbered_alike, key_failure, numbered_key, open_followed, open_key,
    open_previous, read_previous,
};
pub use key_files::{hop_plan, previous_key, server_key, surroundings};
pub(crate) use lockout::Lockout;
pub use model::{
    Backend, BanSettings, CaptureMode, CaptureSettings, Config, Enforcer, EnforcerKind,
    FirewallSettings, Hook, Log, Metrics, PreviousKey, Protect, SecretFile, SequenceSettings,
    Server, Service, Stages,
};
pub(crate) use parsers::parse_host as host_name;
pub use rules::{BAIT_NFLOG_GROUP, KNOCK_NFLOG_GROUP};
pub(crate) use services::LONGEST_BAN;
use spa_keys::Severity;
pub use span::{Located, Span};
pub use surroundings::{HookCheck, HookPart, KeyCheck, KeyText, ReadSecret, Surroundings};

/// The control socket when neither the configuration nor systemd names another.
pub const DEFAULT_CONTROL: &str = "/run/spa/control.sock";

/// Most bytes of a configuration file.
const CONFIG_LIMIT: u64 = 4 << 20;

use findings::Report;
use section::Section;

/// A configuration that can be run, and its clients.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The access stanzas.
    pub clients: Vec<Client>,
    /// Invitations that nobody has taken yet.
    pub invitations: Vec<Invitation>,
    /// Warnings and notes of both files.
    pub findings: Findings,
}

/// Reads a configuration and the clients' file that it names. With an error in either, the answer
/// is the findings of both. What decides must not lie where the listener may write.
pub fn load(path: &Path, around: &Surroundings<'_>) -> Result<Loaded, Findings> {
    let Loaded { config, clients, invitations, mut findings } =
        load_text(path, &bytes_of(path)?, around)?;
    findings.append(check_disk(path, &config));
    if findings.has_errors() {
        return Err(findings);
    }
    Ok(Loaded { config, clients, invitations, findings })
}

/// Finds what is wrong with the files and folders that a configuration, read from `path`, names.
/// Looks at the disk.
pub(crate) fn check_disk(path: &Path, config: &Config) -> Findings {
    let mut findings = separation::check_separation(path, config);
    findings.append(places::check_places(path, config));
    findings
}

/// As [`load`], with the content of `path` at hand.
pub fn load_text(path: &Path, bytes: &[u8], around: &Surroundings<'_>) -> Result<Loaded, Findings> {
    let shown = path.display().to_string();
    let (draft, mut findings) = read_draft(&shown, decode_text(&shown, bytes)?, around);
    let Some((config, services_complete)) = draft else { return Err(findings) };
    let good = !findings.has_errors();
    let services = services_complete.then_some(config.services.as_slice());
    let (clients, more) = clients::load_clients(&config.server.clients, services, around);
    findings.append(more);
    let (enrolled, more) = clients::load_enrolled(&config.server.state, services, around);
    findings.append(more);
    match (clients, enrolled) {
        (Some(mut clients), Some(enrolled)) if good && !findings.has_errors() => {
            let (invitations, more) =
                clients::merge_enrolled(&mut clients, enrolled, &config.server.state);
            findings.append(more);
            if clients.is_empty() && invitations.is_empty() {
                let path = config.server.clients.path(around.credentials.as_deref());
                let file = path.unwrap_or_default().display().to_string();
                let text = "there are no clients yet: enrol one with `spa-server invite NAME \
                    --service SERVICE`, or `spa-server client add NAME PUBLIC --service SERVICE`";
                findings.append(Findings::of_file(&file, Severity::Warning, text));
            }
            Ok(Loaded { config, clients, invitations, findings })
        }
        _ => Err(findings),
    }
}

/// Reads a configuration alone, for what needs no clients: they may be a million, or broken.
pub fn load_alone(path: &Path, around: &Surroundings<'_>) -> Result<Config, Findings> {
    load_alone_text(path, &bytes_of(path)?, around)
}

/// As [`load_alone`], with the content of `path` at hand.
pub fn load_alone_text(
    path: &Path,
    bytes: &[u8],
    around: &Surroundings<'_>,
) -> Result<Config, Findings> {
    let shown = path.display().to_string();
    let (config, findings) = parse(&shown, decode_text(&shown, bytes)?, around);
    config.ok_or(findings)
}

/// The control socket of a configuration that may be broken: whoever looks into a running server,
/// or closes a grant, must not have to repair a file first.
#[must_use]
pub fn control_socket(path: &Path, around: &Surroundings<'_>) -> PathBuf {
    let shown = path.display().to_string();
    let found = bytes_of(path)
        .ok()
        .and_then(|bytes| read_draft(&shown, decode_text(&shown, &bytes).ok()?, around).0);
    found.map_or_else(|| DEFAULT_CONTROL.into(), |(config, _)| config.server.control)
}

/// The state folder of a configuration that may be broken: what was set aside beside it counts all
/// the more then.
pub(crate) fn state_folder(path: &Path, around: &Surroundings<'_>) -> PathBuf {
    let shown = path.display().to_string();
    let found = bytes_of(path)
        .ok()
        .and_then(|bytes| read_draft(&shown, decode_text(&shown, &bytes).ok()?, around).0);
    let usual = || around.state.clone().unwrap_or_else(|| server::DEFAULT_STATE.into());
    found.map_or_else(usual, |(config, _)| config.server.state)
}

/// The content of a configuration file: opened with care, because it decides what the firewall lets
/// in.
pub fn bytes_of(path: &Path) -> Result<Vec<u8>, Findings> {
    let read = || {
        let file = file::open_behind(path, file::open_trusted)?;
        file::read_opened_bytes(path, file, CONFIG_LIMIT)
    };
    read().map_err(|error| {
        let text = match error {
            FileError::Missing(_) => std::io::Error::from_raw_os_error(libc::ENOENT).to_string(),
            other => other.to_string(),
        };
        Findings::of_file(
            &path.display().to_string(),
            Severity::Error,
            format!("cannot be read: {text}"),
        )
    })
}

/// Reads the text of a configuration; `name` is what findings call it. No configuration if one of
/// the findings is an error.
pub fn parse(name: &str, text: &str, around: &Surroundings<'_>) -> (Option<Config>, Findings) {
    let (draft, findings) = read_draft(name, text, around);
    (draft.filter(|_| !findings.has_errors()).map(|(config, _)| config), findings)
}

/// A configuration in which defaults stand for what could not be read, and whether the names of
/// all its services could be.
fn read_draft(
    name: &str,
    text: &str,
    around: &Surroundings<'_>,
) -> (Option<(Config, bool)>, Findings) {
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(_) => return (None, find_syntax_error(name, text)),
    };
    let r = &mut Report::new(name, text);
    let mut root = Section::root(document.get_ref());
    let server = server::read_server(root.table(r, "server"), r, around);
    let log = host::read_log(root.table(r, "log"), r);
    let audit = telemetry::read_audit(root.table(r, "audit"), r);
    let metrics = telemetry::read_metrics(root.table(r, "metrics"), r);
    let capture = host::read_capture(root.table(r, "capture"), r);
    let sequence = services::read_sequence(root.table(r, "sequence"), r);
    let firewall = host::read_firewall(root.table(r, "firewall"), r);
    let services: Vec<_> = root
        .read_tables(r, "service")
        .into_iter()
        .map(|s| services::read_service(s, r, around.check_hook))
        .collect();
    let enforcers: Vec<_> = root
        .read_tables(r, "enforcer")
        .into_iter()
        .map(|s| enforcers::read_enforcer(s, r, around.check_hook))
        .collect();
    let baits: Vec<_> =
        root.read_tables(r, "bait").into_iter().map(|s| services::read_bait(s, r)).collect();
    let ban = host::read_ban(root.table(r, "ban"), r);
    root.finish(r);

    check::check_names(r, &services, &baits);
    check::knock_ports(r, &sequence, &services, &baits, around.local_ports);
    check::bait_over_service(r, &services, &baits);
    check::bait_on_udp(r, &baits);
    check::bait_over_bait(r, &baits);
    check_forwarding::check_forwarding(r, &firewall, &services, around.local_ports);
    check_enforcers::check_enforcers(r, firewall.firewall.backend, &enforcers, &services);
    check::what_stands_out(r, &firewall, &services, &baits, capture.mode);

    let services_complete = services.iter().all(|s| !s.service.name.is_empty());
    let config = Config {
        server,
        log,
        audit,
        metrics,
        capture,
        sequence: sequence.sequence,
        firewall: firewall.firewall,
        enforcers: enforcers.into_iter().map(|e| e.enforcer).collect(),
        services: services.into_iter().map(|s| s.service).collect(),
        baits: baits.into_iter().map(|b| b.bait).collect(),
        ban,
    };
    let findings = std::mem::replace(r, Report::new(name, text)).finish();
    (Some((config, services_complete)), findings)
}

/// The findings of a text that is no TOML. What such a text means is not guessed at.
fn find_syntax_error(name: &str, text: &str) -> Findings {
    let mut report = Report::new(name, text);
    let (_, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        report.error(
            &error.span().unwrap_or(text.len()..text.len()),
            format!("this is not valid TOML: {}", error.message()),
        );
    }
    report.finish()
}

/// UTF-8, as TOML demands.
fn decode_text<'b>(name: &str, bytes: &'b [u8]) -> Result<&'b str, Findings> {
    std::str::from_utf8(bytes).map_err(|e| {
        let line = bytes.iter().take(e.valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        Findings::of_file(
            name,
            Severity::Error,
            format!("line {line} is not UTF-8: save the file as UTF-8 text"),
        )
    })
}
