//! Changes of a service that is held open.

use spa_keys::{Failure, printable};

use super::explanation::{Purpose, explain_failure};
use super::json::report_object;
use super::text::{describe_success, note_answer};
use crate::knock::Outcome;
use crate::output;
use crate::plan::Plan;

/// Change of a held service, for the user.
pub(crate) struct Change {
    /// Outcome of the knock that showed it.
    pub(crate) outcome: Outcome,
    /// Kind of the change.
    pub(crate) kind: ChangeKind,
}

/// Kinds of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// Open again, or from another address of ours.
    Open,
    /// Not open any more, as far as we know.
    Lost,
    /// Renewed; of interest with `-v` only.
    Renewed,
}

/// Reports a change: on standard error, or as JSON.
pub(crate) fn report_change(plan: &Plan, change: &Change, json: bool) -> Result<(), Failure> {
    let one = &change.outcome;
    let service = plan.service_name(one.service);
    note_answer(plan, one);
    let from = one.local.map_or_else(String::new, |local| format!(" from {local}"));
    match change.kind {
        ChangeKind::Renewed => plan.log_verbose(|| format!("{}: renewed{from}", one.address)),
        ChangeKind::Open => {
            spa_keys::note!("spa-client: {}{from}", describe_success(plan, service, one, &[one]))
        }
        ChangeKind::Lost => spa_keys::note!(
            "spa-client: {} on {} is no longer open at {} ({}); retrying\nspa-client: {}",
            printable(service),
            plan.host,
            one.address,
            one.verdict.word(),
            explain_failure(plan, Purpose::Service(service), &[one])
        ),
    }
    if json {
        output::print_json(&report_object(plan, std::slice::from_ref(one)))?;
    }
    Ok(())
}
