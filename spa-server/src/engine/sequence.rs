//! The stages: how many, on which ports, how soon after each other.

use std::time::Duration;

use spa_proto::{EPOCH_MS, HOP_EPOCH_MS, HopKey, HopPlan};

use crate::ports::PortRange;

/// Where the stages are.
#[derive(Clone, Debug)]
pub enum Ports {
    /// Always here, in stage order.
    Fixed(Vec<u16>),
    /// Hopping, see [`HopPlan`].
    Hop(HopPlan, HopKey),
}

/// The sequence that every client of this server knocks.
#[derive(Clone, Debug)]
pub struct Sequence {
    ports: Ports,
    /// How long the next stage may take.
    pub timeout: Duration,
    /// How long a stage that overtook its predecessor is held.
    pub reorder: Duration,
    /// Ports of the hop epochs in use; hopping costs one HMAC per stage and ten minutes, not per packet.
    hops: Vec<(u64, Vec<u16>)>,
}

impl Sequence {
    /// A sequence; the seed's has 30 s per stage.
    #[must_use]
    pub fn new(ports: Ports, timeout: Duration, reorder: Duration) -> Self {
        Self { ports, timeout, reorder, hops: Vec::new() }
    }

    /// Number of stages, 1 to 8.
    #[must_use]
    pub fn stages(&self) -> u8 {
        match &self.ports {
            Ports::Fixed(ports) => u8::try_from(ports.len()).unwrap_or(0),
            Ports::Hop(plan, _) => plan.stages(),
        }
    }

    /// The longest that a session may take.
    pub(super) fn longest(&self) -> Duration {
        self.timeout.saturating_mul(self.stages().into())
    }

    /// The port of a stage in a tag epoch.
    pub(super) fn port(&mut self, epoch: u64, stage: u8) -> Option<u16> {
        let at = usize::from(stage);
        match &self.ports {
            Ports::Fixed(ports) => ports.get(at).copied(),
            Ports::Hop(plan, key) => {
                let hop = epoch / (HOP_EPOCH_MS / EPOCH_MS);
                if let Some((_, ports)) = self.hops.iter().find(|(known, _)| *known == hop) {
                    return ports.get(at).copied();
                }
                let ports = plan.ports(key, hop);
                let port = ports.get(at).copied();
                self.hops.retain(|(known, _)| known.abs_diff(hop) <= 1);
                self.hops.push((hop, ports));
                port
            }
        }
    }

    /// The ports at which stages may arrive now, `reach` either way: what capture and firewall must know.
    #[must_use]
    pub fn live_ports(&self, unix_ms: u64, past: Duration, future: Duration) -> Vec<PortRange> {
        let mut ports: Vec<u16> = match &self.ports {
            Ports::Fixed(ports) => ports.clone(),
            Ports::Hop(plan, key) => {
                let from = HopPlan::epoch_of(unix_ms.saturating_sub(super::settings::millis(past)));
                let to = HopPlan::epoch_of(unix_ms.saturating_add(super::settings::millis(future)));
                (from..=to).flat_map(|hop| plan.ports(key, hop)).collect()
            }
        };
        ports.sort_unstable();
        ports.dedup();
        ports.into_iter().map(PortRange::one).collect()
    }

    /// Where the ports come from.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }
}
