//! Clock, settings, enrolments, keys: what needs no network.

use spa_keys::key_file::read_locked;
use spa_keys::{Fingerprint, Folder, HostLine, Severity, SplitKey, find_passphrase};

use super::{Finding, agent, failure_finding, good_finding};
use crate::clock::{self, KernelClock, read_kernel_clock};
use crate::host::{Config, HostSettings, check_enrolled, find_identity, read_public_key};

/// Checks that something keeps the clock right.
pub(super) fn check_clock() -> Finding {
    let now = clock::format_utc_now();
    if clock::is_before_build() {
        let text = format!("it is wrong: {now} is before this program was made");
        return Finding::new(Severity::Error, "clock", text).remedy("timedatectl set-ntp true");
    }
    match read_kernel_clock() {
        KernelClock::Kept { error_ms } => good_finding(
            "clock",
            format!("synchronised by NTP, off by {error_ms} ms at most ({now})"),
        ),
        KernelClock::Alone => Finding::new(
            Severity::Warning,
            "clock",
            format!("not synchronised, as far as the kernel knows ({now})"),
        )
        .remedy("timedatectl set-ntp true"),
        KernelClock::Unknown => Finding::new(
            Severity::Unknown,
            "clock",
            format!("the system does not tell whether it is synchronised ({now})"),
        )
        .remedy("date -u"),
    }
}

/// Reads the settings; nothing when they cannot be used.
pub(super) fn check_settings(folder: &Folder, findings: &mut Vec<Finding>) -> Option<Config> {
    let path = folder.config();
    match Config::read_config(folder) {
        Ok(config) => {
            let text = if path.exists() {
                format!("{} is good", path.display())
            } else {
                format!("there is no {}, and none is needed", path.display())
            };
            findings.push(good_finding("config", text));
            Some(config)
        }
        Err(failure) => {
            findings.push(
                failure_finding("config", &failure)
                    .remedy(format!("${{EDITOR:-vi}} {}", path.display())),
            );
            None
        }
    }
}

/// Checks the key for an enrolment, that the line was made for it, and the agent that holds half of
/// it.
pub(super) fn check_key(
    folder: &Folder,
    settings: &HostSettings,
    enrolled: Option<(&str, &HostLine)>,
) -> Vec<Finding> {
    let identity = settings.identity_path(folder);
    let identity = match enrolled {
        Some((_, line)) => find_identity(folder, identity, line),
        None => identity,
    };
    let public = match read_public_key(&identity) {
        Ok(public) => public,
        Err(failure) => return vec![failure_finding("key", &failure)],
    };
    if let Some((host, line)) = enrolled
        && let Err(failure) = check_enrolled(host, line, &identity, &public)
    {
        return vec![failure_finding("key", &failure)];
    }
    let whole = format!("{} is {} and yours alone", identity.display(), Fingerprint::from(&public));
    if let Ok(Some(split)) = SplitKey::read(&identity) {
        return vec![good_finding("key", whole), agent::check_agent(&split.agent)];
    }
    vec![match read_locked(&identity) {
        Ok(Some(locked)) if find_passphrase(&locked).is_some() => good_finding(
            "key",
            format!("{whole}; it has a passphrase, which the kernel remembers for now"),
        ),
        Ok(Some(_)) => {
            good_finding("key", format!("{whole}; every command asks for its passphrase"))
                .remedy(format!("spa unlock {}", identity.display()))
        }
        _ => good_finding("key", whole),
    }]
}

/// Checks every enrolment in the folder.
pub(super) fn check_enrolments(folder: &Folder, findings: &mut Vec<Finding>) {
    let names = match folder.host_names() {
        Ok(names) => names,
        Err(error) => return findings.push(failure_finding("hosts", &error.into())),
    };
    if names.is_empty() {
        let text = "this client is not enrolled anywhere";
        findings.push(Finding::new(Severity::Warning, "hosts", text).remedy("spa join -"));
    }
    for name in names {
        findings.push(match folder.read_host(&name) {
            Ok(line) => good_finding("hosts", format!("{name}: enrolled as {}", line.name)),
            Err(error) => failure_finding("hosts", &error.into()),
        });
    }
}
