//! Clock, settings, enrolments, keys: what needs no network.

use spa_keys::key_file::read_locked;
use spa_keys::{Fingerprint, Folder, HostLine, SplitKey, find_passphrase};

use super::agent;
use super::finding::{Finding, Level};
use crate::clock::{self, ntp};
use crate::host::key;
use crate::host::settings::{Config, Host};
use crate::plan;

/// Which clock, and who keeps it.
pub(super) fn clock() -> Finding {
    let now = clock::utc_now();
    match ntp::state() {
        ntp::Clock::Kept { error_ms } => {
            Finding::ok("clock", format!("it is kept by NTP, off by {error_ms} ms at most ({now})"))
        }
        ntp::Clock::Alone => Finding::new(
            "clock",
            Level::Warning,
            format!("nobody keeps it, as far as the kernel knows ({now})"),
        )
        .mend("timedatectl set-ntp true"),
        ntp::Clock::Unknown => Finding::new(
            "clock",
            Level::Unknown,
            format!("the system does not tell who keeps it ({now})"),
        )
        .mend("date -u"),
    }
}

/// The settings, when they can be used.
pub(super) fn settings(folder: &Folder, findings: &mut Vec<Finding>) -> Option<Config> {
    let path = folder.config();
    match Config::read(folder) {
        Ok(config) => {
            let text = if path.exists() {
                format!("{} is good", path.display())
            } else {
                format!("there is no {}, and none is needed", path.display())
            };
            findings.push(Finding::ok("config", text));
            Some(config)
        }
        Err(failure) => {
            findings.push(
                Finding::failed("config", &failure)
                    .mend(format!("${{EDITOR:-vi}} {}", path.display())),
            );
            None
        }
    }
}

/// The key for an enrolment, whether the line was made for it, and the agent that holds half of it.
pub(super) fn key(
    folder: &Folder,
    settings: &Host,
    enrolled: Option<(&str, &HostLine)>,
) -> Vec<Finding> {
    let identity = settings.identity(folder);
    let identity = match enrolled {
        Some((_, line)) => plan::identity(folder, identity, line),
        None => identity,
    };
    let public = match key::public(&identity) {
        Ok(public) => public,
        Err(failure) => return vec![Finding::failed("key", &failure)],
    };
    if let Some((host, line)) = enrolled
        && let Err(failure) = plan::check_enrolled(host, line, &identity, &public)
    {
        return vec![Finding::failed("key", &failure)];
    }
    let whole = format!("{} is {} and yours alone", identity.display(), Fingerprint::from(&public));
    if let Ok(Some(split)) = SplitKey::read(&identity) {
        return vec![Finding::ok("key", whole), agent::finding(&split.agent)];
    }
    vec![match read_locked(&identity) {
        Ok(Some(locked)) if find_passphrase(&locked).is_some() => Finding::ok(
            "key",
            format!("{whole}; it has a passphrase, which the kernel remembers for now"),
        ),
        Ok(Some(_)) => {
            Finding::ok("key", format!("{whole}; every command asks for its passphrase"))
                .mend(format!("spa unlock {}", identity.display()))
        }
        _ => Finding::ok("key", whole),
    }]
}

/// Every enrolment in the folder.
pub(super) fn enrolments(folder: &Folder, findings: &mut Vec<Finding>) {
    let names = match folder.host_names() {
        Ok(names) => names,
        Err(error) => return findings.push(Finding::failed("hosts", &error.into())),
    };
    if names.is_empty() {
        let text = "this client is enrolled nowhere";
        findings.push(Finding::new("hosts", Level::Warning, text).mend("spa-client hosts add"));
    }
    for name in names {
        findings.push(match folder.read_host(&name) {
            Ok(line) => Finding::ok("hosts", format!("{name}: enrolled as {}", line.name)),
            Err(error) => Finding::failed("hosts", &error.into()),
        });
    }
}
