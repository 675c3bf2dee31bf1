//! `status`: how the server is, in one object.

use spa_keys::Failure;

use crate::control::status::{
    ClockState, EnforcerRow, KnockCounts, PacketCounts, Protection, ServerStatus,
};
use crate::firewall::Firewall as _;
use crate::ipc::message::EnforcerState;
use crate::listener::firewall_access::FirewallAccess;
use crate::listener::knock_server::KnockServer;
use crate::listener::packet_source::PacketSource;
use crate::listener::reload::SetupReloads;
use crate::listener::trial::TrialState;

fn describe_enforcer(state: &EnforcerState) -> EnforcerRow {
    let EnforcerState { name, problem, failures } = state.clone();
    EnforcerRow { name, problem, failures }
}

/// Reports the state of the server.
pub(in crate::listener) fn report_status(
    brief: bool,
    knocks: &KnockServer,
    firewall: &mut FirewallAccess,
    packets: &PacketSource,
    reloads: &SetupReloads,
    trial: &TrialState,
    second_servers: u64,
) -> Result<ServerStatus, Failure> {
    let now = knocks.now();
    let counters = knocks.engine.counters();
    let grants = firewall.broker.grants()?;
    let bans = firewall.broker.bans()?.len() as u64;
    // Asked anew: another firewall may have been started, or repaired, since we were.
    let obstacles = if brief { None } else { Some(firewall.broker.obstacles()?) };
    let backend = firewall.broker.name();
    Ok(ServerStatus {
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        up_s: knocks.up_time().as_secs(),
        backend: backend.to_owned(),
        capture: Some(packets.name().to_owned()),
        clients: knocks.engine.registry().clients() as u64,
        key_change: knocks.followed.progress(knocks.engine.registry()),
        fence_left_s: knocks.engine.fence_left(now).as_secs_f64().ceil(),
        clock_behind_s: knocks.engine.clock_behind(now).map(|behind| behind.as_secs()),
        second_servers,
        not_hidden: firewall.visible.clone(),
        protection: Protection {
            mode: firewall.rules.mode,
            hide: firewall.hide,
            in_force: firewall.is_in_force(),
            useless_interfaces: firewall.useless_interfaces.clone(),
            reach: firewall.reach.rows.clone(),
        },
        enforcers: firewall.enforcers.iter().map(describe_enforcer).collect(),
        other_sequences: {
            let lockout = reloads.lockout();
            [lockout.locked_out(), lockout.previous(), lockout.unknown()]
                .into_iter()
                .flatten()
                .collect()
        },
        missing_ports: packets.missing_ports().to_vec(),
        backup: None,
        clock: ClockState { ms: now.unix_ms, synchronised: None },
        reload: reloads.last_state(),
        trial: trial.trial_status(),
        rolled_back: trial.rollback_status(),
        obstacles,
        grants: grants.iter().map(Into::into).collect(),
        bans,
        packets: PacketCounts {
            all: counters.datagrams,
            strangers: counters.strangers(),
            replayed: counters.replayed,
            lost: packets.lost(),
            wrong_address: counters.wrong_address,
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
