//! Relays between us and the server, which get what was meant for us.

use std::time::{Duration, Instant};

use spa_proto::{Op, Status};

use super::Job;
use super::exchange::{Knock, KnockResult};
use super::outcome::Verdict;
use crate::plan::Plan;

/// Longest wait for the answer to a close, which comes at once or not at all.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Closes a grant that went to a relay: from the same place, so that it takes the same way.
pub(crate) fn close_relayed(plan: &Plan, job: &Job) -> Verdict {
    let name = plan.service_name(job.service);
    let mut close = Knock::new(plan, name, job.address, Op::Close);
    close.deadline = Instant::now() + CLOSE_TIMEOUT;
    let closed = match close.knock_until_answered() {
        KnockResult::Ack(ack, _) => ack.status == Status::Granted,
        _ => false,
    };
    Verdict::Relayed { closed }
}
