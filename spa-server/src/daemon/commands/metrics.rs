//! `metrics`: the counters as Prometheus text (exposition format 0.0.4).

use serde_json::{Value, json};
use spa_keys::Failure;

use super::Daemon;
use crate::engine::Counters;

/// What is told.
struct Snapshot {
    counters: Counters,
    lost: u64,
    clients: usize,
    grants: usize,
    bans: usize,
}

impl Daemon {
    pub(super) fn metrics(&mut self) -> Result<Value, Failure> {
        let snapshot = Snapshot {
            counters: self.engine.counters(),
            lost: self.lost,
            clients: self.engine.registry().len(),
            grants: self.backend.firewall.grants()?.len(),
            bans: self.backend.firewall.bans()?.len(),
        };
        Ok(json!({ "text": text(&snapshot) }))
    }
}

fn text(snapshot: &Snapshot) -> String {
    let Snapshot { counters, lost, clients, grants, bans } = snapshot;
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, values: &[(&str, u64)]| {
        out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for (labels, value) in values {
            out.push_str(&format!("{name}{labels} {value}\n"));
        }
    };
    family("spa_packets_total", "counter", "Datagrams at knock ports.", &[("", counters.datagrams)]);
    family(
        "spa_packets_refused_total",
        "counter",
        "Datagrams that were no part of a knock, by why.",
        &[
            ("{why=\"stranger\"}", counters.strangers()),
            ("{why=\"wrong-port\"}", counters.wrong_port),
            ("{why=\"replayed\"}", counters.replayed),
            ("{why=\"over-budget\"}", counters.over_budget),
            ("{why=\"not-authentic\"}", counters.not_authentic),
            ("{why=\"bad-signature\"}", counters.bad_signature),
            ("{why=\"ignored\"}", counters.ignored),
            ("{why=\"lost\"}", *lost),
        ],
    );
    family(
        "spa_knocks_total",
        "counter",
        "Complete knocks, by verdict.",
        &[
            ("{verdict=\"granted\"}", counters.granted),
            ("{verdict=\"denied\"}", counters.denied),
            ("{verdict=\"stale\"}", counters.stale),
            ("{verdict=\"failed\"}", counters.failed),
        ],
    );
    for (name, help, value) in [
        ("spa_clients", "Enrolled clients.", clients),
        ("spa_grants", "Live grants, by the kernel's word.", grants),
        ("spa_bans", "Live bans, by the kernel's word.", bans),
    ] {
        family(name, "gauge", help, &[("", *value as u64)]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_prometheus_text() {
        let counters = Counters { datagrams: 7, wrong_mac: 2, granted: 1, ..Counters::default() };
        let text = text(&Snapshot { counters, lost: 3, clients: 5, grants: 1, bans: 4 });
        for line in [
            "# TYPE spa_packets_total counter",
            "spa_packets_total 7",
            "spa_packets_refused_total{why=\"stranger\"} 2",
            "spa_packets_refused_total{why=\"lost\"} 3",
            "spa_knocks_total{verdict=\"granted\"} 1",
            "spa_clients 5",
            "spa_grants 1",
            "spa_bans 4",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
        }
        assert!(text.ends_with('\n') && text.lines().all(|l| l.starts_with("# ") || l.starts_with("spa_")));
    }
}
