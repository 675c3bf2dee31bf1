//! Findings while they are gathered.

use std::path::{Path, PathBuf};

use crate::finding::{Finding, Severity};
use crate::store::folder::Folder;
use crate::text::printable;

/// A folder that is checked, and what was found so far.
pub(super) struct Checker<'a> {
    /// Configuration folder of the client.
    pub(super) folder: &'a Folder,
    /// Findings, in the order of the checks.
    pub(super) findings: Vec<Finding>,
}

impl Checker<'_> {
    /// Adds a finding about a file or folder.
    pub(super) fn add_finding(
        &mut self,
        severity: Severity,
        path: &Path,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        let place = path.to_string_lossy().into_owned();
        self.findings.push(Finding::new(severity, place, what).remedy(mend));
    }

    /// Returns the path of a host's file.
    pub(super) fn host_file(&self, name: &str) -> PathBuf {
        self.folder.hosts().join(format!("{name}.host"))
    }
}

/// Quotes a path as one word of a shell's command.
pub(super) fn quote_path(path: &Path) -> String {
    let text = printable(&path.to_string_lossy()).to_string();
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | ':' | '+' | '@');
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
