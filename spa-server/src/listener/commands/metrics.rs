//! `metrics`: the figures as Prometheus text (exposition format 0.0.4).

use super::Listener;
use crate::control::rows::MetricsText;
use crate::metrics;

impl Listener {
    /// Renders the figures of this moment.
    pub(super) fn render_metrics(&mut self) -> MetricsText {
        let snapshot = self.collect_figures();
        MetricsText { text: metrics::text(&snapshot, self.clock.now().unix_ms) }
    }
}
