//! `status`: how the server is, in one object.

use spa_keys::Failure;

use super::Listener;
use crate::control::status::{
    ClockState, KnockCounts, PacketCounts, Protection, ReloadState, ServerStatus,
};

/// End of the last reload.
#[derive(Clone, Debug)]
pub(in crate::listener) struct LastReload {
    /// Time of it, unix milliseconds.
    pub(in crate::listener) at_ms: u64,
    /// The reason, if it changed nothing.
    pub(in crate::listener) refused: Option<Failure>,
}

impl Listener {
    /// Reports the state of the server.
    pub(super) fn report_status(&mut self, brief: bool) -> Result<ServerStatus, Failure> {
        let now = self.clock.now();
        let counters = self.engine.counters();
        let grants = self.backend.firewall.grants()?;
        let bans = self.backend.firewall.bans()?.len() as u64;
        // Asked anew: another firewall may have been started, or repaired, since we were.
        let obstacles = if brief { None } else { Some(self.backend.firewall.obstacles()?) };
        let backend = self.backend.firewall.name();
        Ok(ServerStatus {
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            up_s: now.mono.as_secs(),
            backend: backend.to_owned(),
            capture: self.capture.as_ref().map(|capture| capture.get_ref().0.name().to_owned()),
            clients: self.engine.registry().clients() as u64,
            key_change: self.key_change(),
            fence_left_s: self.engine.fence_left(now).as_secs_f64().ceil(),
            not_hidden: self.visible.clone(),
            protection: Protection {
                mode: self.rules.mode,
                hide: self.rules.hide,
                // An observer protects nothing, and neither does a table that somebody took away.
                in_force: backend != "observe" && !self.broken,
            },
            clock: ClockState { ms: now.unix_ms, synchronised: None },
            reload: self.last_reload.as_ref().map(LastReload::state),
            trial: self.trial_state(),
            rolled_back: self.rollback_state(),
            obstacles,
            grants: grants.iter().map(Into::into).collect(),
            bans,
            packets: PacketCounts {
                all: counters.datagrams,
                strangers: counters.strangers(),
                replayed: counters.replayed,
                lost: self.lost,
                wrong_port: counters.wrong_port,
                over_budget: counters.over_budget,
                not_authentic: counters.not_authentic,
                bad_signature: counters.bad_signature,
                ignored: counters.ignored,
                stages: counters.stages,
            },
            knocks: KnockCounts {
                granted: counters.granted,
                denied: counters.denied,
                stale: counters.stale,
                failed: counters.failed,
            },
        })
    }
}

impl LastReload {
    fn state(&self) -> ReloadState {
        ReloadState {
            ms: self.at_ms,
            ok: self.refused.is_none(),
            error: self.refused.as_ref().map(ToString::to_string),
            exit_code: self.refused.as_ref().map(|why| why.code),
        }
    }
}
