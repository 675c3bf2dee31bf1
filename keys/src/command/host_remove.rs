//! `spa host remove`

use spa_keys::{Folder, hosts};

use crate::command::Failure;

pub(crate) fn run(name: &str) -> Result<(), Failure> {
    hosts::remove(&Folder::of_user()?, name)
}
