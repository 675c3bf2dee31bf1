//! `spa-client run`

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use spa_keys::{Failure, exit, printable};
use spa_proto::Op;

use super::renew::renew_if_asked;
use crate::cli::RunArgs;
use crate::knock::{knock_at_all, note_unknown_services};
use crate::plan::Plan;
use crate::report::{self, Progress};

/// Exit code: the command is there and cannot be run (POSIX, "Exit Status for Commands").
const EXIT_NOT_RUNNABLE: u8 = 126;
/// Exit code: the command is not there.
const EXIT_NOT_FOUND: u8 = 127;

/// Runs `spa-client run`; returns only when the command could not take our place.
pub(crate) fn run_command(args: &RunArgs) -> Result<u8, Failure> {
    args.options.check_input_unused()?;
    let plan = Arc::new(Plan::from_target(&args.target, args.ttl, &args.options)?);
    note_unknown_services(&plan);
    let progress = Progress::show_knocking(&plan.host, &plan.addresses, plan.timeout);
    let outcomes = knock_at_all(&plan, Op::Open)?;
    drop(progress);
    // Standard output is the command's alone.
    let code = report::report_problems(&plan, &outcomes, Op::Open);
    if code != exit::OK {
        return Ok(code);
    }
    renew_if_asked(&plan, &outcomes, &args.options);
    drop(outcomes);
    let Some((program, arguments)) = args.command.split_first() else { return Ok(exit::USAGE) };
    let error = Command::new(program).args(arguments).exec();
    let (code, next) = match error.kind() {
        io::ErrorKind::NotFound => (EXIT_NOT_FOUND, "is it installed, and in PATH?"),
        _ => (EXIT_NOT_RUNNABLE, "see its mode: ls -l"),
    };
    let shown = program.to_string_lossy();
    Err(Failure::new(code, format!("{}: {error}; {next}", printable(&shown))))
}
