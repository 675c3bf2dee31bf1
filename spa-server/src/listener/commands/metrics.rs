//! `metrics`: the figures as Prometheus text (exposition format 0.0.4).

use super::Daemon;
use crate::control::rows::MetricsText;
use crate::metrics;

impl Daemon {
    pub(super) fn metrics(&mut self) -> MetricsText {
        let snapshot = self.figures();
        MetricsText { text: metrics::text(&snapshot, self.clock.now().unix_ms) }
    }
}
