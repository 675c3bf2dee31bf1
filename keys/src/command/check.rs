//! `spa check`

use serde_json::json;
use spa_keys::{Colour, Failure, Folder, Layout, Severity, check};

use crate::command::args::CheckArgs;
use crate::command::output;

/// Version of the JSON; a field more does not change it.
const JSON_VERSION: u32 = 1;

/// Runs `spa check`.
pub(crate) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let folder = Folder::of_user()?;
    let findings = check(&folder);
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    if args.json {
        let list: Vec<_> = findings
            .iter()
            .map(|finding| {
                json!({
                    "severity": finding.severity.word(),
                    "path": finding.place,
                    "what": finding.problem,
                    "mend": finding.remedy,
                })
            })
            .collect();
        output::print_line(&json!({ "version": JSON_VERSION, "findings": list }).to_string())?;
    } else {
        let colour = Colour::of_output(&std::io::stdout());
        for finding in &findings {
            output::print_line(finding.render(Layout::SeverityFirst, colour).trim_end())?;
        }
        if findings.is_empty() {
            spa_keys::note!("{}: all is well", folder.path().display());
        }
    }
    if errors == 0 {
        return Ok(());
    }
    let are = if errors == 1 { "1 error" } else { &format!("{errors} errors") };
    Err(Failure::config(format!("{are}; the command below each one fixes it")))
}
