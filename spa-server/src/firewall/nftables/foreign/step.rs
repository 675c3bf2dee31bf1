//! Ends of other people's rules.

use std::net::IpAddr;

use crate::firewall::nftables::expression::RuleVerdict;

/// Change of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NewDestination {
    /// The address; `None`: it cannot be read.
    pub(super) address: Option<IpAddr>,
    /// This host itself, whatever the address.
    pub(super) here: bool,
    /// The port; `Some(None)`: it cannot be read. `None`: it stays.
    pub(super) port: Option<Option<u16>>,
}

/// End of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A verdict.
    Decides(RuleVerdict),
    /// It drops the packet, and the sender is told.
    Refuses,
    /// It changes the flow's destination.
    Translates(NewDestination),
    /// It hands the packet to what we do not read, which this names.
    HandsOver(String),
}
