//! What the doctor has found.

use serde::Serialize;
use spa_keys::{Failure, printable};

/// How bad it is; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Level {
    /// This alone keeps a knock from working.
    Error,
    /// This may keep a knock from working, or is not as safe as it could be.
    Warning,
    /// Nobody can tell here.
    Unknown,
    /// Good.
    Ok,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at, in one word.
    pub(super) check: &'static str,
    pub(super) level: Level,
    /// A sentence.
    pub(super) text: String,
    /// The command that mends it, or looks closer.
    pub(super) mend: Option<String>,
}

impl Finding {
    pub(super) fn new(check: &'static str, level: Level, text: impl Into<String>) -> Self {
        Self { check, level, text: text.into(), mend: None }
    }

    pub(super) fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, text)
    }

    /// With the command that mends it.
    pub(super) fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend = Some(command.into());
        self
    }

    /// From a failure, whose sentence may end with a command.
    pub(super) fn failed(check: &'static str, failure: &Failure) -> Self {
        if let Some(command) = &failure.remedy {
            return Self::new(check, Level::Error, failure.problem.clone()).mend(command.clone());
        }
        let text = failure.to_string();
        let ends = [
            "; mend it with: ",
            "; test it: ",
            "; take its enrolment line with: ",
            "; make a key with: ",
        ];
        let split = ends.iter().find_map(|end| text.rsplit_once(end));
        match split {
            Some((text, command)) => {
                // What comes after the command is no part of it.
                let command = command.split_once(", and ").map_or(command, |(command, _)| command);
                Self::new(check, Level::Error, text).mend(command)
            }
            None => Self::new(check, Level::Error, text.clone()),
        }
    }

    /// For a terminal.
    pub(super) fn show(&self) -> String {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Unknown => "unknown",
            Level::Ok => "ok",
        };
        let lines: Vec<String> =
            self.text.lines().map(|line| printable(line).to_string()).collect();
        let mut out = format!("{level:<8}{}: {}\n", self.check, lines.join("\n        "));
        if let Some(mend) = &self.mend {
            out += &format!("        mend it: {}\n", printable(mend));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_taken_out_of_the_sentence() {
        let failure = Failure::config("others may use k (mode 0644); mend it with: chmod 600 k");
        let finding = Finding::failed("key", &failure);
        assert_eq!(
            (finding.text.as_str(), finding.mend.as_deref()),
            ("others may use k (mode 0644)", Some("chmod 600 k"))
        );
        assert_eq!(
            finding.show(),
            "error   key: others may use k (mode 0644)\n        mend it: chmod 600 k\n"
        );
        let plain = Finding::failed("key", &Failure::failed("a\u{1b}b"));
        assert_eq!(plain.show(), "error   key: a\\u{1b}b\n");
    }

    #[test]
    fn the_worst_comes_first() {
        assert!(
            Level::Error < Level::Warning
                && Level::Warning < Level::Unknown
                && Level::Unknown < Level::Ok
        );
    }
}
