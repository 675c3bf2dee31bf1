//! Tag tables that are built on other threads, before they are needed.

use std::sync::Arc;

use spa_proto::TagTable;
use tokio::sync::mpsc::UnboundedSender;

use crate::engine::Registry;

/// A table that was built.
pub(super) struct BuiltTable {
    generation: u64,
    epoch: u64,
    table: TagTable,
}

/// Builds that are under way.
pub(super) struct TableBuilds {
    /// Epochs, so that no table is built twice.
    epochs: Vec<u64>,
    /// Number of reloads: a table that was begun before one is of no use after it.
    generation: u64,
    built: UnboundedSender<BuiltTable>,
}

impl TableBuilds {
    /// No builds yet; the tables go to `built`.
    pub(super) fn new(built: UnboundedSender<BuiltTable>) -> Self {
        Self { epochs: Vec::new(), generation: 0, built }
    }

    /// Begins the table of an epoch, unless it is under way.
    pub(super) fn begin_table(&mut self, epoch: u64, registry: &Arc<Registry>, stages: u8) {
        if self.epochs.contains(&epoch) {
            return;
        }
        self.epochs.push(epoch);
        let (built, generation) = (self.built.clone(), self.generation);
        let registry = Arc::clone(registry);
        tokio::task::spawn_blocking(move || {
            let table = registry.table(epoch, stages);
            let _stopping = built.send(BuiltTable { generation, epoch, table });
        });
    }

    /// Ends a build. Returns epoch and table, unless a reload came between.
    pub(super) fn end_table(&mut self, built: BuiltTable) -> Option<(u64, TagTable)> {
        let BuiltTable { generation, epoch, table } = built;
        if generation != self.generation {
            return None;
        }
        self.epochs.retain(|known| *known != epoch);
        Some((epoch, table))
    }

    /// Makes all builds that are under way void.
    pub(super) fn forget_all(&mut self) {
        self.generation += 1;
        self.epochs.clear();
    }
}
