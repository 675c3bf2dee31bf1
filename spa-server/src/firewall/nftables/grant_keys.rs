//! Elements of a grant.

use std::time::Instant;

use super::element_key::{ElementKey, ElementKind, ElementSubject};
use crate::domain::grant::{Grant, Scope, alone};
use crate::domain::ports::{ProtoPorts, Protocol};

/// Grant and its end, on the monotonic clock.
#[derive(Debug, Clone)]
pub(super) struct HeldGrant {
    /// Grant with the time it was given.
    pub(super) grant: Grant,
    /// Moment at which the kernel's timers end it.
    pub(super) deadline: Instant,
}

/// Intervals that must not overlap: those of one kind and family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Lane {
    /// Kind of the elements.
    pub(super) kind: ElementKind,
    /// Set for IPv4.
    pub(super) v4: bool,
}

/// True if more than its source may pass.
pub(super) fn is_wide(grant: &Grant) -> bool {
    grant.prefix < alone(grant.source)
}

/// Kinds of elements that a grant writes, none twice.
pub(super) fn element_kinds(grant: &Grant) -> Vec<ElementKind> {
    let each = |ports: &[ProtoPorts],
                subject: fn(Protocol, u16) -> ElementSubject|
     -> Vec<ElementSubject> {
        ports
            .iter()
            .flat_map(|p| (p.range.first..=p.range.last).map(move |port| (p.protocol, port)))
            .map(|(protocol, port)| subject(protocol, port))
            .collect()
    };
    let mut subjects = match &grant.scope {
        Scope::All => vec![ElementSubject::All],
        Scope::Ports(ports) => each(ports, ElementSubject::Port),
        Scope::Inside(ports) => each(ports, ElementSubject::Inside),
    };
    subjects.sort_unstable();
    subjects.dedup();
    subjects
        .into_iter()
        .flat_map(|subject| [false, true].map(|flow| ElementKind { subject, flow }))
        .chain([ElementKind { subject: ElementSubject::Live, flow: false }])
        .collect()
}

/// Every element of a grant for one address, ascending; a wide one has none of its own.
pub(super) fn grant_keys(grant: &Grant) -> Vec<ElementKey> {
    if is_wide(grant) {
        return Vec::new();
    }
    let (first, last) = (grant.source, grant.source);
    let key = |kind| ElementKey { kind, first, last };
    let mut keys: Vec<_> = element_kinds(grant).into_iter().map(key).collect();
    keys.sort_unstable();
    keys
}

/// Lanes of a wide grant; a narrow one has none.
pub(super) fn grant_lanes(grant: &Grant) -> Vec<Lane> {
    if !is_wide(grant) {
        return Vec::new();
    }
    let v4 = grant.source.is_ipv4();
    element_kinds(grant).into_iter().map(|kind| Lane { kind, v4 }).collect()
}
