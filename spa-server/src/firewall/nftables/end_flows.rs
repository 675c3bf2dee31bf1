//! Ends the flows of a grant that was closed, where the service wants it.

use std::time::Instant;

use super::backend::Nftables;
use super::conntrack::{self, Endpoint, Flow};
use super::element_key::{ElementKey, ElementSubject};
use super::ledger::Plan;
use super::model::PortClass;
use crate::domain::ports::{ProtoPorts, Protocol};
use crate::firewall::Rules;
use crate::firewall::netlink::NetlinkError;

/// Errors of a kernel without ctnetlink: the rules have cut the flows all the same.
const NO_CTNETLINK_ERRORS: [i32; 3] = [libc::EINVAL, libc::EOPNOTSUPP, libc::EPROTONOSUPPORT];

/// Ports whose flows live only as long as a grant.
struct BoundPorts<'a> {
    here: &'a [ProtoPorts],
    behind: Vec<ProtoPorts>,
}

impl Nftables {
    /// Deletes conntrack's entries of flows to bound ports that a plan took away and that no other
    /// grant holds. The rules have cut these flows already; without the entries neither NAT nor
    /// a foreign firewall goes on knowing them.
    pub(super) fn end_flows(&mut self, plan: &Plan) -> Result<(), NetlinkError> {
        let Some(rules) = &self.rules else { return Ok(()) };
        let bound = BoundPorts::of(rules);
        let gone = plan
            .delete
            .iter()
            .chain(&plan.clear)
            .filter(|key| key.kind.flow && bound.concerns(key));
        let gone: Vec<&ElementKey> = gone.collect();
        let (ledger, now) = (&self.ledger, Instant::now());
        for v4 in [true, false] {
            let gone: Vec<_> = gone.iter().filter(|key| key.first.is_ipv4() == v4).collect();
            if gone.is_empty() {
                continue;
            }
            let ends = |flow: &Flow| {
                // An entry that the service's own packets made anew begins at the service.
                [(flow.from, flow.to), (flow.to, flow.from)].into_iter().any(|(client, service)| {
                    let subjects = bound.subjects(flow.protocol, service.port);
                    gone.iter().any(|key| bound.took(key, flow.protocol, client, service))
                        && !ledger.lets_in(client.address, &subjects, now)
                })
            };
            match conntrack::end_flows(&mut self.netlink, v4, ends) {
                Err(e) if !NO_CTNETLINK_ERRORS.contains(&e.errno()) => return Err(e),
                _ => (),
            }
        }
        Ok(())
    }
}

fn contains(ports: &[ProtoPorts], protocol: Protocol, port: u16) -> bool {
    ports.iter().any(|p| p.protocol == protocol && p.range.contains(port))
}

impl<'a> BoundPorts<'a> {
    fn of(rules: &'a Rules) -> Self {
        Self { here: &rules.bound, behind: PortClass::ForwardBound.ports(rules) }
    }

    fn concerns(&self, key: &ElementKey) -> bool {
        match key.kind.subject {
            ElementSubject::Port(protocol, port) => contains(self.here, protocol, port),
            ElementSubject::Inside(protocol, port) => contains(&self.behind, protocol, port),
            ElementSubject::All => !self.here.is_empty(),
            _ => false,
        }
    }

    /// Grants that would let a flow to this port live on.
    fn subjects(&self, protocol: Protocol, port: u16) -> Vec<ElementSubject> {
        let mut out = Vec::new();
        if contains(self.here, protocol, port) {
            out.extend([ElementSubject::Port(protocol, port), ElementSubject::All]);
        }
        if contains(&self.behind, protocol, port) {
            out.push(ElementSubject::Inside(protocol, port));
        }
        out
    }

    /// True if the key let this client reach the service's port.
    fn took(
        &self,
        key: &ElementKey,
        protocol: Protocol,
        client: Endpoint,
        service: Endpoint,
    ) -> bool {
        self.subjects(protocol, service.port).contains(&key.kind.subject)
            && key.covers(client.address, client.address)
    }
}
