//! `metrics`: the figures as Prometheus text (exposition format 0.0.4).

use serde_json::{Value, json};

use super::Daemon;
use crate::metrics;

impl Daemon {
    pub(super) fn metrics(&mut self) -> Value {
        let snapshot = self.figures();
        json!({ "text": metrics::text(&snapshot, self.clock.now().unix_ms) })
    }
}
