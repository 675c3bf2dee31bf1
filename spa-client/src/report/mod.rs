//! Reports for the user, or for a program: sentences, JSON, explanations and progress.

mod change;
mod explanation;
mod json;
mod progress;
mod restored;
mod text;

pub(crate) use change::{Change, ChangeKind, report_change};
pub(crate) use explanation::{Purpose, explain_failure};
pub(crate) use progress::Progress;

use spa_keys::{Failure, exit, printable};
use spa_proto::Op;

use crate::knock::{Outcome, Verdict};
use crate::output;
use crate::plan::Plan;
use explanation::exit_code;
use json::report_object;
use text::{describe_success, note_answer, warn_of_other_family};

/// Prints the report; returns the exit code of the first service that is not good, or 0.
pub(crate) fn report_outcomes(
    plan: &Plan,
    outcomes: &[Outcome],
    op: Op,
    json: bool,
) -> Result<u8, Failure> {
    let code = report_problems(plan, outcomes, op);
    if json {
        output::print_json(&report_object(plan, outcomes))?;
        return Ok(code);
    }
    let mut text = String::new();
    for (service, all) in group_by_service(plan, outcomes) {
        if let Some(best) = most_telling(&all).filter(|best| best.verdict.is_good()) {
            text += &describe_success(plan, service, best, &all);
            text.push('\n');
        }
    }
    output::print_text(&text)?;
    Ok(code)
}

/// Says on standard error what is not good; the exit code as of [`report_outcomes`].
pub(crate) fn report_problems(plan: &Plan, outcomes: &[Outcome], op: Op) -> u8 {
    warn_if_not_hidden(plan, outcomes);
    let mut code = exit::OK;
    for (service, all) in group_by_service(plan, outcomes) {
        let Some(best) = most_telling(&all) else { continue };
        all.iter().for_each(|one| note_answer(plan, one));
        let found = if best.verdict.is_good() {
            report_partial_success(plan, service, &all, op)
        } else {
            let failure = explain_failure(plan, Purpose::Service(service), &all);
            spa_keys::note!("spa-client: {failure}");
            failure.code
        };
        code = if code == exit::OK { found } else { code };
    }
    code
}

/// Warns of ports that take connections although nobody has answered.
pub(crate) fn warn_if_not_hidden(plan: &Plan, outcomes: &[Outcome]) {
    for one in outcomes.iter().filter(|one| one.verdict == Verdict::NotHidden) {
        let purpose = Purpose::Service(plan.service_name(one.service));
        spa_keys::note!("spa-client: warning: {}", explain_failure(plan, purpose, &[one]));
    }
}

/// Reports on standard error a service that is good at one address and not at another.
fn report_partial_success(plan: &Plan, service: &str, all: &[&Outcome], op: Op) -> u8 {
    if op != Op::Close {
        for one in all.iter().filter(|one| matches!(one.verdict, Verdict::Relayed { .. })) {
            let failure = explain_failure(plan, Purpose::Service(service), &[one]);
            spa_keys::note!("spa-client: warning: {failure}");
        }
        warn_of_other_family(service, all);
        return exit::OK;
    }
    // Where nothing could be sent, nothing can be open.
    let open = all
        .iter()
        .find(|one| !one.verdict.is_good() && !matches!(one.verdict, Verdict::NotSent(_)));
    open.map_or(exit::OK, |one| {
        spa_keys::note!(
            "spa-client: {} may still be open at {} ({}): it will end by itself, or try again",
            printable(service),
            one.address,
            one.verdict.word()
        );
        exit_code(&one.verdict)
    })
}

/// Groups outcomes by service, in the order of the host's addresses, whichever thread was first.
fn group_by_service<'a>(
    plan: &'a Plan,
    outcomes: &'a [Outcome],
) -> impl Iterator<Item = (&'a str, Vec<&'a Outcome>)> {
    plan.services.iter().enumerate().map(move |(index, service)| {
        let mut all: Vec<&Outcome> = outcomes.iter().filter(|one| one.service == index).collect();
        all.sort_by_key(|one| {
            plan.addresses.iter().position(|address| address.ip() == one.address)
        });
        (service.as_str(), all)
    })
}

fn most_telling<'a>(all: &[&'a Outcome]) -> Option<&'a Outcome> {
    all.iter().copied().min_by_key(|one| one.verdict.rank())
}
