//! The tag tables of the live epochs.

use std::time::Duration;

use spa_keys::whole_millis;
use spa_proto::{EPOCH_MS, Hit, TagTable, epoch_of};

use super::Now;
use super::registry::Registry;
use super::settings::Settings;

/// A clock that is off by up to this much still gets a `stale` ack that says by how much.
const DIAGNOSED_CLOCK_ERROR: Duration = Duration::from_secs(5 * 60);
/// Above this many clients only the window's own epochs are kept: the others would cost memory that
/// counts.
const DIAGNOSE_CLIENTS: usize = 10_000;

/// First and last epoch whose tags are known at a time.
#[must_use]
pub fn live_epochs(clients: usize, settings: &Settings, unix_ms: u64) -> (u64, u64) {
    let reach = |window: Duration| {
        if clients <= DIAGNOSE_CLIENTS { window.max(DIAGNOSED_CLOCK_ERROR) } else { window }
    };
    (
        epoch_of(unix_ms.saturating_sub(whole_millis(reach(settings.past_reach())))),
        epoch_of(unix_ms.saturating_add(whole_millis(reach(settings.window_future)))),
    )
}

/// Time after its time stamp for which a session's tag may be live, in milliseconds.
pub(super) fn keep_ms(clients: usize, settings: &Settings) -> u64 {
    let diagnose = if clients <= DIAGNOSE_CLIENTS { DIAGNOSED_CLOCK_ERROR } else { Duration::ZERO };
    whole_millis(settings.past_reach().max(diagnose)).saturating_add(EPOCH_MS)
}

/// Tables by epoch.
#[derive(Default)]
pub(super) struct Tables {
    live: Vec<(u64, TagTable)>,
}

impl Tables {
    /// Clients, stages and epochs that a packet's tag may mean.
    pub(super) fn find_tag<'a>(
        &'a self,
        packet: &'a [u8],
    ) -> impl Iterator<Item = (u64, Hit)> + 'a {
        self.live
            .iter()
            .flat_map(move |(epoch, table)| table.find(packet).map(move |hit| (*epoch, hit)))
    }

    /// Installs the table of an epoch, in place of an older one of the same epoch.
    pub(super) fn install_table(&mut self, epoch: u64, table: TagTable) {
        self.live.retain(|(known, _)| *known != epoch);
        self.live.push((epoch, table));
        // Nearly every live client's packet carries the newest epochs.
        self.live.sort_by_key(|(known, _)| std::cmp::Reverse(*known));
    }

    /// Epochs that should be live now and have no table.
    pub(super) fn missing_epochs(
        &self,
        registry: &Registry,
        settings: &Settings,
        now: Now,
        ahead: Duration,
    ) -> Vec<u64> {
        let (first, _) = live_epochs(registry.len(), settings, now.unix_ms);
        let (_, last) =
            live_epochs(registry.len(), settings, now.unix_ms.saturating_add(whole_millis(ahead)));
        (first..=last).filter(|epoch| !self.live.iter().any(|(known, _)| known == epoch)).collect()
    }

    /// Drops the tables of epochs that are over.
    pub(super) fn retire_epochs(&mut self, registry: &Registry, settings: &Settings, now: Now) {
        let (first, last) = live_epochs(registry.len(), settings, now.unix_ms);
        // One epoch ahead stays: it was built for the next minute.
        self.live.retain(|(epoch, _)| (first..=last.saturating_add(1)).contains(epoch));
    }
}
