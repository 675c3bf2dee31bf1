//! `spa-server firewall conformance`: an enforcer's program, put through the contract.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use spa_keys::{Failure, duration};

use super::output;
use crate::enforcer::{CaseOutcome, try_program};

/// Try a program of yours for [[enforcer]]
#[derive(Debug, Args)]
#[command(
    after_help = "Opens and closes addresses of documentation (192.0.2.0/24, 2001:db8::/32) \
        for a service\nnamed conformance. Exit code 1 when a case fails.\n\n\
        Example:\n  spa-server firewall conformance --expires --exec \
        /usr/local/lib/spa/ipset-enforcer"
)]
pub(super) struct ConformanceArgs {
    /// What it opens ends by itself
    #[arg(long)]
    expires: bool,
    /// Time that it has for one answer
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration::parse)]
    timeout: Duration,
    /// The program and its arguments; everything behind it belongs to it
    #[arg(
        long,
        value_name = "PROGRAM",
        num_args = 1..,
        required = true,
        allow_hyphen_values = true
    )]
    exec: Vec<String>,
}

impl ConformanceArgs {
    /// Tries it, and prints a line for each case.
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut command = self.exec;
        if let Some(program) = command.first_mut() {
            let path = PathBuf::from(&*program);
            let path = path.canonicalize().map_err(|error| {
                Failure::failed(format!("{}: {error}: name the program's file", path.display()))
            })?;
            *program = path.display().to_string();
        }
        let outcomes = try_program(&command, self.timeout, self.expires);
        let line = |outcome: &CaseOutcome| match &outcome.failure {
            None => format!("ok      {}\n", outcome.name),
            Some(why) => format!("FAILED  {}: {why}\n", outcome.name),
        };
        output::answer(&outcomes.iter().map(line).collect::<String>())?;
        match outcomes.iter().filter(|outcome| outcome.failure.is_some()).count() {
            0 => Ok(()),
            failed => Err(Failure::failed(format!(
                "{failed} of {} cases failed: docs/backends.md says what each request asks",
                outcomes.len()
            ))),
        }
    }
}
