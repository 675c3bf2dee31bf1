//! Remedies: the shell command that repairs a problem, and how it follows the problem in a text.

use std::fmt;

/// Words in front of a remedy, unless the problem has words of its own.
pub(crate) const REMEDY_LEAD: &str = "fix it with";

/// Writes a problem and, if there is one, its remedy: `problem; fix it with: command`. Behind a
/// problem of several lines it has a line of its own.
pub(crate) fn write_problem(
    f: &mut fmt::Formatter<'_>,
    problem: &str,
    lead: &str,
    remedy: Option<&str>,
) -> fmt::Result {
    f.write_str(problem)?;
    let separator = if problem.contains('\n') { "\n" } else { "; " };
    remedy.map_or(Ok(()), |command| write!(f, "{separator}{lead}: {command}"))
}
