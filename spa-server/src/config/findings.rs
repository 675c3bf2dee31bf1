//! Findings: what is wrong with a configuration, every one with its file, line, column and a caret.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::excerpt::{Excerpt, Lines};

/// Bytes of the source text, as the TOML parser counts them.
pub type Span = Range<usize>;

/// The place of a section that was not written.
pub(crate) const NOWHERE: Span = 0..0;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it stands in the text.
    pub span: Span,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is accepted, but probably not what was meant.
    Warning,
    /// Something to know.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// One finding. Shown as `file:line:column: severity: message`, the source line and a caret line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// File name as the operator gave it.
    pub file: Arc<str>,
    /// Severity.
    pub severity: Severity,
    /// What is wrong and what to write instead.
    pub message: String,
    /// Where; `None` when the finding is about the file as a whole.
    pub excerpt: Option<Excerpt>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.excerpt {
            None => writeln!(f, "{}: {}: {}", self.file, self.severity, self.message),
            Some(at) => {
                writeln!(
                    f,
                    "{}:{}:{}: {}: {}",
                    self.file, at.line, at.column, self.severity, self.message
                )?;
                writeln!(f, "    {}", at.source)?;
                writeln!(f, "    {}", at.caret)
            }
        }
    }
}

/// All findings of a file or of several, in the order of their place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// One error about a file as a whole.
    #[must_use]
    pub fn of_file(file: &str, severity: Severity, message: impl Into<String>) -> Self {
        Self(vec![Finding { file: file.into(), severity, message: message.into(), excerpt: None }])
    }

    /// Whether one of them is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|f| f.severity == Severity::Error)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.0.iter()
    }

    /// Adds those of another file.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|finding| finding.fmt(f))
    }
}

impl std::error::Error for Findings {}

/// Collects the findings of one file while it is read.
pub(crate) struct Report<'t> {
    name: &'t str,
    lines: Lines<'t>,
    found: Vec<(Span, Severity, String)>,
}

impl<'t> Report<'t> {
    pub(crate) fn new(name: &'t str, text: &'t str) -> Self {
        Self { name, lines: Lines::new(text), found: Vec::new() }
    }

    pub(crate) fn error(&mut self, span: &Span, message: impl Into<String>) {
        self.found.push((span.clone(), Severity::Error, message.into()));
    }

    pub(crate) fn warning(&mut self, span: &Span, message: impl Into<String>) {
        self.found.push((span.clone(), Severity::Warning, message.into()));
    }

    pub(crate) fn note(&mut self, span: &Span, message: impl Into<String>) {
        self.found.push((span.clone(), Severity::Note, message.into()));
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.iter().any(|(_, severity, _)| *severity == Severity::Error)
    }

    /// Number of the line that `offset` lies in, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.lines.number(offset)
    }

    pub(crate) fn finish(mut self) -> Findings {
        self.found.sort_by_key(|(span, severity, _)| (span.start, *severity));
        let file: Arc<str> = self.name.into();
        let lines = &self.lines;
        Findings(
            self.found
                .into_iter()
                .map(|(span, severity, message)| Finding {
                    file: Arc::clone(&file),
                    severity,
                    message,
                    excerpt: (span != NOWHERE).then(|| lines.excerpt(&span)),
                })
                .collect(),
        )
    }
}
