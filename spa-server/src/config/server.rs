//! Reading `[server]`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use spa_keys::duration;

use super::findings::{Report, ValueError};
use super::host::{into_values, parse_absolute_path, read_duration};
use super::model::{PreviousKey, SecretFile, Server};
use super::parsers;
use super::section::Section;
use super::span::Located;
use super::surroundings::Surroundings;
use crate::domain::dates;
use crate::firewall::Authenticated;

const DEFAULT_KEY: &str = "/etc/spa/server.key";
const DEFAULT_CLIENTS: &str = "/etc/spa/clients.toml";
/// Folder of the store when neither the configuration nor systemd names one.
pub(super) const DEFAULT_STATE: &str = "/var/lib/spa";
const DEFAULT_RUNTIME: &str = "/run/spa";
/// `sun_path` of unix(7) without its NUL.
const LONGEST_SOCKET: usize = 107;
/// A wider window only keeps replay records longer and helps a stolen knock; clocks that are
/// further off should be set.
const LONGEST_WINDOW: Duration = Duration::from_secs(300);
/// Widest window of knocks from the future, and so the longest fence.
const LONGEST_FUTURE: Duration = Duration::from_secs(60);
/// Longest time that an unconfirmed knock opens for.
const LONGEST_PROVISIONAL: Duration = Duration::from_secs(60);
/// Shortest, default and longest `pair-age`.
const ONE_DAY: Duration = Duration::from_secs(24 * 3600);
const DEFAULT_PAIR_AGE: Duration = Duration::from_secs(90 * 24 * 3600);
const LONGEST_PAIR_AGE: Duration = Duration::from_secs(3660 * 24 * 3600);
/// Longest `rotate-overlap`: a client that does not knock within 30 days must be enrolled anew.
const LONGEST_OVERLAP: Duration = Duration::from_secs(30 * 24 * 3600);

/// Reads `[server]`. Folders that it does not name are systemd's, or else the defaults.
pub(super) fn read_server(
    mut section: Section<'_>,
    report: &mut Report<'_>,
    around: &Surroundings<'_>,
) -> Server {
    let s = &mut section;
    let secret = |found: Option<Located<SecretFile>>, default: &str| {
        found.map_or_else(|| SecretFile::File(default.into()), |l| l.value)
    };
    let key = secret(s.text(report, "key", "\"/etc/spa/server.key\"", secret_file), DEFAULT_KEY);
    let previous = s.text(report, "previous-key", "\"/etc/spa/server.key.old\"", secret_file);
    let until =
        s.text(report, "previous-key-until", "\"2027-01-31\"", |t| dates::parse(t, &around.zone));
    match (&previous, &until) {
        (Some(previous), _) if previous.value == key => {
            report.error(
                &previous.span,
                "`previous-key` is the same file as `key`: name the one before, or take the line \
                 out",
            );
        }
        (Some(_), Some(until)) if around.now_ms.is_some_and(|now| until.value <= now) => {
            report.note(
                &until.span,
                "this moment has passed, and the previous key is worth nothing any more: \
                 spa-server rotate-key --finish",
            );
        }
        (None, Some(until)) => {
            report.error(
                &until.span,
                "`previous-key-until` without `previous-key`: take the line out",
            );
        }
        _ => {}
    }
    let previous = previous
        .map(|file| PreviousKey { file: file.value, until: until.map(|until| until.value) });
    let clients = secret(
        s.text(report, "clients", "\"/etc/spa/clients.toml\"", secret_file),
        DEFAULT_CLIENTS,
    );
    let state = s.text(report, "state", "\"/var/lib/spa\"", parse_absolute_path).map(|l| l.value);
    let control =
        s.text(report, "control", "\"/run/spa/control.sock\"", parse_socket_path).map(|l| l.value);
    let hosts = s.read_texts(report, "hosts", "[\"gate.example.org\"]", parsers::parse_host);
    check_hosts(report, s, hosts.as_ref());
    let ack = s.read_choice(report, "ack", &[("on", true), ("off", false)]);
    let window_past = read_duration(
        s,
        report,
        "window-past",
        Duration::from_secs(30),
        Duration::from_secs(1),
        LONGEST_WINDOW,
    );
    let window_future = read_duration(
        s,
        report,
        "window-future",
        Duration::from_secs(10),
        Duration::ZERO,
        LONGEST_FUTURE,
    );
    let provisional = read_duration(
        s,
        report,
        "provisional",
        Duration::from_secs(10),
        Duration::ZERO,
        LONGEST_PROVISIONAL,
    );
    let rotate_overlap = read_duration(
        s,
        report,
        "rotate-overlap",
        Duration::from_secs(24 * 3600),
        Duration::from_secs(60),
        LONGEST_OVERLAP,
    );
    let pair_age = s.text(report, "pair-age", "\"90d\"", parse_pair_age);
    let authenticated = s.read_choice(
        report,
        "authenticated",
        &[("pardon", Authenticated::Pardon), ("strict", Authenticated::Strict)],
    );
    if let Some(Located { value: Authenticated::Strict, span }) = &authenticated {
        report.note(
            span,
            "strict: one packet with a client's forged address to a bait port locks \
            that client out for the ban's time",
        );
    }
    section.finish(report);
    Server {
        key,
        previous,
        clients,
        state: state.or_else(|| around.state.clone()).unwrap_or_else(|| DEFAULT_STATE.into()),
        control: control.unwrap_or_else(|| {
            around.runtime.clone().unwrap_or_else(|| DEFAULT_RUNTIME.into()).join("control.sock")
        }),
        hosts: into_values(hosts),
        ack: ack.is_none_or(|l| l.value),
        window_past,
        window_future,
        provisional,
        rotate_overlap,
        pair_age: pair_age.map_or(Some(DEFAULT_PAIR_AGE), |l| l.value),
        authenticated: authenticated.map(|l| l.value).unwrap_or_default(),
    }
}

/// Hosts that a client cannot reach, or more than an enrolment line carries.
fn check_hosts(
    report: &mut Report<'_>,
    section: &Section<'_>,
    hosts: Option<&Located<Vec<Located<String>>>>,
) {
    section.note_double(report, "hosts");
    let hosts = hosts.map(|hosts| hosts.value.as_slice()).unwrap_or_default();
    for host in hosts {
        let local = match host.value.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
            Ok(IpAddr::V6(address)) => address.is_loopback() || address.is_unicast_link_local(),
            Err(_) => {
                let name = host.value.trim_end_matches('.').to_ascii_lowercase();
                name == "localhost" || name.ends_with(".localhost")
            }
        };
        if local {
            report.warning(
                &host.span,
                format!(
                    "no other machine reaches this host as `{}`: write a name or an address that \
                     clients reach",
                    host.value
                ),
            );
        }
    }
    if let Some(beyond) = hosts.get(spa_keys::MAX_HOSTS) {
        report.error(
            &beyond.span,
            format!("an enrolment line carries {} hosts: take some out", spa_keys::MAX_HOSTS),
        );
    }
}

/// Parses the age at which a client is asked for new keys.
fn parse_pair_age(text: &str) -> Result<Option<Duration>, ValueError> {
    if text == "never" {
        return Ok(None);
    }
    match duration::parse(text) {
        Ok(age) if (ONE_DAY..=LONGEST_PAIR_AGE).contains(&age) => Ok(Some(age)),
        Ok(_) => Err(format!(
            "`pair-age` cannot be {text}: write a time from 1d to {}, or never",
            duration::format(LONGEST_PAIR_AGE)
        )
        .into()),
        Err(error) => Err(error.to_string().into()),
    }
}

fn parse_socket_path(text: &str) -> Result<PathBuf, ValueError> {
    if text.len() > LONGEST_SOCKET {
        return Err(format!(
            "the path has {} bytes; the kernel takes at most {LONGEST_SOCKET} for a socket",
            text.len()
        )
        .into());
    }
    parse_absolute_path(text)
}

fn secret_file(text: &str) -> Result<SecretFile, ValueError> {
    match text.strip_prefix("credential:") {
        None => parse_absolute_path(text).map(SecretFile::File),
        // A name with a slash would leave the folder that systemd made for us.
        Some(name)
            if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." =>
        {
            Err(format!(
                "`{}` names no credential: write `credential:NAME` as in the unit's \
                 LoadCredential=",
                text.escape_debug()
            )
            .into())
        }
        Some(name) => Ok(SecretFile::Credential(name.to_owned())),
    }
}
