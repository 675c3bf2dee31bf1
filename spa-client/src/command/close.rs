//! `spa-client close`

use std::sync::Arc;

use spa_keys::Failure;
use spa_proto::Op;

use crate::cli::Close;
use crate::knock::attempt;
use crate::plan::Plan;
use crate::report;
use crate::report::progress::Progress;

/// Runs it; the exit code.
pub(crate) fn run(args: &Close) -> Result<u8, Failure> {
    let plan = Arc::new(Plan::make(&args.target, None, &args.reach)?);
    let progress = Progress::knocking(&plan);
    let tried = attempt::all(&plan, Op::Close)?;
    drop(progress);
    report::report(&plan, &tried, Op::Close, args.json)
}
