//! Checks of `[[enforcer]]` against the services that name them.

use std::collections::HashMap;

use spa_keys::did_you_mean;

use super::enforcers::EnforcerRead;
use super::findings::Report;
use super::model::Backend;
use super::services::ServiceRead;
use super::span::Span;

/// Each is a process of its own.
const MOST_ENFORCERS: usize = 16;

/// Names that are there twice or nowhere, enforcers that nobody uses, and grants that wait for a
/// CONFIRM.
pub(super) fn check_enforcers(
    report: &mut Report<'_>,
    backend: Backend,
    enforcers: &[EnforcerRead],
    services: &[ServiceRead],
) {
    let mut seen: HashMap<&str, &Span> = HashMap::new();
    for EnforcerRead { enforcer, name_span } in enforcers {
        let name = &*enforcer.name;
        if name.is_empty() {
            continue;
        }
        if let Some(first) = seen.insert(name, name_span) {
            let line = report.line(first.start);
            let problem =
                format!("there is an enforcer `{name}` already, in line {line}: rename one");
            report.error(name_span, problem);
        }
        let mut using =
            services.iter().flat_map(|read| &read.enforcers).filter(|used| *used.value == *name);
        if using.next().is_none() {
            let problem =
                format!("no service uses it: write enforcers = [\"{name}\"] in a [[service]]");
            report.warning(name_span, problem);
        } else if !enforcer.capabilities().takes_provisional() {
            let problem = format!(
                "`{name}` cannot both expire by itself and end flows: it opens after the client's \
                 CONFIRM, never for whoever copied its knock"
            );
            report.note(name_span, problem);
        }
    }
    if let Some(read) = enforcers.get(MOST_ENFORCERS) {
        report.error(&read.name_span, format!("at most {MOST_ENFORCERS} enforcers"));
    }
    for used in services.iter().flat_map(|read| &read.enforcers) {
        if seen.contains_key(&*used.value) {
            continue;
        }
        let near = did_you_mean(&used.value, seen.keys().copied());
        let problem = match seen.is_empty() {
            true => format!("there is no [[enforcer]] `{}`: write one, with that name", used.value),
            false => format!("there is no [[enforcer]] `{}`{near}", used.value),
        };
        report.error(&used.span, problem);
    }
    if let (Backend::Observe, Some(first)) = (backend, enforcers.first()) {
        report.warning(
            &first.name_span,
            "backend = \"observe\" changes nothing: no enforcer is started",
        );
    }
}
