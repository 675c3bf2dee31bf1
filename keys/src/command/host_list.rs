//! `spa host list`

use spa_keys::{Folder, HostLine, exit, printable};

use crate::command::{Failure, output};

pub(crate) fn run() -> Result<(), Failure> {
    let folder = Folder::of_user()?;
    let names = folder.host_names()?;
    if names.is_empty() {
        spa_keys::note!("no hosts; take the line of a server with: spa host add -");
    }
    let mut broken = 0;
    for name in &names {
        match folder.read_host(name) {
            Ok(host) => output::line(&describe(name, &host))?,
            Err(error) => {
                broken += 1;
                spa_keys::note!("spa: {error}");
            }
        }
    }
    if broken == 0 {
        return Ok(());
    }
    Err(Failure::new(exit::CONFIG, format!("{broken} of {} hosts cannot be used", names.len())))
}

/// Name, client's name, services: separated by tabs, so that `cut` works.
fn describe(name: &str, host: &HostLine) -> String {
    let services: Vec<String> = host.services.iter().map(ToString::to_string).collect();
    format!("{name}\t{}\t{}", printable(&host.name), printable(&services.join(", ")))
}
