//! `spa host list`

use spa_keys::{Failure, Folder, hosts};

use crate::command::output;

/// Runs `spa host list`.
pub(crate) fn run() -> Result<(), Failure> {
    let (hosts, failure) = hosts::list(&Folder::of_user()?, "spa")?;
    hosts.iter().try_for_each(|(name, line)| output::print_line(&hosts::describe(name, line)))?;
    failure.map_or(Ok(()), Err)
}
