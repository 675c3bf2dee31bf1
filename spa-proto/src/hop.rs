//! Port hopping: the stages' ports change every ten minutes, known only to holders of the hop key.

use ring::hmac::{HMAC_SHA256, Key};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::hash::{hkdf_expand, hkdf_extract, hmac_sha256, to_array};
use crate::keys::{ServerSecret, secret};
use crate::labels;
use crate::layout::{HOP_EPOCH_MS, MAX_STAGES};

/// `k_hop`: 32 bytes, one per server, given to clients in their enrolment line. It hides ports,
/// nothing else depends on it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct HopKey([u8; 32]);

secret!(HopKey);

impl HopKey {
    /// The server's: HKDF(salt `"SPA/2 hop key"`, sk_S, info `"SPA/2 hop"`).
    #[must_use]
    pub fn of_server(server: &ServerSecret) -> Self {
        Self(*hkdf_expand(&hkdf_extract(labels::HOP_KEY, server.bytes()), &[labels::HOP_INPUT]))
    }
}

/// Reason why a plan is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HopError {
    /// 0 or more than 8 stages.
    #[error("a sequence has 1 to {MAX_STAGES} stages, not {0}")]
    Stages(u8),
    /// Too few ports are left to hide among.
    #[error(
        "{0} ports are left to hop over: at least 64 are needed; widen the range or exclude fewer"
    )]
    Narrow(usize),
    /// An excluded range whose first port is above its last: it would exclude nothing, and a stage
    /// could land on a bait.
    #[error("the excluded range {0}-{1} is the wrong way round")]
    Reversed(u16, u16),
}

/// Ports among which the stages hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopPlan {
    lo: u16,
    hi: u16,
    stages: u8,
    exclude: Vec<(u16, u16)>,
}

/// Tries per stage before the lowest free port is taken; with 64 of 65 535 ports free it is never
/// reached.
const MAX_TRIES: u32 = 65_536;

impl HopPlan {
    /// A plan over `lo..=hi` without the inclusive ranges in `exclude`.
    ///
    /// # Errors
    /// When fewer than 64 ports are left, the number of stages is not 1 to 8, or an excluded range
    /// is reversed.
    pub fn new(lo: u16, hi: u16, stages: u8, exclude: Vec<(u16, u16)>) -> Result<Self, HopError> {
        if stages == 0 || stages > MAX_STAGES {
            return Err(HopError::Stages(stages));
        }
        if let Some((first, last)) = exclude.iter().find(|(first, last)| first > last) {
            return Err(HopError::Reversed(*first, *last));
        }
        let plan = Self { lo, hi, stages, exclude };
        let free = (lo..=hi).filter(|port| plan.allows_port(*port)).count();
        if free < 64 { Err(HopError::Narrow(free)) } else { Ok(plan) }
    }

    /// Number of stages.
    #[must_use]
    pub fn stages(&self) -> u8 {
        self.stages
    }

    /// Lowest and highest port of the range.
    #[must_use]
    pub fn range(&self) -> (u16, u16) {
        (self.lo, self.hi)
    }

    /// The excluded ranges.
    #[must_use]
    pub fn excluded(&self) -> &[(u16, u16)] {
        &self.exclude
    }

    fn allows_port(&self, port: u16) -> bool {
        port != 0 && !self.exclude.iter().any(|(first, last)| (*first..=*last).contains(&port))
    }

    /// The hop epoch of a time in unix milliseconds.
    #[must_use]
    pub fn epoch_of(unix_ms: u64) -> u64 {
        unix_ms / HOP_EPOCH_MS
    }

    /// The ports of all stages in a hop epoch, in stage order, all different:
    /// `lo + (first 8 bytes of HMAC(k_hop, "SPA/2 hop" ‖ hop_epoch u64 ‖ stage u8 ‖ ctr u32) mod
    /// (hi - lo + 1))`, ctr from 0 past excluded ports and those of earlier stages.
    #[must_use]
    pub fn ports(&self, key: &HopKey, hop_epoch: u64) -> Vec<u16> {
        let mac = Key::new(HMAC_SHA256, &key.0);
        let width = u64::from(self.hi.saturating_sub(self.lo)) + 1;
        let mut ports: Vec<u16> = Vec::with_capacity(usize::from(self.stages));
        for stage in 0..self.stages {
            let candidate = |ctr: u32| {
                let out = hmac_sha256(
                    &mac,
                    &[labels::HOP_INPUT, &hop_epoch.to_be_bytes(), &[stage], &ctr.to_be_bytes()],
                );
                let offset = u64::from_be_bytes(to_array(&out)) % width;
                self.lo.saturating_add(u16::try_from(offset).unwrap_or(0))
            };
            let free = |port: &u16| self.allows_port(*port) && !ports.contains(port);
            let chosen =
                (0..MAX_TRIES).map(candidate).find(free).or_else(|| (self.lo..=self.hi).find(free));
            ports.extend(chosen);
        }
        ports
    }
}
