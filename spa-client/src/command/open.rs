//! `spa-client open`

use std::sync::Arc;

use spa_keys::{Failure, exit};
use spa_proto::Op;

use crate::cli::Open;
use crate::hold::{Stop, Watched};
use crate::knock::attempt;
use crate::plan::Plan;
use crate::report;
use crate::report::progress::Progress;

/// Runs it; the exit code.
pub(crate) fn run(args: &Open) -> Result<u8, Failure> {
    // Before any thread begins, so that all of them leave the signals to the one that waits for
    // them.
    let stop = if args.hold { Some(Stop::hold_back()?) } else { None };
    let plan = Arc::new(Plan::make(&args.target, args.ttl, &args.reach)?);
    attempt::note_unknown_services(&plan);
    let progress = Progress::knocking(&plan);
    let tried = attempt::all(&plan, Op::Open)?;
    drop(progress);
    let watched = stop.map(|stop| Watched::begin(&plan, &stop)).transpose()?;
    let code = report::report(&plan, &tried, Op::Open, args.json)?;
    match watched {
        Some(watched) if code == exit::OK => watched.hold(&plan, tried, args.json),
        _ => Ok(code),
    }
}
