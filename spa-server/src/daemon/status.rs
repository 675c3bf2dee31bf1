//! `status`: how the server is, in one object.

use serde_json::json;

use super::Daemon;
use super::control::Answer;

impl Daemon {
    pub(super) fn status(&mut self) -> Answer {
        let now = self.clock.now();
        let counters = self.engine.counters();
        let grants = match self.backend.firewall.grants() {
            Ok(grants) => grants,
            Err(error) => return Answer::bad(error.to_string()),
        };
        let bans = match self.backend.firewall.bans() {
            Ok(bans) => bans.len(),
            Err(error) => return Answer::bad(error.to_string()),
        };
        let grants: Vec<_> = grants
            .iter()
            .map(|live| {
                json!({
                    "grant": live.grant.id.to_string(), "client": &*live.grant.client,
                    "service": &*live.grant.service, "source": live.grant.source.to_string(),
                    "left-s": live.left.as_secs(),
                })
            })
            .collect();
        Answer::good(json!({
            "server-version": env!("CARGO_PKG_VERSION"),
            "up-s": now.mono.as_secs(),
            "backend": self.backend.firewall.name(),
            "capture": self.capture.as_ref().map(|capture| capture.get_ref().0.name()),
            "clients": self.engine.registry().len(),
            "fence-left-s": self.engine.fence_left(now).as_secs_f64().ceil(),
            "grants": grants,
            "not-hidden": self.visible,
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
