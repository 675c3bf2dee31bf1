//! `spa-client open`

use std::sync::Arc;

use spa_keys::{Failure, exit};
use spa_proto::Op;

use crate::cli::Open;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::{attempt, hold, report};

/// Runs it; the exit code.
pub(crate) fn run(args: &Open) -> Result<u8, Failure> {
    // Before any thread begins, so that all of them leave the signals to the one that waits for them.
    let stop = if args.hold { Some(hold::Stop::hold_back()?) } else { None };
    let plan = Arc::new(Plan::make(&args.target, args.ttl, &args.reach)?);
    attempt::note_unknown_services(&plan);
    let progress = Progress::knocking(&plan);
    let tried = attempt::all(&plan, Op::Open)?;
    drop(progress);
    let code = report::report(&plan, &tried, Op::Open, args.json)?;
    match stop {
        Some(stop) if code == exit::OK => hold::hold(&plan, tried, &stop, args.json),
        _ => Ok(code),
    }
}
