//! `spa-client open`

use std::sync::Arc;

use spa_keys::{Failure, exit};
use spa_proto::Op;

use super::renew::renew_if_asked;
use crate::cli::OpenArgs;
use crate::hold::{HoldEvents, StopSignals};
use crate::knock::{knock_at_all, note_unknown_services};
use crate::plan::Plan;
use crate::report::{self, Progress};

/// Runs `spa-client open`; returns the exit code.
pub(crate) fn run_open(args: &OpenArgs) -> Result<u8, Failure> {
    // Before any thread begins, so that all of them leave the signals to the one that waits for
    // them.
    let stop = if args.hold { Some(StopSignals::block_signals()?) } else { None };
    let plan = Arc::new(Plan::from_target(&args.target, args.ttl, &args.options)?);
    note_unknown_services(&plan);
    let progress = Progress::show_knocking(&plan.host, &plan.addresses, plan.timeout);
    let outcomes = knock_at_all(&plan, Op::Open)?;
    drop(progress);
    let watched = stop.map(|stop| HoldEvents::start_listening(&plan, &stop)).transpose()?;
    let code = report::report_outcomes(&plan, &outcomes, Op::Open, args.json)?;
    match watched {
        Some(watched) if code == exit::OK => watched.hold_open(&plan, outcomes, args.json),
        _ => {
            renew_if_asked(&plan, &outcomes, &args.options);
            Ok(code)
        }
    }
}
