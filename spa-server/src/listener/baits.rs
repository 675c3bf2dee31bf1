//! Hits of bait ports, as the kernel logs them: each address once, it is banned from then on.

use std::time::Duration;

use super::Listener;
use super::readable;
use crate::log::{self, Level};

/// Bans logged one by one within [`BAN_LINE_WINDOW`]; the others are counted, because
/// sources can be forged by the thousand and nobody may fill a disk from outside.
const MAX_BAN_LINES: u32 = 60;
const BAN_LINE_WINDOW: Duration = Duration::from_secs(60);

/// Budget of lines about bans.
#[derive(Debug, Default)]
pub(super) struct BanLines {
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

    /// Bans without a line since the last call.
    pub(super) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

impl Listener {
    /// Takes the hits of bait ports.
    pub(super) fn bait_hits(&mut self, outcome: std::io::Result<()>) {
        let mut hits = Vec::new();
        let taken = outcome.and_then(|()| {
            readable::take_waiting(&mut self.backend.baits, |baits| {
                baits.drain(&mut |hit| hits.push(hit))
            })
        });
        if let Err(error) = taken {
            log::event(Level::Error, "bait-log").with("error", error).emit();
        }
        let mono = self.clock.now().mono;
        for hit in hits {
            let Some(bait) = self.rules.baits.iter().find(|bait| bait.name == hit.group) else {
                continue;
            };
            self.telemetry.tally.bait(&bait.name);
            self.backend.firewall.note_ban(hit.source, bait.ban);
            if self.ban_lines.may_write(mono) {
                log::event(Level::Info, "banned")
                    .with("source", hit.source)
                    .with("bait", &hit.group)
                    .with("port", format_args!("{}/{}", hit.protocol, hit.port))
                    .with("time", format_args!("{}s", bait.ban.as_secs()))
                    .emit();
            }
        }
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
        assert_eq!((written, lines.take_left_out(), lines.take_left_out()), (60, 940, 0));
        assert!(lines.may_write(second * 61));
    }
}
