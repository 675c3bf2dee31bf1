//! `spa host remove`

use spa_keys::{Failure, Folder, hosts};

pub(crate) fn run(name: &str) -> Result<(), Failure> {
    hosts::remove(&Folder::of_user()?, name)
}
