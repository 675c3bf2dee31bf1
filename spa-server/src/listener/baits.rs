//! Hits of bait ports, as the kernel logs them: each address once, it is banned from then on.

use std::io;
use std::time::Duration;

use spa_keys::Failure;

use super::readable::Readable;
use super::retry::retry_while_taken;
use crate::config::{Backend, Config};
use crate::firewall::baitlog::{BaitHit, BaitLog};
use crate::firewall::{Bait, Firewall as _};
use crate::ipc::client::BrokerClient;
use crate::log::{self, Level};
use crate::metrics::Tally;

/// Bans logged one by one within [`BAN_LINE_WINDOW`]; the others are counted, because
/// sources can be forged by the thousand and nobody may fill a disk from outside.
const MAX_BAN_LINES: u32 = 60;
const BAN_LINE_WINDOW: Duration = Duration::from_secs(60);

/// Budget of lines about bans.
#[derive(Debug, Default)]
struct BanLines {
    since: Duration,
    written: u32,
    left_out: u64,
}

impl BanLines {
    /// Tells whether one more line may be written at this moment of the monotonic clock.
    fn may_write(&mut self, mono: Duration) -> bool {
        if mono.saturating_sub(self.since) >= BAN_LINE_WINDOW {
            self.since = mono;
            self.written = 0;
        }
        if self.written < MAX_BAN_LINES {
            self.written += 1;
            return true;
        }
        self.left_out += 1;
        false
    }
}

/// The kernel's log of bait hits; none where the backend only observes.
pub(super) struct BaitWatch {
    log: Option<Readable<BaitLog>>,
    broker: BrokerClient,
    lines: BanLines,
}

/// Opens the kernel's log of bait hits, if rules of ours write one.
pub(super) fn open_bait_log(config: &Config, group: u16) -> Result<Option<BaitLog>, Failure> {
    if config.firewall.backend == Backend::Observe {
        return Ok(None);
    }
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    retry_while_taken(|| BaitLog::open(group), denied)
        .map(Some)
        .map_err(|error| explain_taken_group(group, error))
}

/// The kernel gives a log group to one process of a network namespace, and refuses it to others as
/// it refuses those without the capability. That we have it, the broker's reading of the table has
/// shown.
fn explain_taken_group(group: u16, error: io::Error) -> Failure {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return error.into();
    }
    Failure::failed(format!(
        "another program uses NFLOG group {group} in this network namespace, most likely another \
         spa-server: two of them cannot share the table inet spa, stop one"
    ))
}

impl BaitWatch {
    /// Reads this log, and tells the broker of the bans.
    pub(super) fn new(log: Option<BaitLog>, broker: BrokerClient) -> io::Result<Self> {
        let log = log.map(Readable::register).transpose()?;
        Ok(Self { log, broker, lines: BanLines::default() })
    }

    /// Waits for hits.
    pub(super) async fn next_hits(&mut self) -> Vec<BaitHit> {
        let Some(log) = &mut self.log else { return std::future::pending().await };
        let mut hits = Vec::new();
        let taken = match log.wait_readable().await {
            Ok(()) => log.take_waiting(|baits| baits.drain(&mut |hit| hits.push(hit))),
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            log::event(Level::Error, "bait-log").with("error", error).emit();
        }
        hits
    }

    /// Tells of hits: the kernel has banned their sources by the rule of a bait.
    pub(super) fn note_hits(
        &mut self,
        hits: Vec<BaitHit>,
        baits: &[Bait],
        tally: &mut Tally,
        mono: Duration,
    ) {
        for hit in hits {
            // A reload may have taken the bait away meanwhile.
            let Some(bait) = baits.iter().find(|bait| bait.name == hit.group) else { continue };
            tally.bait(&bait.name);
            self.broker.note_ban(hit.source, bait.ban);
            if self.lines.may_write(mono) {
                log::event(Level::Info, "banned")
                    .with("source", hit.source)
                    .with("bait", &hit.group)
                    .with("port", format_args!("{}/{}", hit.protocol, hit.port))
                    .with("time", format_args!("{}s", bait.ban.as_secs()))
                    .emit();
            }
        }
    }

    /// Bans without a line since the last call.
    pub(super) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.lines.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_lines_a_minute() {
        let mut lines = BanLines::default();
        let second = Duration::from_secs(1);
        let written = (0..1000).filter(|i| lines.may_write(second * *i / 100)).count();
        assert_eq!((written, lines.left_out), (60, 940));
        assert!(lines.may_write(second * 61));
    }
}
