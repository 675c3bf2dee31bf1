//! Reading `[audit]` and `[metrics]`.

use std::time::Duration;

use super::findings::{Report, ValueError};
use super::host::{parse_absolute_path, read_duration};
use super::model::Metrics;
use super::section::Section;
use crate::store::audit::Limits;

const ONE_DAY: Duration = Duration::from_secs(86_400);
/// With names of usual length the file has some 35 MB then.
const MAX_ENTRIES: u32 = 100_000;

/// Reads `[audit]`.
pub(super) fn read_audit(mut section: Section<'_>, report: &mut Report<'_>) -> Limits {
    let keep = read_duration(&mut section, report, "keep", ONE_DAY * 90, ONE_DAY, ONE_DAY * 3660);
    let max_entries =
        section.number(report, "max-entries", 100..=10_000_000).map_or(MAX_ENTRIES, |l| l.value);
    section.finish(report);
    Limits { keep, max_entries }
}

/// Reads `[metrics]`.
pub(super) fn read_metrics(mut section: Section<'_>, report: &mut Report<'_>) -> Metrics {
    let example = "\"/var/lib/prometheus/node-exporter/spa.prom\"";
    let textfile = section.text(report, "textfile", example, |text| {
        let path = parse_absolute_path(text)?;
        // The collector reads no other name, and says nothing about it.
        match path.extension() {
            Some(extension) if extension == "prom" => Ok(path),
            _ => Err(ValueError::from(format!(
                "`{}` does not end in .prom: the collector would not read it",
                text.escape_debug()
            ))),
        }
    });
    section.finish(report);
    Metrics { textfile: textfile.map(|l| l.value) }
}
