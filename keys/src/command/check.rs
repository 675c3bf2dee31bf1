//! `spa check`

use serde_json::json;
use spa_keys::{Folder, Severity, check, exit, printable};

use crate::command::{Check, Failure, output};

/// Version of the JSON; a field more does not change it.
const JSON_VERSION: u32 = 1;

pub(crate) fn run(args: &Check) -> Result<(), Failure> {
    let folder = Folder::of_user()?;
    let findings = check(&folder);
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    if args.json {
        let list: Vec<_> = findings
            .iter()
            .map(|finding| {
                json!({
                    "severity": finding.severity.word(),
                    "path": finding.path.to_string_lossy(),
                    "what": finding.what,
                    "mend": finding.mend,
                })
            })
            .collect();
        output::line(&json!({ "version": JSON_VERSION, "findings": list }).to_string())?;
    } else {
        for finding in &findings {
            let path = finding.path.to_string_lossy();
            output::line(&format!(
                "{}: {}: {}",
                finding.severity.word(),
                printable(&path),
                finding.what
            ))?;
            output::line(&format!("    {}", finding.mend))?;
        }
        if findings.is_empty() {
            spa_keys::note!("{}: all is well", folder.path().display());
        }
    }
    if errors == 0 {
        return Ok(());
    }
    let are = if errors == 1 { "1 error" } else { &format!("{errors} errors") };
    Err(Failure::new(exit::CONFIG, format!("{are}; the command that mends each stands below it")))
}
