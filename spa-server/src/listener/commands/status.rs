//! `status`: how the server is, in one object.

use serde_json::{Value, json};
use spa_keys::Failure;

use super::{Daemon, grants as rows};
use crate::firewall::{Hide, Mode};

/// How the last reload ended.
#[derive(Clone, Debug)]
pub(in crate::listener) struct LastReload {
    /// When, unix milliseconds.
    pub(in crate::listener) at_ms: u64,
    /// Why it changed nothing.
    pub(in crate::listener) refused: Option<Failure>,
}

impl Daemon {
    pub(super) fn status(&mut self, brief: bool) -> Result<Value, Failure> {
        let now = self.clock.now();
        let counters = self.engine.counters();
        let grants = self.backend.firewall.grants()?;
        let bans = self.backend.firewall.bans()?.len();
        // Asked anew: another firewall may have been started, or repaired, since we were.
        let obstacles = if brief { Vec::new() } else { self.backend.firewall.obstacles()? };
        let obstacles: Vec<_> = obstacles
            .iter()
            .map(|found| json!({ "chain": found.chain, "text": found.text }))
            .collect();
        let reload = self.last_reload.as_ref().map(|last| {
            let refused = last.refused.as_ref();
            json!({
                "ms": last.at_ms, "ok": refused.is_none(), "error": refused.map(ToString::to_string),
                "exit-code": refused.map(|why| why.code),
            })
        });
        Ok(json!({
            "server-version": env!("CARGO_PKG_VERSION"),
            "up-s": now.mono.as_secs(),
            "backend": self.backend.firewall.name(),
            "capture": self.capture.as_ref().map(|capture| capture.get_ref().0.name()),
            "clients": self.engine.registry().clients(),
            "key-change": self.key_change(),
            "fence-left-s": self.engine.fence_left(now).as_secs_f64().ceil(),
            "not-hidden": self.visible,
            "protection": {
                "mode": match self.rules.mode { Mode::Guard => "guard", Mode::Standalone => "standalone" },
                "hide": match self.rules.hide { Hide::Drop => "drop", Hide::Closed => "closed" },
                // An observer protects nothing, and neither does a table that somebody took away.
                "in-force": self.backend.firewall.name() != "observe" && !self.broken,
            },
            // The sandbox forbids adjtimex(2): `spa-server status` fills it in.
            "clock": { "ms": now.unix_ms, "synchronised": null },
            "reload": reload,
            "trial": self.trial_row(),
            "rolled-back": self.back_row(),
            "obstacles": (!brief).then_some(obstacles),
            "grants": grants.iter().map(rows::row).collect::<Vec<_>>(),
            "bans": bans,
            "packets": {
                "all": counters.datagrams, "strangers": counters.strangers(), "replayed": counters.replayed,
                "lost": self.lost, "wrong-port": counters.wrong_port, "over-budget": counters.over_budget,
                "not-authentic": counters.not_authentic, "bad-signature": counters.bad_signature,
                "ignored": counters.ignored, "stages": counters.stages,
            },
            "knocks": {
                "granted": counters.granted, "denied": counters.denied, "stale": counters.stale,
                "failed": counters.failed,
            },
        }))
    }
}
