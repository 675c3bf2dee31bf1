//! `spa host add`

use spa_keys::hosts::{self, NewHost};
use spa_keys::{Failure, Folder, HostLine, printable};

use crate::command::args::HostAdd;
use crate::command::output;

/// Runs `spa host add`.
pub(crate) fn run(args: &HostAdd) -> Result<(), Failure> {
    let text = spa_keys::read_argument(&args.line, "spa host add -")?;
    let line = HostLine::from_text(text.expose())?;
    let new = NewHost {
        line: &line,
        name: args.name.as_deref(),
        addresses: &args.addresses,
        identity: args.identity.as_deref(),
        replace: args.replace,
    };
    let name = hosts::add(&Folder::of_user()?, &new)?;
    line.services.iter().try_for_each(|service| {
        output::print_line(&format!("spa-client open {}@{name}", printable(&service.name)))
    })
}
