//! Findings: what is wrong with a configuration, every one with its file, line, column and a caret.

use std::fmt;
use std::sync::Arc;

use spa_keys::{Colour, Layout, Place, Severity};

use super::excerpt::{Excerpt, Lines};
use super::span::{NO_SPAN, Span};

/// A finding of a file: `file:line:column: severity: problem`, the source line and a caret line.
pub type Finding = spa_keys::Finding<FilePosition>;

/// Position of a finding in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePosition {
    /// File name as the operator gave it.
    pub file: Arc<str>,
    /// Line and column; `None` when the finding is about the file as a whole.
    pub excerpt: Option<Excerpt>,
}

impl fmt::Display for FilePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.excerpt.as_ref().map_or(Ok(()), |at| write!(f, ":{}:{}", at.line, at.column))
    }
}

impl Place for FilePosition {
    fn excerpt(&self) -> Vec<String> {
        let lines = self.excerpt.iter().flat_map(|at| [&at.source, &at.caret]);
        lines.cloned().collect()
    }
}

/// Most findings of one file that are shown: more are of one mistake, or nobody's to read.
const MAX_FINDINGS: usize = 50;
/// Longest message in characters.
const MAX_MESSAGE: usize = 600;

/// All findings of a file or of several, in the order of their place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// One error about a file as a whole.
    #[must_use]
    pub fn of_file(file: &str, severity: Severity, message: impl Into<String>) -> Self {
        Self(vec![Finding::new(
            severity,
            FilePosition { file: file.into(), excerpt: None },
            message,
        )])
    }

    /// Returns true when one of them is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|f| f.severity == Severity::Error)
    }

    /// Returns true when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.0.iter()
    }

    /// Renders them for people.
    #[must_use]
    pub fn render(&self, colour: Colour) -> String {
        self.iter().map(|finding| finding.render(Layout::PlaceFirst, colour)).collect()
    }

    /// Adds those of another file.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Colour::Off))
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
    /// No findings yet; `text` is the content of the file `name`.
    pub(crate) fn new(name: &'t str, text: &'t str) -> Self {
        Self { name, lines: Lines::new(text), found: Vec::new() }
    }

    /// Adds an error: the configuration cannot be used.
    pub(crate) fn error(&mut self, span: &Span, message: impl Into<String>) {
        self.push(span, Severity::Error, message.into());
    }

    /// Adds a warning: the configuration is used, but probably not as meant.
    pub(crate) fn warning(&mut self, span: &Span, message: impl Into<String>) {
        self.push(span, Severity::Warning, message.into());
    }

    /// Adds a note: an effect of the configuration that may surprise.
    pub(crate) fn note(&mut self, span: &Span, message: impl Into<String>) {
        self.push(span, Severity::Note, message.into());
    }

    /// Adds a finding. A value of 100 000 characters is quoted in part.
    fn push(&mut self, span: &Span, severity: Severity, message: String) {
        let length = message.chars().count();
        let message = if length > MAX_MESSAGE {
            let first = message.chars().take(MAX_MESSAGE / 2);
            let last = message.chars().skip(length - MAX_MESSAGE / 2);
            first.chain(['…']).chain(last).collect()
        } else {
            message
        };
        self.found.push((span.clone(), severity, message));
    }

    /// Returns true when an error was added.
    pub(crate) fn has_errors(&self) -> bool {
        self.found.iter().any(|(_, severity, _)| *severity == Severity::Error)
    }

    /// Number of the line that `offset` lies in, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.lines.number(offset)
    }

    /// Sorts the findings by their place in the file.
    pub(crate) fn finish(mut self) -> Findings {
        let all = self.found.len();
        if all > MAX_FINDINGS {
            // Errors first: without one the file would pass as good.
            self.found.sort_by_key(|(span, severity, _)| (*severity, span.start));
            self.found.truncate(MAX_FINDINGS);
        }
        self.found.sort_by_key(|(span, severity, _)| (span.start, *severity));
        if all > MAX_FINDINGS {
            let more = format!("{} more findings of this file are not shown", all - MAX_FINDINGS);
            self.found.push((NO_SPAN, Severity::Note, more));
        }
        let file: Arc<str> = self.name.into();
        let lines = &self.lines;
        Findings(
            self.found
                .into_iter()
                .map(|(span, severity, problem)| {
                    let excerpt = (span != NO_SPAN).then(|| lines.excerpt(&span));
                    let position = FilePosition { file: Arc::clone(&file), excerpt };
                    Finding::new(severity, position, problem)
                })
                .collect(),
        )
    }
}

/// Reason why a value of a configuration is refused, as a sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ValueError(String);

impl From<String> for ValueError {
    fn from(sentence: String) -> Self {
        Self(sentence)
    }
}

impl From<&str> for ValueError {
    fn from(sentence: &str) -> Self {
        Self(sentence.to_owned())
    }
}
