//! Ends the flows of grants that were closed, where the service wants it.
//!
//! Conntrack has one list of everybody's flows: hundreds of thousands, perhaps. To walk through it
//! for each grant that a client closes would be that client's to ask for, and everybody else would
//! wait. So what was closed is collected, one walk looks for the flows of all of it, a datagram at
//! a time between other work, and rests after that.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::conntrack::{self, ConntrackEntry, Endpoint, Flow};
use super::element_key::{ElementKey, ElementSubject};
use super::ledger::{Ledger, Plan};
use super::model::{FlowLabel, PortClass};
use crate::domain::ports::{ProtoPorts, Protocol};
use crate::firewall::Rules;
use crate::firewall::netlink::{NetlinkError, NetlinkSocket};

/// Errors of a kernel without ctnetlink: the rules have cut the flows all the same.
const NO_CTNETLINK_ERRORS: [i32; 3] = [libc::EINVAL, libc::EOPNOTSUPP, libc::EPROTONOSUPPORT];
/// After a walk, so many times its length nothing is walked.
const REST_FACTOR: u32 = 3;
/// Time to the next attempt after one that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Flows ended before others get their turn.
const MAX_ENDED_PER_TURN: usize = 64;

/// End of a flow that no grant holds any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Delete the entry, if its port is one whose flows live only as long as a grant. The rules
    /// have cut it already; without the entry neither NAT nor a foreign firewall goes on knowing
    /// it.
    Delete,
    /// It needs a live grant for each packet from now on, whatever its service says: labelled as if
    /// its grant had been provisional, it can neither go on nor be taken up again by what its
    /// server sends.
    Cut,
}

/// Elements that were taken away.
#[derive(Debug, Default)]
struct GoneElements {
    narrow: HashMap<IpAddr, Vec<(ElementKey, Ending)>>,
    wide: Vec<(ElementKey, Ending)>,
}

/// Flows that are to end.
#[derive(Debug)]
pub(super) struct EndingFlows {
    /// Dumps are read from it, so that transactions can go on beside them.
    walker: NetlinkSocket,
    /// To be looked for by the next walk.
    waiting: GoneElements,
    /// Looked for by the walk that goes on, and since when.
    walk: Option<(GoneElements, Instant)>,
    /// Flows that walks have found, and their ends.
    found: VecDeque<(ConntrackEntry, Ending)>,
    /// When the next walk may begin.
    next: Instant,
}

/// Ports whose flows live only as long as a grant.
struct BoundPorts<'a> {
    here: &'a [ProtoPorts],
    behind: Vec<ProtoPorts>,
}

impl GoneElements {
    fn insert(&mut self, key: ElementKey, ending: Ending) {
        let of = if key.first == key.last {
            self.narrow.entry(key.first).or_default()
        } else {
            &mut self.wide
        };
        if !of.contains(&(key, ending)) {
            of.push((key, ending));
        }
    }

    fn iter(&self) -> impl Iterator<Item = (ElementKey, Ending)> {
        self.narrow.values().flatten().chain(&self.wide).copied()
    }

    fn is_empty(&self) -> bool {
        self.narrow.is_empty() && self.wide.is_empty()
    }

    /// True if an element is among them that let this source reach one of these things.
    fn took(&self, source: IpAddr, subjects: &[ElementSubject], ending: Ending) -> bool {
        let wide = self.wide.iter().filter(|(key, _)| key.covers(source, source));
        let all = self.narrow.get(&source).into_iter().flatten().chain(wide);
        let mut all = all.filter(|(_, wanted)| *wanted == ending);
        all.any(|(key, _)| subjects.contains(&key.kind.subject))
    }
}

impl EndingFlows {
    /// Nothing is to end yet.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            walker: NetlinkSocket::open()?,
            waiting: GoneElements::default(),
            walk: None,
            found: VecDeque::new(),
            next: Instant::now(),
        })
    }

    /// When it wants a turn.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.walk.is_some() || !self.found.is_empty() {
            return Some(Instant::now());
        }
        (!self.waiting.is_empty()).then_some(self.next)
    }

    /// Has the flows ended that a plan took away from bound ports.
    pub(super) fn delete_flows(&mut self, plan: &Plan, rules: &Rules) {
        let bound = BoundPorts::of(rules);
        for key in list_flow_keys(plan).filter(|key| bound.concerns(key)) {
            self.waiting.insert(*key, Ending::Delete);
        }
    }

    /// Has every flow ended that a plan took away.
    pub(super) fn cut_flows(&mut self, plan: &Plan) {
        for key in list_flow_keys(plan) {
            self.waiting.insert(*key, Ending::Cut);
        }
    }

    /// Goes on with the end of flows, for a moment.
    pub(super) fn advance(
        &mut self,
        netlink: &mut NetlinkSocket,
        ledger: &Ledger,
        rules: &Rules,
    ) -> Result<(), NetlinkError> {
        if self.found.is_empty() {
            self.walk_on(ledger, &BoundPorts::of(rules));
        }
        let [provisional, confirmed] =
            [FlowLabel::Provisional, FlowLabel::Confirmed].map(FlowLabel::bits);
        let mask: Vec<u8> = provisional.iter().zip(confirmed).map(|(a, b)| a | b).collect();
        let turn = self.found.len().min(MAX_ENDED_PER_TURN);
        for (entry, ending) in self.found.drain(..turn) {
            let done = match ending {
                Ending::Delete => conntrack::delete_entry(netlink, &entry).map(drop),
                Ending::Cut => conntrack::label_entry(netlink, &entry, &provisional, &mask),
            };
            match done {
                Err(e) if !NO_CTNETLINK_ERRORS.contains(&e.errno()) => return Err(e),
                _ => (),
            }
        }
        Ok(())
    }

    /// Goes a datagram further in a walk, or begins one.
    fn walk_on(&mut self, ledger: &Ledger, bound: &BoundPorts<'_>) {
        let now = Instant::now();
        let Some((gone, began)) = &self.walk else {
            if !self.waiting.is_empty() && now >= self.next {
                match conntrack::begin_walk(&mut self.walker) {
                    Ok(()) => self.walk = Some((std::mem::take(&mut self.waiting), now)),
                    Err(_) => self.next = now + RETRY_PAUSE,
                }
            }
            return;
        };
        let ends = |flow: &Flow| find_ending(flow, gone, bound, ledger, now);
        match conntrack::continue_walk(&mut self.walker, ends, &mut self.found) {
            Ok(false) => return,
            Err(e) if !NO_CTNETLINK_ERRORS.contains(&e.errno()) => {
                // Once more, with what has come since.
                for (key, ending) in gone.iter() {
                    self.waiting.insert(key, ending);
                }
                self.next = now + RETRY_PAUSE;
            }
            _ => self.next = now + now.duration_since(*began).saturating_mul(REST_FACTOR),
        }
        self.walk = None;
    }
}

/// Elements for known flows that a plan took away.
fn list_flow_keys(plan: &Plan) -> impl Iterator<Item = &ElementKey> {
    plan.delete.iter().chain(&plan.clear).filter(|key| key.kind.flow)
}

/// Decides what happens to a flow: nothing, if a live grant holds it.
fn find_ending(
    flow: &Flow,
    gone: &GoneElements,
    bound: &BoundPorts<'_>,
    ledger: &Ledger,
    now: Instant,
) -> Option<Ending> {
    let ends = |client: Endpoint, subjects: &[ElementSubject], ending| {
        gone.took(client.address, subjects, ending)
            && !ledger.lets_in(client.address, subjects, now)
    };
    // An entry that the service's own packets made anew begins at the service.
    for (client, service) in [(flow.from, flow.to), (flow.to, flow.from)] {
        if ends(client, &bound.subjects(flow.protocol, service.port), Ending::Delete) {
            return Some(Ending::Delete);
        }
    }
    let subjects = [
        ElementSubject::Port(flow.protocol, flow.to.port),
        ElementSubject::Inside(flow.protocol, flow.to.port),
        ElementSubject::All,
    ];
    ends(flow.from, &subjects, Ending::Cut).then_some(Ending::Cut)
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
}
