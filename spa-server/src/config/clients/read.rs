//! Reading `clients.toml`.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeTable;
use zeroize::Zeroizing;

use spa_proto::service_id;

use super::super::findings::{Findings, Report, ValueError};
use super::super::host::{into_values, read_duration, truncate_network};
use super::super::model::{SecretFile, Service};
use super::super::section::Section;
use super::super::services::{LONGEST_TTL, read_stages, whole_seconds};
use super::super::span::{Located, Span};
use super::super::surroundings::{KeyText, Surroundings};
use super::super::{decode_text, find_syntax_error, parsers};
use super::{Client, MAX_GRANTS, Secret};
use crate::domain::dates;
use crate::domain::hours::Hours;
use crate::domain::rotation::Rotation;
use spa_keys::{ClientName, ServiceName, Severity, did_you_mean, duration};

const SHORTEST_TIME: Duration = Duration::from_secs(1);
const HOURS_EXAMPLE: &str = "\"Mon-Fri 08:00-18:00\"";

/// Reads the text of a clients' file. `services`: the configured ones, `None` to take any name.
/// Clients come with the findings unless one of those is an error.
pub fn parse_clients(
    name: &str,
    text: &str,
    services: Option<&[Service]>,
    around: &Surroundings<'_>,
) -> (Option<Vec<Client>>, Findings) {
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(_) => return (None, find_syntax_error(name, text)),
    };
    let mut report = Report::new(name, text);
    let mut root = Section::root(document.get_ref());
    let sections = root.read_tables(&mut report, "client");
    root.finish(&mut report);
    let mut clients = Vec::with_capacity(sections.len());
    for section in sections {
        clients.push(read_client(section, &mut report, services, around));
    }
    check_unique(&mut report, &clients, "name", |c| (c.client.name.as_ref(), &c.name_span));
    check_unique(&mut report, &clients, "key", |c| {
        (c.client.public.value.as_str(), &c.client.public.span)
    });
    let clients =
        (!report.has_errors()).then(|| clients.into_iter().map(|read| read.client).collect());
    (clients, report.finish())
}

/// Reads the clients' file itself.
pub(in super::super) fn load_clients(
    file: &SecretFile,
    services: Option<&[Service]>,
    around: &Surroundings<'_>,
) -> (Option<Vec<Client>>, Findings) {
    let Some(path) = file.path(around.credentials.as_deref()) else {
        let severity = if around.check_only { Severity::Note } else { Severity::Error };
        let text = "a credential, and $CREDENTIALS_DIRECTORY is not set: the unit's \
            LoadCredential= hands it to the daemon";
        let SecretFile::Credential(name) = file else { return (None, Findings::default()) };
        return (
            Some(Vec::new()),
            Findings::of_file(&format!("credential:{name}"), severity, text),
        );
    };
    let shown = path.display().to_string();
    match read_clients_file(&path, around) {
        Ok(bytes) => match decode_text(&shown, &bytes) {
            Ok(text) => parse_clients(&shown, text, services, around),
            Err(findings) => (None, findings),
        },
        // They may all have come by invitation.
        Err(e) if e.kind() == io::ErrorKind::NotFound => (Some(Vec::new()), Findings::default()),
        Err(e) => {
            (None, Findings::of_file(&shown, Severity::Error, format!("cannot be read: {e}")))
        }
    }
}

fn read_clients_file(path: &Path, around: &Surroundings<'_>) -> io::Result<Zeroizing<Vec<u8>>> {
    (around.read_secret)(path).map(Zeroizing::new)
}

/// A client and the place of its name.
pub(super) struct ClientRead {
    /// Client as read, also when there are findings about it.
    pub(super) client: Client,
    name_span: Span,
}

/// Reads a `[[client]]`. `services`: the configured ones, `None` to take any name.
pub(super) fn read_client(
    mut section: Section<'_>,
    report: &mut Report<'_>,
    services: Option<&[Service]>,
    around: &Surroundings<'_>,
) -> ClientRead {
    let s = &mut section;
    s.require(report, "name", "\"alice\"");
    let name = s.text(report, "name", "\"alice\"", ClientName::new);
    s.require(report, "public", "\"spa1…\"");
    let public = s.text(report, "public", "\"spa1…\"", |text| {
        (around.check_key)(KeyText::Public(text)).map(|()| text.to_owned())
    });
    s.require(report, "psk", "\"SPA-PSK-1…\"");
    let psk = s.text(report, "psk", "\"SPA-PSK-1…\"", |text| {
        (around.check_key)(KeyText::Psk(text)).map(|()| Secret::new(text.to_owned()))
    });
    s.require(report, "services", "[\"ssh\"]");
    if s.is_empty_array("services") {
        report.error(
            &s.span_of("services"),
            "the client may open nothing: write services = [\"ssh\"], or remove the client",
        );
    }
    let services =
        s.read_texts(report, "services", "[\"ssh\"]", |text| parse_service(text, services));
    let from = s.read_texts(report, "from", "[\"198.51.100.0/24\"]", parsers::parse_network);
    let from = from
        .map(|l| l.value)
        .unwrap_or_default()
        .iter()
        .map(|network| truncate_network(report, network))
        .collect();
    let hours = s.text(report, "hours", HOURS_EXAMPLE, |text| Hours::parse(text, &around.zone));
    let expires =
        s.text(report, "expires", "\"2027-01-31\"", |text| dates::parse(text, &around.zone));
    if let Some(expires) = &expires
        && around.now_ms.is_some_and(|now| expires.value <= now)
    {
        report.note(
            &expires.span,
            "its access has ended: remove the client, or give it more time with spa-server client \
             set NAME --expires DAY",
        );
    }
    let ttl = s
        .has("ttl")
        .then(|| read_duration(s, report, "ttl", SHORTEST_TIME, SHORTEST_TIME, LONGEST_TTL));
    let max_ttl = s
        .has("max-ttl")
        .then(|| read_duration(s, report, "max-ttl", LONGEST_TTL, SHORTEST_TIME, LONGEST_TTL));
    whole_seconds(report, s, ttl.unwrap_or_default(), max_ttl.unwrap_or_default());
    if let (Some(ttl), Some(max_ttl)) = (ttl, max_ttl)
        && ttl > max_ttl
    {
        let (ttl, max_ttl) = (duration::format(ttl), duration::format(max_ttl));
        report.error(
            &s.span_of("ttl"),
            format!(
                "ttl = \"{ttl}\" is longer than max-ttl = \"{max_ttl}\": shorten it or raise \
                max-ttl"
            ),
        );
    }
    let max_grants = s.number(report, "max-grants", 1..=65_535).map_or(MAX_GRANTS, |l| l.value);
    let grant_prefix_v4 = read_prefix(s, report, "grant-prefix-v4", 16, 32);
    let grant_prefix_v6 = read_prefix(s, report, "grant-prefix-v6", 48, 128);
    let third_party = s.read_boolean(report, "third-party").is_some_and(|l| l.value);
    let rotate = s.read_choice(report, "rotate", &Rotation::CHOICES).map(|l| l.value);
    let sequence = s.has("sequence").then(|| {
        let mut table = s.table(report, "sequence");
        let stages = read_stages(&mut table, report);
        table.finish(report);
        Box::new(stages)
    });
    let name_span = s.span_of("name");
    let header = s.span.clone();
    s.mark_known(&["ttl", "max-ttl", "sequence"]);
    section.finish(report);

    let mut services: Vec<u16> = into_values(services);
    services.sort_unstable();
    services.dedup();
    let name: Arc<str> = name.map_or_else(|| "".into(), |l| l.value.into());
    let client = Client {
        name,
        public: public.unwrap_or_else(|| Located { value: String::new(), span: header.clone() }),
        psk: psk.unwrap_or_else(|| Located { value: Secret::new(String::new()), span: header }),
        services: services.into(),
        from,
        hours: hours.map(|l| l.value),
        expires: expires.map(|l| l.value),
        ttl,
        max_ttl,
        max_grants,
        grant_prefix_v4,
        grant_prefix_v6,
        third_party,
        rotate,
        sequence,
        since: None,
        enrolled: false,
        former: None,
        undo: None,
    };
    ClientRead { client, name_span }
}

/// Leading bits; all of them when the key is not there. The least is as wide as a carrier's pool
/// may be.
fn read_prefix(
    s: &mut Section<'_>,
    report: &mut Report<'_>,
    key: &'static str,
    least: u8,
    all: u8,
) -> u8 {
    let read = s.number(report, key, u32::from(least)..=u32::from(all));
    read.and_then(|l| u8::try_from(l.value).ok()).unwrap_or(all)
}

fn parse_service(text: &str, services: Option<&[Service]>) -> Result<u16, ValueError> {
    match services {
        Some(all) if !all.iter().any(|s| s.name.as_ref() == text) => {
            let near = did_you_mean(text, all.iter().map(|s| s.name.as_ref()));
            Err(format!("there is no service `{}` in the configuration{near}", text.escape_debug())
                .into())
        }
        _ => match ServiceName::new(text) {
            Ok(name) => Ok(service_id(&name)),
            Err(error) => Err(error.to_string().into()),
        },
    }
}

/// Two clients with one name could not be told apart in the log, two with one key not at all.
fn check_unique<'c>(
    report: &mut Report<'_>,
    clients: &'c [ClientRead],
    what: &str,
    of: impl Fn(&'c ClientRead) -> (&'c str, &'c Span),
) {
    let mut seen: HashMap<&str, &ClientRead> = HashMap::with_capacity(clients.len());
    for client in clients {
        let (value, span) = of(client);
        if value.is_empty() {
            continue;
        }
        if let Some(first) = seen.get(value) {
            let line = report.line(of(first).1.start);
            report.error(
                span,
                format!(
                    "client `{}` in line {line} has the same {what}: every client needs its own",
                    first.client.name
                ),
            );
        } else {
            seen.insert(value, client);
        }
    }
}
