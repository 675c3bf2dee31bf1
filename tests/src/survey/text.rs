//! Lines of comments, code and Markdown.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::SourceFile;

/// Widest line that is not listed, in characters.
pub const MAX_WIDTH: usize = 100;

/// One line that holds text.
pub struct Line<'a> {
    /// Counted from 1.
    pub number: usize,
    /// Whole line, with its indentation.
    pub text: &'a str,
    /// Set where the line begins with `//`.
    pub is_comment: bool,
}

impl Line<'_> {
    /// Width in characters.
    pub fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Product lines of a file, empty ones left out.
pub fn lines(file: &SourceFile) -> Vec<Line<'_>> {
    let text = file.lines().filter(|(_, text)| !text.trim().is_empty());
    text.map(|(number, text)| Line {
        number,
        text,
        is_comment: text.trim_start().starts_with("//"),
    })
    .collect()
}

/// First lines of doc comments, with their numbers.
pub fn doc_openings(file: &SourceFile) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut within = false;
    for (number, line) in file.lines() {
        let line = line.trim_start();
        let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        if let (Some(doc), false) = (doc, within) {
            found.push((number, doc.trim()));
        }
        within = doc.is_some();
    }
    found
}

/// A doc comment that begins with a question instead of a noun or a verb.
pub fn is_question(opening: &str) -> bool {
    let first = opening.split(|c: char| !c.is_alphanumeric()).next();
    matches!(first, Some("What" | "Whether" | "Its" | "How"))
}

/// Markdown files below `root`, as far as git knows them.
pub fn markdown_files(root: &Path) -> Vec<PathBuf> {
    let output = Command::new("git").arg("-C").arg(root).args(["ls-files", "*.md"]).output();
    let output = output.expect("git runs");
    assert!(output.status.success(), "git ls-files in {}", root.display());
    String::from_utf8(output.stdout).unwrap().lines().map(PathBuf::from).collect()
}

/// Lines of a Markdown file, with their numbers; empty lines and tables are left out.
pub fn markdown_lines(text: &str) -> Vec<(usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    numbered
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('|'))
        .collect()
}
