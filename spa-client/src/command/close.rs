//! `spa-client close`

use std::sync::Arc;

use spa_keys::Failure;
use spa_proto::Op;

use crate::cli::CloseArgs;
use crate::knock::knock_at_all;
use crate::plan::Plan;
use crate::report::{self, Progress};

/// Runs `spa-client close`; returns the exit code.
pub(crate) fn run_close(args: &CloseArgs) -> Result<u8, Failure> {
    let plan = Arc::new(Plan::from_target(&args.target, None, &args.options)?);
    let progress = Progress::show_knocking(&plan.host, &plan.addresses, plan.timeout);
    let outcomes = knock_at_all(&plan, Op::Close)?;
    drop(progress);
    report::report_outcomes(&plan, &outcomes, Op::Close, args.json)
}
