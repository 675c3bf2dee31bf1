//! `spa host remove`

use spa_keys::{Failure, Folder, hosts};

/// Runs `spa host remove`.
pub(crate) fn run(name: &str) -> Result<(), Failure> {
    hosts::remove(&Folder::of_user()?, name)
}
