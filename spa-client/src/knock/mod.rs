//! Knocks: one session and its answer, the proof that a service is reachable, and many at a time.

mod attempt;
mod confirm;
mod exchange;
mod icmp;
mod key_change;
mod live_session;
mod outcome;
mod parallel;
mod probe;
mod random;
mod relay;

pub(crate) use icmp::IcmpError;
pub(crate) use key_change::{KemUse, KeyChange, is_known, request_key_change};
pub(crate) use outcome::{Outcome, Verdict};
pub(crate) use parallel::{knock_at_all, note_unknown_services, spawn_job};

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use spa_proto::Op;

/// Knock for one service at one address.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// Index of the service in the plan.
    pub(crate) service: usize,
    /// Address of the server.
    pub(crate) address: SocketAddr,
    /// Operation to ask for.
    pub(crate) op: Op,
    /// Address to close at, when it is not the one that the knock comes from.
    pub(crate) for_addr: Option<IpAddr>,
    /// TCP port to connect to, when it is not the service's own.
    pub(crate) port: Option<u16>,
    /// Set when nobody waits for the answer any more.
    pub(crate) cancelled: Arc<AtomicBool>,
}

impl Job {
    /// Makes a job whose proof is the service's own port.
    pub(crate) fn new(service: usize, address: SocketAddr, op: Op) -> Self {
        Self { service, address, op, for_addr: None, port: None, cancelled: Arc::default() }
    }
}
