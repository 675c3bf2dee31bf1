//! End of a command that does not succeed; the same in all our programs.

use std::fmt;
use std::process::ExitCode;

use crate::file::FileError;
use crate::key::key_file::KeyFileError;
use crate::remedy::{REMEDY_LEAD, write_problem};
use crate::{
    FolderError, HostError, LockError, PassphraseError, TextError, UnknownHost, exit, mask_secrets,
};

/// Reason why a command did not succeed: what went wrong and why, the command that repairs it, and
/// the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exit code, one of [`crate::exit`].
    pub code: u8,
    /// Description of what went wrong and why, without a period at its end.
    pub problem: String,
    /// Shell command that repairs it, or looks closer.
    pub remedy: Option<String>,
    lead: &'static str,
}

impl Failure {
    /// Makes a failure with an exit code.
    #[must_use]
    pub fn new(code: u8, problem: impl Into<String>) -> Self {
        let problem = mask_secrets(&problem.into()).into_owned();
        Self { code, problem, remedy: None, lead: REMEDY_LEAD }
    }

    /// Makes a failure with exit code 1.
    #[must_use]
    pub fn failed(problem: impl Into<String>) -> Self {
        Self::new(exit::FAILURE, problem)
    }

    /// Makes a failure of a configuration, key or enrolment file: exit code 78.
    #[must_use]
    pub fn config(problem: impl Into<String>) -> Self {
        Self::new(exit::CONFIG, problem)
    }

    /// Makes a failure of the command line: exit code 2.
    #[must_use]
    pub fn usage(problem: impl Into<String>) -> Self {
        Self::new(exit::USAGE, problem)
    }

    /// Makes a failure for want of permission: exit code 77.
    #[must_use]
    pub fn permission(problem: impl Into<String>) -> Self {
        Self::new(exit::PERMISSION, problem)
    }

    /// Adds the shell command that repairs it.
    #[must_use]
    pub fn remedy(self, command: impl Into<String>) -> Self {
        self.remedy_after(REMEDY_LEAD, command)
    }

    /// Adds a shell command with words of its own in front, such as `test it`.
    #[must_use]
    pub fn remedy_after(mut self, lead: &'static str, command: impl Into<String>) -> Self {
        let command = mask_secrets(&command.into()).into_owned();
        (self.lead, self.remedy) = (lead, Some(command));
        self
    }

    /// Replaces the exit code.
    #[must_use]
    pub fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Replaces the problem by one that is made of it; exit code and remedy stay.
    #[must_use]
    pub fn map_problem(mut self, change: impl FnOnce(&str) -> String) -> Self {
        self.problem = change(&self.problem);
        self
    }

    /// Prints it on standard error, the program's name first.
    #[must_use]
    pub fn report(&self, program: &str) -> ExitCode {
        crate::note!("{program}: {}", self.to_string().trim_end());
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    /// Writes the problem and, if there is one, `; fix it with: ` and the remedy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_problem(f, &self.problem, self.lead, self.remedy.as_deref())
    }
}

impl From<&FileError> for Failure {
    fn from(error: &FileError) -> Self {
        let failure = Self::new(error.exit_code(), error.problem());
        match error.remedy() {
            Some(command) => failure.remedy(command),
            None => failure,
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::from(&error)
    }
}

impl From<&KeyFileError> for Failure {
    fn from(error: &KeyFileError) -> Self {
        match error {
            KeyFileError::File(error) => error.into(),
            _ => Self::new(error.exit_code(), error.to_string()),
        }
    }
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        Self::from(&error)
    }
}

impl From<PassphraseError> for Failure {
    fn from(error: PassphraseError) -> Self {
        Self::new(error.exit_code(), error.to_string())
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<&FolderError> for Failure {
    fn from(error: &FolderError) -> Self {
        match error {
            FolderError::File(error) => error.into(),
            FolderError::NoHost(UnknownHost { name, near }) => {
                let failure =
                    Self::new(error.exit_code(), format!("there is no host `{name}`{near}"));
                if near.is_empty() {
                    let command = format!("spa host add - --name {name}");
                    failure.remedy_after("take its enrolment line with", command)
                } else {
                    failure
                }
            }
            _ => Self::new(error.exit_code(), error.to_string()),
        }
    }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        Self::from(&error)
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<TextError> for Failure {
    fn from(error: TextError) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        Self::new(if denied { exit::PERMISSION } else { exit::FAILURE }, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendered_with_and_without_a_remedy() {
        let problem = "others may use k (mode 0644)";
        let failure = Failure::permission(problem);
        assert_eq!(failure.to_string(), problem);
        let failure = failure.remedy("chmod 600 k");
        assert_eq!(failure.to_string(), "others may use k (mode 0644); fix it with: chmod 600 k");
        let failure =
            failure.with_code(exit::CONFIG).map_problem(|problem| format!("key: {problem}"));
        assert_eq!(
            (failure.code, failure.problem.as_str()),
            (78, "key: others may use k (mode 0644)")
        );
        let failure = failure.remedy_after("look", "ls");
        assert_eq!(failure.to_string(), "key: others may use k (mode 0644); look: ls");
    }

    #[test]
    fn the_remedy_of_a_file_is_apart_from_its_problem() {
        let error = FileError::Mode { path: "k".into(), mode: 0o644 };
        let text = error.to_string();
        for failure in [
            Failure::from(&error),
            KeyFileError::File(FileError::Mode { path: "k".into(), mode: 0o644 }).into(),
            FolderError::from(error).into(),
        ] {
            assert_eq!(failure.remedy.as_deref(), Some("chmod 600 k"));
            assert_eq!(failure.to_string(), text);
        }
        for near in ["", "; did you mean `gate`?"] {
            let unknown = UnknownHost { name: "gat".to_owned(), near: near.to_owned() };
            let error = FolderError::NoHost(unknown);
            assert_eq!(Failure::from(&error).to_string(), error.to_string());
        }
    }
}
