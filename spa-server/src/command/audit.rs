//! `spa-server audit`.

use std::collections::BTreeSet;

use clap::Args;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::json;
use spa_keys::{UnixMillis, did_you_mean, exit};

use super::rights::parse_number;
use super::{ConfigArg, output};
use crate::config;
use crate::config::surroundings;
use crate::control::{self, Command};
use crate::store::audit::{self, AuditQuery, Entry, Page};
use spa_keys::Failure;
use spa_keys::duration;

/// List past and present grants: who, from where, how long
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  spa-server audit --client laptop --since 7d")]
pub(super) struct AuditArgs {
    /// Grants of this client only
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// Grants for this service only
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Grants that were open at this moment or later: 7d, 2026-11-22, or 2026-11-22T18:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The newest so many; 0: all of them
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = parse_number::<usize>)]
    limit: usize,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

impl AuditArgs {
    /// Reads the audit record from its file, so it needs no running server.
    pub(super) fn run(self) -> Result<(), Failure> {
        let around = surroundings(true);
        let config = config::load_alone(&self.config.config, &around)
            .map_err(|findings| Failure::config(findings.to_string()))?;
        let since = self.since.as_deref();
        let since_ms = since.map(|text| parse_since(text, &around.zone)).transpose()?;
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        let query = AuditQuery {
            client: self.client,
            service: self.service,
            since_ms,
            before: None,
            limit: Some(limit),
        };
        let mut entries = read_entries(&config, &query)?;
        entries.reverse();
        if self.json {
            return output::answer(&format!("{}\n", json!({"version": 1, "entries": entries})));
        }
        if entries.is_empty() {
            let near = query.client.as_deref().map(|name| suggest_client(&config, name));
            let near = near.transpose()?.unwrap_or_default();
            spa_keys::note!("the record has no such grant{near}");
        }
        output::answer(&text(&entries, &around.zone))
    }
}

/// Reads the entries by the running server, or from the file when none runs.
fn read_entries(config: &config::Config, query: &AuditQuery) -> Result<Vec<Entry>, Failure> {
    match ask(&config.server.control, query)? {
        Some(entries) => Ok(entries),
        None => audit::read(&config.server.state, query).map_err(|error| {
            let code = if error.is_permission() { exit::PERMISSION } else { exit::FAILURE };
            Failure::new(code, error.to_string())
        }),
    }
}

/// Suggests a client of the record for a name that it does not know; removed ones stand there too.
fn suggest_client(config: &config::Config, name: &str) -> Result<String, Failure> {
    let all = read_entries(config, &AuditQuery::default())?;
    let names: BTreeSet<&str> = all.iter().map(|entry| &*entry.client).collect();
    // A client that is known has grants of another service or time: nothing was misspelt.
    Ok(if names.contains(name) { String::new() } else { did_you_mean(name, names) })
}

/// Asks the running server, page by page; `None` when none runs.
fn ask(socket: &std::path::Path, query: &AuditQuery) -> Result<Option<Vec<Entry>>, Failure> {
    let limit = query.limit.unwrap_or(usize::MAX);
    let mut query = query.clone();
    let mut entries = Vec::new();
    loop {
        query.limit = Some(limit - entries.len());
        let request = Command::Audit(query.clone());
        let Some(page) = control::client::request::<Page>(socket, request)? else {
            return Ok(None);
        };
        entries.extend(page.entries);
        match page.next {
            Some(next) if entries.len() < limit => query.before = Some(next),
            _ => return Ok(Some(entries)),
        }
    }
}

/// Parses a time before now, a day from its first moment on, or a moment, to Unix milliseconds.
fn parse_since(text: &str, zone: &TimeZone) -> Result<u64, Failure> {
    if let Ok(ago) = duration::parse(text) {
        return Ok((UnixMillis::now() - ago).as_millis());
    }
    // A day alone is its first moment.
    let local =
        |moment: DateTime| moment.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp());
    let exact = text.parse::<Timestamp>().ok();
    let found = exact.or_else(|| text.parse().ok().and_then(local));
    found.and_then(|moment| u64::try_from(moment.as_millisecond()).ok()).ok_or_else(|| {
        Failure::usage(format!(
            "`{}` is not a time: write `7d`, `2026-11-22` or `2026-11-22T18:00:00Z`",
            text.escape_debug()
        ))
    })
}

const TABLE_HEADER: [&str; 10] = [
    "GRANT", "CLIENT", "SERVICE", "FOR", "OPENED", "UNTIL", "ENDED BY", "ASKED", "RENEWED", "USED",
];

fn text(entries: &[Entry], zone: &TimeZone) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let mut rows = vec![TABLE_HEADER.map(str::to_owned)];
    rows.extend(entries.iter().map(|entry| format_row(entry, zone)));
    let widths: [usize; TABLE_HEADER.len()] = std::array::from_fn(|column| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    });
    let mut out = String::new();
    for (number, row) in rows.into_iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
        // The newest first: what was left out before an entry stands behind it.
        let entry = number.checked_sub(1).and_then(|number| entries.get(number));
        if let Some(entry) = entry.filter(|entry| entry.left_out > 0) {
            let (count, client) = (entry.left_out, &entry.client);
            out.push_str(&format!("       {client}: {count} more, without an entry\n"));
        }
    }
    out
}

fn format_row(entry: &Entry, zone: &TimeZone) -> [String; TABLE_HEADER.len()] {
    let network = entry.network;
    let alone = network.prefix_len() == network.max_prefix_len();
    let unknown = || "-".to_owned();
    [
        entry.grant.to_string(),
        entry.client.clone(),
        entry.service.clone(),
        if alone { network.addr().to_string() } else { network.to_string() },
        format_local(entry.opened_ms, zone),
        format_local(entry.last_ms(), zone),
        entry.end.map_or_else(|| "open".to_owned(), |end| end.ended_by.to_string()),
        entry
            .asked_s
            .map_or_else(unknown, |asked| duration::format(std::time::Duration::from_secs(asked))),
        entry.renewed.to_string(),
        entry.used.map_or_else(unknown, |used| used.to_string()),
    ]
}

fn format_local(unix_ms: u64, zone: &TimeZone) -> String {
    let moment = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    moment.map_or_else(
        || "-".to_owned(),
        |moment| zone.to_datetime(moment).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::grant::RevokeReason;
    use crate::store::audit::{End, EndedBy};

    #[test]
    fn moments() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        for (text, expected) in [
            ("2026-11-22", 1_795_302_000_000),
            ("2026-11-22T18:00:00Z", 1_795_370_400_000),
            ("2026-11-22 18:00:00", 1_795_366_800_000),
            ("2026-07-01", 1_782_856_800_000),
        ] {
            assert_eq!(parse_since(text, &berlin), Ok(expected), "{text}");
        }
        let now = parse_since("0s", &berlin).unwrap();
        assert!((604_799_000..=604_801_000).contains(&(now - parse_since("7d", &berlin).unwrap())));
        assert_eq!(parse_since("99999d", &berlin), Ok(0));
        for text in ["", "yesterday", "7", "1969-01-01", "2026-13-01"] {
            assert!(
                parse_since(text, &berlin).is_err_and(|error| error.problem.contains("7d")),
                "{text}"
            );
        }
    }

    #[test]
    fn table() {
        let entry = |grant: u64, network: &str, end, used| Entry {
            grant: crate::domain::grant::GrantId(grant),
            client: "alice".to_owned(),
            opened_by: None,
            service: "ssh".to_owned(),
            network: network.parse().unwrap(),
            opened_ms: 1_795_370_400_000,
            until_ms: 1_795_370_700_000,
            asked_s: used,
            ttl_s: 300,
            renewed: 0,
            used,
            left_out: 0,
            end,
        };
        let end = |ended_by| Some(End { ended_ms: 1_795_370_460_000, ended_by });
        let entries = [
            entry(1, "192.0.2.1/32", end(EndedBy::Uid(1000)), Some(90)),
            entry(22, "2001:db8::/64", end(EndedBy::Reload(RevokeReason::Client)), None),
            entry(3, "192.0.2.1/32", None, Some(0)),
        ];
        let expected = "\
GRANT  CLIENT  SERVICE  FOR            OPENED               UNTIL                ENDED BY        ASKED  RENEWED  USED
g1     alice   ssh      192.0.2.1      2026-11-22 18:00:00  2026-11-22 18:01:00  uid:1000        1m30s  0        90
g22    alice   ssh      2001:db8::/64  2026-11-22 18:00:00  2026-11-22 18:01:00  client-removed  -      0        -
g3     alice   ssh      192.0.2.1      2026-11-22 18:00:00  2026-11-22 18:05:00  open            0s     0        0
";
        assert_eq!(text(&entries, &TimeZone::UTC), expected);
        assert_eq!(text(&[], &TimeZone::UTC), "");
    }
}
