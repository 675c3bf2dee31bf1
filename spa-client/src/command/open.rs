//! `spa-client open`

use std::sync::Arc;

use spa_keys::{Failure, exit};
use spa_proto::Op;

use crate::cli::OpenArgs;
use crate::hold::{Stop, Watched};
use crate::knock::{knock_at_all, note_unknown_services};
use crate::plan::Plan;
use crate::report::{self, Progress};

/// Runs it; the exit code.
pub(crate) fn run(args: &OpenArgs) -> Result<u8, Failure> {
    // Before any thread begins, so that all of them leave the signals to the one that waits for
    // them.
    let stop = if args.hold { Some(Stop::hold_back()?) } else { None };
    let plan = Arc::new(Plan::make(&args.target, args.ttl, &args.options)?);
    note_unknown_services(&plan);
    let progress = Progress::knocking(&plan);
    let tried = knock_at_all(&plan, Op::Open)?;
    drop(progress);
    let watched = stop.map(|stop| Watched::begin(&plan, &stop)).transpose()?;
    let code = report::report(&plan, &tried, Op::Open, args.json)?;
    match watched {
        Some(watched) if code == exit::OK => watched.hold(&plan, tried, args.json),
        _ => Ok(code),
    }
}
