//! The stages: how many, on which ports, how soon after each other.

use std::time::Duration;

use spa_keys::whole_millis;
use spa_proto::{EPOCH_MS, HOP_EPOCH_MS, HopKey, HopPlan};

use crate::domain::ports::PortRange;
use crate::domain::server_key::ServerKeyVersion;

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
    /// Where clients hop that come by the server's previous key.
    previous: Option<HopKey>,
    /// Ports before the present ones, where clients may still come: as many as there are stages,
    /// or none.
    previous_ports: Vec<u16>,
    /// Longest wait for the next stage.
    pub timeout: Duration,
    /// Time for which a stage that overtook its predecessor is held.
    pub reorder: Duration,
    /// Ports of the hop epochs in use; hopping costs one HMAC per stage and ten minutes, not per
    /// packet.
    hops: Vec<(u64, ServerKeyVersion, Vec<u16>)>,
}

impl Sequence {
    /// A sequence; the seed's has 30 s per stage.
    #[must_use]
    pub fn new(ports: Ports, timeout: Duration, reorder: Duration) -> Self {
        Self {
            ports,
            previous: None,
            previous_ports: Vec::new(),
            timeout,
            reorder,
            hops: Vec::new(),
        }
    }

    /// The same, and clients that come by the server's previous key hop where that one leads.
    #[must_use]
    pub fn with_previous(mut self, previous: Option<HopKey>) -> Self {
        self.previous = previous;
        self
    }

    /// The same, and clients may also come to these ports, in stage order.
    #[must_use]
    pub fn with_previous_ports(mut self, ports: Vec<u16>) -> Self {
        self.previous_ports = ports;
        self
    }

    /// Key of the hopping ports, which clients need besides the plan.
    pub(super) fn hop_key(&self) -> Option<&HopKey> {
        match &self.ports {
            Ports::Fixed(_) => None,
            Ports::Hop(_, key) => Some(key),
        }
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
    pub(super) fn longest_session(&self) -> Duration {
        self.timeout.saturating_mul(self.stages().into())
    }

    /// Returns true when a stage may come to this port in a tag epoch, from a client that comes by
    /// this key.
    pub(super) fn takes_stage(
        &mut self,
        epoch: u64,
        stage: u8,
        by: ServerKeyVersion,
        port: u16,
    ) -> bool {
        self.port_of_stage(epoch, stage, by) == Some(port)
            || self.previous_ports.get(usize::from(stage)) == Some(&port)
    }

    /// The port of a stage in a tag epoch, for a client that comes by this key.
    fn port_of_stage(&mut self, epoch: u64, stage: u8, by: ServerKeyVersion) -> Option<u16> {
        let at = usize::from(stage);
        match &self.ports {
            Ports::Fixed(ports) => ports.get(at).copied(),
            Ports::Hop(plan, key) => {
                let hop = epoch / (HOP_EPOCH_MS / EPOCH_MS);
                if let Some((_, _, ports)) =
                    self.hops.iter().find(|(known, of, _)| (*known, *of) == (hop, by))
                {
                    return ports.get(at).copied();
                }
                let key = match by {
                    ServerKeyVersion::Key => key,
                    ServerKeyVersion::PreviousKey => self.previous.as_ref()?,
                };
                let ports = plan.ports(key, hop);
                let port = ports.get(at).copied();
                self.hops.retain(|(known, ..)| known.abs_diff(hop) <= 1);
                self.hops.push((hop, by, ports));
                port
            }
        }
    }

    /// The ports at which stages may arrive now, `reach` either way: what capture and firewall must
    /// know.
    #[must_use]
    pub fn live_ports(&self, unix_ms: u64, past: Duration, future: Duration) -> Vec<PortRange> {
        let mut ports: Vec<u16> = match &self.ports {
            Ports::Fixed(ports) => ports.clone(),
            Ports::Hop(plan, key) => {
                let from = HopPlan::epoch_of(unix_ms.saturating_sub(whole_millis(past)));
                let to = HopPlan::epoch_of(unix_ms.saturating_add(whole_millis(future)));
                let keys = [Some(key), self.previous.as_ref()];
                keys.into_iter()
                    .flatten()
                    .flat_map(|key| (from..=to).flat_map(|hop| plan.ports(key, hop)))
                    .collect()
            }
        };
        ports.extend(&self.previous_ports);
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
