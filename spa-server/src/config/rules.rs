//! From the configuration to the rules of our table.

use super::model::{CaptureMode, Config, Service};
use super::words::join;
use crate::firewall::Rules;
use crate::ports::PortRange;

/// NFLOG group of knocks; the letters "SP". Groups below 100 are what other tools take by default.
pub const KNOCK_NFLOG_GROUP: u16 = 0x5350;
/// NFLOG group of bait hits.
pub const BAIT_NFLOG_GROUP: u16 = 0x5351;

impl Config {
    /// The rules for our table while knocks come to the ports `knock`.
    #[must_use]
    pub fn rules(&self, knock: &[PortRange]) -> Rules {
        self.rules_hiding(knock, |_| true)
    }

    /// The same, hiding only some services.
    #[must_use]
    pub fn rules_hiding(&self, knock: &[PortRange], hides: impl Fn(&Service) -> bool) -> Rules {
        let hidden = self.services.iter().filter(|service| hides(service));
        Rules {
            mode: self.firewall.mode,
            hide: self.firewall.hide,
            interfaces: self.firewall.interfaces.clone(),
            protected: join(hidden.flat_map(|s| s.ports.iter().copied())),
            knock: knock.to_vec(),
            knock_accept: self.capture.mode == CaptureMode::Udp,
            knock_nflog: (self.capture.mode == CaptureMode::Nflog).then_some(KNOCK_NFLOG_GROUP),
            baits: self.baits.clone(),
            bait_nflog: BAIT_NFLOG_GROUP,
            never_ban: self.ban.never.clone(),
            ban_limit: self.ban.limit,
            authenticated: self.server.authenticated,
        }
    }
}
