//! Relays between us and the server, which get what was meant for us.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use spa_proto::{Ack, Op, Status};

use super::Job;
use super::exchange::{Knock, KnockResult};
use super::outcome::Verdict;
use crate::address::is_public_address;
use crate::plan::Plan;

/// Longest wait for the answer to a close, which comes at once or not at all.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns true if the server saw somebody else. Behind an address translator it always sees
/// another address than ours, so that alone is evidence only when ours is a public one, or when the
/// user has said under which address we appear.
pub(crate) fn is_relayed(plan: &Plan, local: Option<IpAddr>, observed: IpAddr) -> bool {
    let same_family =
        || plan.expected.iter().filter(|net| net.addr().is_ipv4() == observed.is_ipv4());
    if same_family().next().is_some() {
        return !same_family().any(|net| net.contains(&observed));
    }
    local.is_some_and(|local| is_public_address(local) && local != observed)
}

/// Closes a grant that went to a relay: from the same place, so that it takes the same way.
pub(crate) fn close_relayed(
    plan: &Plan,
    job: &Job,
    local: Option<IpAddr>,
    ack: &Ack,
) -> Option<Verdict> {
    if !is_relayed(plan, local, ack.observed.ip()) {
        return None;
    }
    let name = plan.service_name(job.service);
    let mut close = Knock::new(plan, name, job.address, Op::Close);
    close.deadline = Instant::now() + CLOSE_TIMEOUT;
    close.for_addr = Some(ack.observed.ip());
    let closed = match close.knock_until_answered() {
        KnockResult::Ack(ack, _) => ack.status == Status::Granted,
        _ => false,
    };
    Some(Verdict::Relayed { closed })
}
