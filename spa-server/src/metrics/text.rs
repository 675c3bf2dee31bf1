//! The text format of Prometheus (its document "Exposition formats", version 0.0.4).

use std::fmt::{Display, Write};

use super::{BUCKETS_MS, MetricsSnapshot};

/// Every metric: name, type, help. The order of the text.
pub const METRIC_NAMES: [(&str, &str, &str); 30] = [
    ("spa_build_info", "gauge", "Always 1; the version is a label."),
    ("spa_process_start_time_seconds", "gauge", "When the server started, unix time."),
    ("spa_clients", "gauge", "Enrolled clients."),
    (
        "spa_fence_seconds",
        "gauge",
        "How long knocks are still refused after a start without a clean stop.",
    ),
    ("spa_packets_total", "counter", "Datagrams at the knock ports."),
    ("spa_packets_lost_total", "counter", "Datagrams that the capture had no room for."),
    ("spa_strangers_total", "counter", "Datagrams that no key of ours made, by what was wrong."),
    (
        "spa_packets_refused_total",
        "counter",
        "Datagrams of real or stolen keys that led to nothing, by why.",
    ),
    ("spa_stages_total", "counter", "Stages accepted."),
    ("spa_knocks_total", "counter", "Sessions by verdict and reason."),
    (
        "spa_last_accepted_knock_timestamp_seconds",
        "gauge",
        "When a knock last opened or renewed, unix time; 0: not since the start.",
    ),
    (
        "spa_knock_open_seconds",
        "histogram",
        "From the arrival of the last stage to the opened firewall.",
    ),
    ("spa_grants", "gauge", "Live grants by service."),
    ("spa_bans", "gauge", "Live bans."),
    ("spa_bait_hits_total", "counter", "Addresses banned by a bait, by its group."),
    (
        "spa_firewall_restores_total",
        "counter",
        "Changes of our table by other programs, by whether they could be undone.",
    ),
    (
        "spa_exposed_services",
        "gauge",
        "Services, by family, that strangers may reach: not hidden, or that cannot be said.",
    ),
    (
        "spa_blocked_services",
        "gauge",
        "Services, by family, that a grant does not open, for the rules of others.",
    ),
    (
        "spa_useless_interfaces",
        "gauge",
        "Interfaces that the configuration names and that strangers cannot use.",
    ),
    (
        "spa_missing_knock_ports",
        "gauge",
        "Knock ports, by family, that another program uses: nothing is received there.",
    ),
    ("spa_reloads_total", "counter", "Reloads by outcome."),
    ("spa_internal_errors_total", "counter", "States that ought to be impossible: a bug."),
    ("spa_store_errors_total", "counter", "Failed writes of the replay record."),
    (
        "spa_hook_failures_total",
        "counter",
        "Programs of on-open and on-close that failed or were not run, by service and hook.",
    ),
    (
        "spa_enforcer_ready",
        "gauge",
        "1 while an enforcer has exactly what is to be open, by its name.",
    ),
    (
        "spa_enforcer_failures_total",
        "counter",
        "Grants refused because an enforcer did not open them, by its name.",
    ),
    ("spa_audit_lost_total", "counter", "Audit entries that were lost."),
    (
        "spa_audit_left_out_total",
        "counter",
        "Grants without an audit entry: their client or user opened too many.",
    ),
    (
        "spa_log_left_out_total",
        "counter",
        "Log lines left out: their client or user caused too many.",
    ),
    ("spa_snapshot_timestamp_seconds", "gauge", "When these figures were taken, unix time."),
];

type Samples<'s> = Vec<(String, String)>;

/// The text, with a newline at its end. `unix_ms`: when the snapshot was taken.
#[must_use]
pub fn text(snapshot: &MetricsSnapshot, unix_ms: u64) -> String {
    let mut out = String::with_capacity(8192);
    for (name, kind, help) in METRIC_NAMES {
        let samples = collect_samples(name, snapshot, unix_ms);
        if samples.is_empty() {
            continue;
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (series, value) in samples {
            let _ = writeln!(out, "{series} {value}");
        }
    }
    out
}

fn collect_samples(name: &str, s: &MetricsSnapshot, unix_ms: u64) -> Samples<'static> {
    let (c, t) = (&s.counters, &s.tally);
    let one = |value: &dyn Display| vec![(name.to_owned(), value.to_string())];
    let by = |label: &str, values: &[(&str, u64)]| -> Samples<'static> {
        values
            .iter()
            .map(|(word, value)| (format_series(name, &[(label, word)]), value.to_string()))
            .collect()
    };
    match name {
        "spa_build_info" => vec![(format_series(name, &[("version", s.version)]), "1".to_owned())],
        "spa_process_start_time_seconds" => one(&format_seconds(s.started_ms)),
        "spa_clients" => one(&s.clients),
        "spa_exposed_services" => one(&s.exposed),
        "spa_blocked_services" => one(&s.blocked),
        "spa_useless_interfaces" => one(&s.useless_interfaces),
        "spa_missing_knock_ports" => one(&s.missing_ports),
        "spa_fence_seconds" => one(&s.fence.as_secs_f64()),
        "spa_packets_total" => one(&c.datagrams),
        "spa_packets_lost_total" => one(&s.lost),
        "spa_strangers_total" => by(
            "kind",
            &[
                ("wrong-length", c.wrong_length),
                ("wrong-address", c.wrong_address),
                ("unknown-tag", c.unknown_tag),
                ("wrong-mac", c.wrong_mac),
            ],
        ),
        "spa_packets_refused_total" => by(
            "kind",
            &[
                ("wrong-port", c.wrong_port),
                ("replayed", c.replayed),
                ("over-budget", c.over_budget),
                ("not-authentic", c.not_authentic),
                ("bad-signature", c.bad_signature),
                ("ignored", c.ignored),
            ],
        ),
        "spa_stages_total" => one(&c.stages),
        "spa_knocks_total" => {
            let pair = |((verdict, reason), count): (&(&str, &str), &u64)| {
                (
                    format_series(name, &[("verdict", verdict), ("reason", reason)]),
                    count.to_string(),
                )
            };
            t.knocks.iter().map(pair).collect()
        }
        "spa_last_accepted_knock_timestamp_seconds" => {
            one(&format_seconds(t.accepted_ms.unwrap_or(0)))
        }
        "spa_knock_open_seconds" => histogram_samples(name, s),
        "spa_grants" => by("service", &borrow_labels(&s.grants)),
        "spa_bans" => s.bans.map_or_else(Vec::new, |bans| one(&bans)),
        "spa_bait_hits_total" => by("bait", &borrow_labels(&s.baits)),
        "spa_firewall_restores_total" => {
            by("outcome", &[("done", t.restores), ("failed", t.restores_failed)])
        }
        "spa_reloads_total" => {
            by("outcome", &[("done", t.reloads), ("refused", t.reloads_refused)])
        }
        "spa_internal_errors_total" if c.internal_errors > 0 => one(&c.internal_errors),
        "spa_store_errors_total" => one(&t.store_errors),
        "spa_hook_failures_total" => {
            let one = |(service, hook, count): &(String, &'static str, u64)| {
                (format_series(name, &[("service", service), ("hook", hook)]), count.to_string())
            };
            s.hooks.iter().map(one).collect()
        }
        "spa_enforcer_ready" => {
            let one = |(enforcer, ready, _): &(String, bool, u64)| {
                (format_series(name, &[("enforcer", enforcer)]), u8::from(*ready).to_string())
            };
            s.enforcers.iter().map(one).collect()
        }
        "spa_enforcer_failures_total" => {
            let one = |(enforcer, _, count): &(String, bool, u64)| {
                (format_series(name, &[("enforcer", enforcer)]), count.to_string())
            };
            s.enforcers.iter().map(one).collect()
        }
        "spa_audit_lost_total" => one(&s.audit_lost),
        "spa_audit_left_out_total" => one(&s.audit_left_out),
        "spa_log_left_out_total" => one(&t.lines_left_out),
        "spa_snapshot_timestamp_seconds" => one(&format_seconds(unix_ms)),
        _ => Vec::new(),
    }
}

fn histogram_samples(name: &str, s: &MetricsSnapshot) -> Samples<'static> {
    let times = &s.tally.open_time;
    let bounds = BUCKETS_MS.iter().map(|ms| (ms / 1e3).to_string()).chain(["+Inf".to_owned()]);
    let mut sum = 0;
    let mut out: Vec<_> = bounds
        .zip(times.counts)
        .map(|(bound, count)| {
            sum += count;
            (format_series(&format!("{name}_bucket"), &[("le", &bound)]), sum.to_string())
        })
        .collect();
    out.push((format!("{name}_sum"), times.sum.as_secs_f64().to_string()));
    out.push((format!("{name}_count"), sum.to_string()));
    out
}

fn borrow_labels(values: &[(String, u64)]) -> Vec<(&str, u64)> {
    values.iter().map(|(word, value)| (word.as_str(), *value)).collect()
}

fn format_seconds(unix_ms: u64) -> String {
    format!("{}.{:03}", unix_ms / 1000, unix_ms % 1000)
}

fn format_series(name: &str, labels: &[(&str, &str)]) -> String {
    let labels: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}=\"{}\"", escape_label(value)))
        .collect();
    format!("{name}{{{}}}", labels.join(","))
}

fn escape_label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
