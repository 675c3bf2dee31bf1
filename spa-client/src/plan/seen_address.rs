//! The address under which the server sees us: ours, or that of a translator in between.

use std::net::IpAddr;
use std::sync::OnceLock;

use ipnet::{IpNet, Ipv6Net};

use crate::address::{discover_prefixes, is_public_address, is_translated};
use crate::host::BindSrc;

/// Knowledge of that address.
pub(crate) struct SeenAddress {
    /// Binding of the knock to its source address.
    pub(crate) bind_src: BindSrc,
    /// Networks from which the server may see us come; empty: nobody said.
    pub(crate) expected: Vec<IpNet>,
    /// Prefixes of this network's translator to IPv4, when they were asked for.
    nat64: OnceLock<Vec<Ipv6Net>>,
}

impl SeenAddress {
    /// Knows what the user says; the network is asked when it matters.
    pub(crate) fn new(bind_src: BindSrc, expected: Vec<IpNet>) -> Self {
        Self { bind_src, expected, nat64: OnceLock::new() }
    }

    /// Returns true if a knock from this address of ours names it.
    pub(crate) fn binds(&self, local: IpAddr, target: IpAddr) -> bool {
        match self.bind_src {
            BindSrc::Auto => self.is_certain(local, target),
            BindSrc::Always => true,
            BindSrc::Never => false,
        }
    }

    /// Returns true if the server certainly sees us under this address of ours: it is the only one
    /// that the user expects, or a public one that is expected too, and nothing is known that would
    /// replace it.
    fn is_certain(&self, local: IpAddr, target: IpAddr) -> bool {
        let same_family =
            || self.expected.iter().filter(|net| net.addr().is_ipv4() == local.is_ipv4());
        let is_expected = || same_family().any(|net| net.contains(&local));
        // In a network that is wider than one address a translator may give us another one.
        let is_likely = match same_family().next() {
            None => is_public_address(local),
            Some(_) if is_public_address(local) => is_expected(),
            Some(_) => same_family().all(|net| *net == IpNet::from(local)),
        };
        is_likely && !self.is_translated(target)
    }

    /// Returns true if a translator to IPv4 answers for this address of the server.
    pub(crate) fn is_translated(&self, target: IpAddr) -> bool {
        target.is_ipv6() && is_translated(target, self.nat64.get_or_init(discover_prefixes))
    }

    /// Returns true if the server saw somebody else. Behind an address translator it always sees
    /// another address than ours, so that alone is evidence only when ours is a public one, or when
    /// the user has said under which address we appear.
    pub(crate) fn is_relayed(
        &self,
        local: Option<IpAddr>,
        target: IpAddr,
        observed: IpAddr,
    ) -> bool {
        let same_family =
            || self.expected.iter().filter(|net| net.addr().is_ipv4() == observed.is_ipv4());
        if same_family().next().is_some() {
            return !same_family().any(|net| net.contains(&observed));
        }
        local.is_some_and(|local| {
            local != observed && is_public_address(local) && !self.is_translated(target)
        })
    }
}
