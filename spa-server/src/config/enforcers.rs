//! Reading `[[enforcer]]`, and which of them a service names.

use std::sync::Arc;
use std::time::Duration;

use spa_keys::ServiceName;

use super::findings::Report;
use super::hooks::{LONGEST_ARGUMENT, MOST_ARGUMENTS};
use super::host::{into_values, parse_absolute_path, read_duration};
use super::model::{Enforcer, EnforcerKind};
use super::section::Section;
use super::span::{Located, Span};
use super::surroundings::{HookCheck, HookPart};

/// Time that an enforcer has for one grant: the client waits so long.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
/// The client goes on sending for this long at most.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A `[[enforcer]]` and the place that later checks point at.
pub(super) struct EnforcerRead {
    /// Enforcer as read, also when there are findings about it.
    pub(super) enforcer: Enforcer,
    /// Place of `name`.
    pub(super) name_span: Span,
}

/// Kinds as they are written.
#[derive(Clone, Copy)]
enum KindWord {
    Exec,
}

/// Reads an `[[enforcer]]`; `check_hook` looks at its program.
pub(super) fn read_enforcer(
    mut section: Section<'_>,
    report: &mut Report<'_>,
    check_hook: HookCheck<'_>,
) -> EnforcerRead {
    let s = &mut section;
    s.require(report, "name", "\"edge\"");
    let name = s.text(report, "name", "\"edge\"", ServiceName::new);
    s.require(report, "kind", "\"exec\"");
    let kind = s.read_choice(report, "kind", &[("exec", KindWord::Exec)]);
    let second = Duration::from_secs(1);
    let timeout = read_duration(s, report, "timeout", DEFAULT_TIMEOUT, second, LONGEST_TIMEOUT);
    let name_span = s.span_of("name");
    let kind = match kind.map_or(KindWord::Exec, |l| l.value) {
        KindWord::Exec => read_program(s, report, check_hook),
    };
    section.finish(report);
    let name = name.map_or_else(|| "".into(), |l| l.value.into());
    EnforcerRead { enforcer: Enforcer { name, timeout, kind }, name_span }
}

fn read_program(
    s: &mut Section<'_>,
    report: &mut Report<'_>,
    check_hook: HookCheck<'_>,
) -> EnforcerKind {
    let example = "[\"/usr/local/lib/spa/ipset-enforcer\"]";
    s.require(report, "command", example);
    let command = s.read_texts(report, "command", example, |text| {
        if text.len() > LONGEST_ARGUMENT || text.contains(char::is_control) {
            return Err(format!(
                "an argument has at most {LONGEST_ARGUMENT} bytes, and no control characters"
            ));
        }
        Ok(text.to_owned())
    });
    let place = s.span_of("command");
    let program_place = command.as_ref().and_then(|list| list.value.first());
    let program_place = program_place.map_or(place, |program| program.span.clone());
    let written = command.is_some();
    let command = into_values(command);
    match command.first().map(|program| parse_absolute_path(program)) {
        Some(Err(error)) => report.error(&program_place, error.to_string()),
        None if written => {
            report.error(&program_place, format!("no program: write command = {example}"));
        }
        None => {}
        Some(Ok(_)) if command.len() > MOST_ARGUMENTS => {
            let problem = format!("{} arguments; at most {MOST_ARGUMENTS}", command.len());
            report.error(&program_place, problem);
        }
        // No reason not to start: services without it are as good as ever.
        Some(Ok(program)) => {
            if let Err(why) = check_hook(HookPart::Program(&program)) {
                let problem = format!("the enforcer would not run, and opens nothing: {why}");
                report.warning(&program_place, problem);
            }
        }
    }
    let mut flag = |key| s.read_boolean(report, key).is_some_and(|l| l.value);
    EnforcerKind::Exec { command, expires: flag("expires"), ends_flows: flag("ends-flows") }
}

/// Reads `enforcers` of a `[[service]]`.
pub(super) fn read_names(s: &mut Section<'_>, report: &mut Report<'_>) -> Vec<Located<Arc<str>>> {
    let names = s.read_texts(report, "enforcers", "[\"edge\"]", |text| {
        ServiceName::new(text).map(|name| -> Arc<str> { name.into() })
    });
    s.note_double(report, "enforcers");
    names.map(|l| l.value).unwrap_or_default()
}
