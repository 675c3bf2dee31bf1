//! Names of the sets that are keyed by an address.

use std::fmt;

use bincode::{Decode, Encode};

/// Address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// IPv4, then IPv6.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// Part of a grant that has sets of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum GrantScope {
    /// Ports of this host.
    Port,
    /// Ports of hosts behind this one.
    Inside,
    /// Everything on this host.
    All,
    /// The mark that a source has any live grant.
    Live,
}

/// Set keyed by an address; it exists once per family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AddressSet {
    /// Live grants of one scope.
    Grant {
        /// Part that they open.
        scope: GrantScope,
        /// Asked for packets of known flows, and does not count; else asked for first packets.
        flow: bool,
        /// Keyed by intervals: grants to more than one address.
        wide: bool,
    },
    /// Sources with a grant that nobody has confirmed.
    Provisional,
    /// Sources in the middle of a sequence.
    Sequence,
    /// Banned sources, IPv6 by /64.
    Ban,
    /// Networks that are never banned.
    Never,
}

/// Names of a set by width, then by family.
macro_rules! names {
    ($base:literal) => {
        [
            [concat!($base, "4"), concat!($base, "6")],
            [concat!($base, "_wide4"), concat!($base, "_wide6")],
        ]
    };
}

impl AddressSet {
    /// Sets that grants fill, in the order in which they are made.
    pub fn grants() -> impl Iterator<Item = Self> {
        use GrantScope::{All, Inside, Live, Port};
        [(Port, false), (Port, true), (Inside, false), (Inside, true), (All, false), (All, true)]
            .into_iter()
            .chain([(Live, false)])
            .flat_map(|(scope, flow)| [false, true].map(|wide| Self::Grant { scope, flow, wide }))
    }

    /// True if each element counts the packets that found it. These sets also tell which grants
    /// there are.
    #[must_use]
    pub fn counts(self) -> bool {
        matches!(self, Self::Grant { scope, flow: false, .. } if scope != GrantScope::Live)
    }

    /// True if its keys are intervals of addresses beside other parts.
    #[must_use]
    pub fn is_wide(self) -> bool {
        matches!(self, Self::Grant { wide: true, .. })
    }

    /// Name in the kernel.
    #[must_use]
    pub fn name(self, family: Family) -> &'static str {
        let [narrow, wide] = match self {
            Self::Grant { scope: GrantScope::Port, flow: false, .. } => names!("grant"),
            Self::Grant { scope: GrantScope::Port, flow: true, .. } => names!("flow"),
            Self::Grant { scope: GrantScope::Inside, flow: false, .. } => names!("inside"),
            Self::Grant { scope: GrantScope::Inside, flow: true, .. } => names!("inside_flow"),
            Self::Grant { scope: GrantScope::All, flow: false, .. } => names!("all"),
            Self::Grant { scope: GrantScope::All, flow: true, .. } => names!("all_flow"),
            Self::Grant { scope: GrantScope::Live, .. } => names!("live"),
            Self::Provisional => names!("provisional"),
            Self::Sequence => names!("sequence"),
            Self::Ban => names!("ban"),
            Self::Never => names!("never"),
        };
        let [v4, v6] = if self.is_wide() { wide } else { narrow };
        match family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }
}

/// One set in the kernel: `grant4`, `ban6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SetName {
    /// Purpose of the set.
    pub set: AddressSet,
    /// Family of its addresses.
    pub family: Family,
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.set.name(self.family))
    }
}

impl SetName {
    /// The set with this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        AddressSet::grants()
            .chain([
                AddressSet::Provisional,
                AddressSet::Sequence,
                AddressSet::Ban,
                AddressSet::Never,
            ])
            .flat_map(|set| Family::BOTH.map(|family| Self { set, family }))
            .find(|set| set.set.name(set.family) == name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_set_has_a_name_of_its_own() {
        let names: Vec<_> = AddressSet::grants().map(|set| set.name(Family::V4)).collect();
        assert_eq!(names.len(), 14);
        for name in names.into_iter().chain(["provisional4", "sequence6", "ban4", "never6"]) {
            assert_eq!(SetName::find(name).unwrap().to_string(), name);
        }
        assert_eq!(SetName::find("knock"), None);
    }
}
