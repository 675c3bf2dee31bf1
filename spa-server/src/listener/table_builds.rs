//! Tag tables that are built on other threads, before they are needed.

use std::sync::Arc;
use std::time::Duration;

use spa_proto::TagTable;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::engine::Registry;

/// Tag tables are built this long before they are needed.
pub(super) const TABLE_LEAD_TIME: Duration = Duration::from_secs(20);

/// A table that was built.
struct BuiltTable {
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
    sender: UnboundedSender<BuiltTable>,
    built: UnboundedReceiver<BuiltTable>,
}

impl TableBuilds {
    /// No builds yet.
    pub(super) fn new() -> Self {
        let (sender, built) = unbounded_channel();
        Self { epochs: Vec::new(), generation: 0, sender, built }
    }

    /// Begins the table of an epoch, unless it is under way.
    pub(super) fn begin_table(&mut self, epoch: u64, registry: &Arc<Registry>, stages: u8) {
        if self.epochs.contains(&epoch) {
            return;
        }
        self.epochs.push(epoch);
        let (built, generation) = (self.sender.clone(), self.generation);
        let registry = Arc::clone(registry);
        tokio::task::spawn_blocking(move || {
            let table = registry.table(epoch, stages);
            let _stopping = built.send(BuiltTable { generation, epoch, table });
        });
    }

    /// Waits for a table that no reload has made void meanwhile. Returns its epoch as well.
    pub(super) async fn next_table(&mut self) -> (u64, TagTable) {
        while let Some(BuiltTable { generation, epoch, table }) = self.built.recv().await {
            if generation == self.generation {
                self.epochs.retain(|known| *known != epoch);
                return (epoch, table);
            }
        }
        // Never: a sender of ours stays.
        std::future::pending().await
    }

    /// Makes all builds that are under way void.
    pub(super) fn forget_all(&mut self) {
        self.generation += 1;
        self.epochs.clear();
    }
}
