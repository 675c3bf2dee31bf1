//! Reading `on-open` and `on-close` of a `[[service]]`.

use std::time::Duration;

use super::findings::{Report, ValueError};
use super::host::{into_values, parse_absolute_path, read_duration};
use super::model::Hook;
use super::section::Section;
use super::span::NO_SPAN;
use super::surroundings::{HookCheck, HookPart};

/// Placeholders of an argument; the values are of closed alphabets (names, addresses, `g` and a
/// number).
pub const HOOK_PLACEHOLDERS: [&str; 5] =
    ["{client}", "{service}", "{source}", "{grant}", "{event}"];
pub(super) const MOST_ARGUMENTS: usize = 32;
pub(super) const LONGEST_ARGUMENT: usize = 1024;
/// useradd(8).
const LONGEST_USER: usize = 32;

/// A hook, if the key is written.
pub(super) fn read_hook(
    s: &mut Section<'_>,
    report: &mut Report<'_>,
    key: &'static str,
    check: HookCheck<'_>,
) -> Option<Hook> {
    if !s.has(key) {
        s.mark_known(&[key]);
        return None;
    }
    let mut table = s.table(report, key);
    let t = &mut table;
    let example = "[\"/usr/local/bin/notify\", \"{client}\"]";
    t.require(report, "run", example);
    let run = t.read_texts(report, "run", example, parse_argument);
    let user = t.text(report, "user", "\"nobody\"", |name| match name {
        "root" | "0" | "" => Err("a hook is never run as root: name another user"),
        // The names that useradd(8) takes.
        name if name.len() > LONGEST_USER || name.contains(|c: char| !is_user_char(c)) => {
            Err("this is no name of a user: write it as /etc/passwd has it")
        }
        name => Ok(name.to_owned()),
    });
    let limit = read_duration(
        t,
        report,
        "timeout",
        Duration::from_secs(10),
        Duration::from_secs(1),
        Duration::from_secs(600),
    );
    let place = t.span_of("run");
    if user.is_none()
        && !t.has("user")
        && let Err(why) = check(HookPart::NoUser)
    {
        report.warning(&t.span, format!("{key} would not run: {why}"));
    }
    table.finish(report);
    let program_place =
        run.as_ref().and_then(|run| run.value.first()).map(|program| program.span.clone());
    let run = into_values(run);
    match run.first().map(|program| parse_absolute_path(program)) {
        Some(Err(error)) => report.error(&place, error.to_string()),
        None => report.error(&place, format!("no program: write run = {example}")),
        Some(Ok(_)) if run.len() > MOST_ARGUMENTS => {
            report.error(&place, format!("{} arguments; at most {MOST_ARGUMENTS}", run.len()));
        }
        Some(Ok(program)) if program.to_string_lossy().contains('{') => {
            report.error(&place, "the program's path is fixed: placeholders are for its arguments");
        }
        // No reason not to start: the server does its work without a hook.
        Some(Ok(program)) => {
            if let Err(why) = check(HookPart::Program(&program)) {
                report.warning(
                    &program_place.unwrap_or(place),
                    format!("{key} would not run: {why}"),
                );
            }
        }
    }
    if let Some(Err(why)) = user.as_ref().map(|user| check(HookPart::User(&user.value))) {
        let place = user.as_ref().map_or(NO_SPAN, |user| user.span.clone());
        report.warning(&place, format!("{key} would not run: {why}"));
    }
    Some(Hook { run, user: user.map(|l| l.value), timeout: limit })
}

fn is_user_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '$')
}

fn parse_argument(text: &str) -> Result<String, ValueError> {
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.len() > LONGEST_ARGUMENT || text.contains(odd) {
        return Err(format!(
            "an argument has at most {LONGEST_ARGUMENT} bytes, and no control characters"
        )
        .into());
    }
    let mut rest = text.to_owned();
    for placeholder in HOOK_PLACEHOLDERS {
        rest = rest.replace(placeholder, "");
    }
    if rest.contains(['{', '}']) {
        return Err(format!(
            "`{}` has a brace that is not a placeholder: there are {}",
            text.escape_debug(),
            HOOK_PLACEHOLDERS.join(", ")
        )
        .into());
    }
    Ok(text.to_owned())
}
