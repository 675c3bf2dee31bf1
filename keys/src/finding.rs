//! Findings: what a check has found, and how it is shown, for all our programs.

use std::fmt::{self, Write as _};
use std::io::IsTerminal;

use crate::{mask_secrets, printable, shorten};

/// Weight of a finding; the worst is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Something does not work, is refused, or is open to others.
    Error,
    /// It works, and is probably not what was meant.
    Warning,
    /// It could not be examined.
    Unknown,
    /// It could be better.
    Hint,
    /// Something to know.
    Note,
    /// It is as it should be.
    Ok,
}

impl Severity {
    /// Returns its word, for people and for JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Hint => "hint",
            Self::Note => "note",
            Self::Ok => "ok",
        }
    }

    /// Returns the parameters of its colour for SGR (ECMA-48): red, yellow, cyan, green.
    fn sgr(self) -> &'static str {
        match self {
            Self::Error => "1;31",
            Self::Warning | Self::Unknown => "1;33",
            Self::Hint | Self::Note => "36",
            Self::Ok => "32",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Subject of a finding: a file, a position in a file, or a part of a host.
pub trait Place: fmt::Display {
    /// Returns lines that show the place, such as a source line and its caret; made safe for a
    /// terminal by [`Finding::render`].
    fn excerpt(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Place for String {}
impl Place for &str {}

/// One thing that a check has found. The order is by severity, then by place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding<P = String> {
    /// Weight.
    pub severity: Severity,
    /// Subject.
    pub place: P,
    /// Description, one sentence or several lines.
    pub problem: String,
    /// Shell command that repairs it, or looks closer.
    pub remedy: Option<String>,
}

/// Order of the parts in a finding's first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `error: place: problem`.
    SeverityFirst,
    /// `place: error: problem`, as compilers write it and editors read it.
    PlaceFirst,
}

/// Use of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// No escape sequences.
    Off,
    /// The severity's word is coloured.
    On,
}

impl Colour {
    /// Chooses colours for an output: only on a terminal, and only if `NO_COLOR` is unset or empty
    /// (no-color.org).
    #[must_use]
    pub fn of_output(output: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if output.is_terminal() && !refused { Self::On } else { Self::Off }
    }
}

impl<P: Place> Finding<P> {
    /// Makes a finding without a remedy.
    #[must_use]
    pub fn new(severity: Severity, place: P, problem: impl Into<String>) -> Self {
        let problem = problem.into();
        let problem = shorten(&mask_secrets(&problem)).into_owned();
        Self { severity, place, problem, remedy: None }
    }

    /// Adds the shell command that repairs it, or looks closer.
    #[must_use]
    pub fn remedy(mut self, command: impl Into<String>) -> Self {
        self.remedy = Some(mask_secrets(&command.into()).into_owned());
        self
    }

    /// Renders it for people, a newline at its end: one line, then, indented by four spaces,
    /// further lines of the problem, the excerpt, and the remedy. Control characters are escaped.
    #[must_use]
    pub fn render(&self, layout: Layout, colour: Colour) -> String {
        let word = self.severity.word();
        let severity = match colour {
            Colour::Off => word.to_owned(),
            Colour::On => format!("\u{1b}[{}m{word}\u{1b}[0m", self.severity.sgr()),
        };
        let place = self.place.to_string();
        let place = mask_secrets(&place);
        let place = printable(&place);
        let mut lines = self.problem.lines();
        let first = printable(lines.next().unwrap_or_default());
        let mut text = match layout {
            Layout::SeverityFirst => format!("{severity}: {place}: {first}\n"),
            Layout::PlaceFirst => format!("{place}: {severity}: {first}\n"),
        };
        let (excerpt, remedy) = (self.place.excerpt(), self.remedy.as_deref());
        for line in lines.chain(excerpt.iter().map(String::as_str)).chain(remedy) {
            // A tab is as wide as the terminal likes; below the same tab a caret always fits.
            let cells: Vec<String> =
                line.split('\t').map(|cell| printable(cell).to_string()).collect();
            let _infallible = writeln!(text, "    {}", cells.join("\t"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Caret;

    impl fmt::Display for Caret {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("spa.toml:3:1")
        }
    }

    impl Place for Caret {
        fn excerpt(&self) -> Vec<String> {
            vec!["ttl = 1".to_owned(), "^^^".to_owned()]
        }
    }

    #[test]
    fn layouts() {
        let finding =
            Finding::new(Severity::Error, "k\u{1b}", "mode 0644\nsecond").remedy("chmod k");
        assert_eq!(
            finding.render(Layout::SeverityFirst, Colour::Off),
            "error: k\\u{1b}: mode 0644\n    second\n    chmod k\n"
        );
        assert_eq!(
            Finding::new(Severity::Warning, Caret, "too short")
                .render(Layout::PlaceFirst, Colour::Off),
            "spa.toml:3:1: warning: too short\n    ttl = 1\n    ^^^\n"
        );
    }

    #[test]
    fn only_the_severity_is_coloured() {
        let finding = Finding::new(Severity::Error, "k", "bad");
        assert_eq!(
            finding.render(Layout::SeverityFirst, Colour::On),
            "\u{1b}[1;31merror\u{1b}[0m: k: bad\n"
        );
    }

    #[test]
    fn no_colour_in_a_file() {
        let file = std::fs::File::open("/dev/null");
        assert!(file.is_ok_and(|file| Colour::of_output(&file) == Colour::Off));
    }

    #[test]
    fn the_worst_comes_first() {
        let mut all = [Severity::Ok, Severity::Hint, Severity::Error, Severity::Warning];
        all.sort();
        assert_eq!(all, [Severity::Error, Severity::Warning, Severity::Hint, Severity::Ok]);
    }
}
