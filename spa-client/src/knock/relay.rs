//! Somebody between us and the server, who got what was meant for us.

use std::net::IpAddr;
use std::time::Duration;

use spa_proto::{Ack, Op, Status};

use crate::address::source;
use crate::knock::attempt::Job;
use crate::knock::exchange::{Answer, Knock};
use crate::knock::outcome::Verdict;
use crate::plan::Plan;

/// The answer to a close comes at once or not at all.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Whether the server saw somebody else. Behind an address translator it always sees another
/// address than ours, so that alone is evidence only when ours is a public one, or when the user
/// has said under which address we appear.
pub(crate) fn is_between(plan: &Plan, local: Option<IpAddr>, observed: IpAddr) -> bool {
    let same_family =
        || plan.expected.iter().filter(|net| net.addr().is_ipv4() == observed.is_ipv4());
    if same_family().next().is_some() {
        return !same_family().any(|net| net.contains(&observed));
    }
    local.is_some_and(|local| source::is_public(local) && local != observed)
}

/// Closes a grant that went to a relay: from the same place, so that it takes the same way.
pub(crate) fn undo(plan: &Plan, job: &Job, local: Option<IpAddr>, ack: &Ack) -> Option<Verdict> {
    if !is_between(plan, local, ack.observed.ip()) {
        return None;
    }
    let name = plan.services.get(job.service).map_or("", String::as_str);
    let mut close = Knock::new(plan, name, job.address, Op::Close);
    close.deadline = std::time::Instant::now() + CLOSE_WITHIN;
    let closed =
        matches!(close.until_answered(), Answer::Ack(ack, _) if ack.status == Status::Granted);
    Some(Verdict::Relayed { closed })
}
