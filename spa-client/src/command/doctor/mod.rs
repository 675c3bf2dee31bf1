//! `spa-client doctor`: the server is silent to whatever it does not accept, so the client looks at
//! itself.

mod agent;
mod files;
mod finding;
mod network;

use std::sync::Arc;

use serde::Serialize;
use spa_keys::{Failure, Folder};

use crate::cli::{Doctor, Target};
use crate::host::find;
use crate::host::settings::{Config, Host};
use crate::output;
use crate::plan::{self, Plan};
use crate::report::progress::Progress;
use finding::Finding;

/// Version of the JSON object.
const JSON_VERSION: u8 = 1;

#[derive(Serialize)]
struct Report<'a> {
    version: u8,
    /// The host's name in the folder; `null` when none was named or found.
    host: Option<&'a str>,
    /// The worst first.
    findings: &'a [Finding],
}

/// Runs it; the exit code.
pub(crate) fn run(args: &Doctor) -> Result<u8, Failure> {
    let folder = plan::folder(args.reach.config.as_deref())?;
    let mut findings = vec![files::clock()];
    let mut host = None;
    let config = files::settings(&folder, &mut findings);
    if let Some(config) = config {
        match &args.host {
            None => {
                findings.extend(files::key(&folder, &Host::default(), None));
                files::enrolments(&folder, &mut findings);
            }
            Some(name) => host = examine(args, &folder, &config, &target(name)?, &mut findings),
        }
    }
    // Stable: within a level as they were looked at, which is the order in which they depend on one
    // another.
    findings.sort_by_key(|finding| finding.level);
    if args.json {
        output::json(&Report {
            version: JSON_VERSION,
            host: host.as_deref(),
            findings: &findings,
        })?;
    } else {
        output::text(&findings.iter().map(Finding::show).collect::<String>())?;
    }
    Ok(network::exit_code(&findings))
}

/// `HOST` alone is no target of a knock for a service.
fn target(name: &str) -> Result<Target, Failure> {
    if name.contains('@') {
        return name.parse().map_err(|error: &str| Failure::new(spa_keys::exit::USAGE, error));
    }
    Ok(Target { services: vec![network::NO_SERVICE.to_owned()], host: name.to_owned() })
}

/// One host, as far as it goes; its name in the folder.
fn examine(
    args: &Doctor,
    folder: &Folder,
    config: &Config,
    target: &Target,
    findings: &mut Vec<Finding>,
) -> Option<String> {
    let found = match find::find(folder, config, &target.host) {
        Ok(found) => found,
        Err(failure) => {
            findings.push(Finding::failed("host", &failure));
            return None;
        }
    };
    let alias = found
        .by_ssh
        .map_or_else(String::new, |name| format!(" (ssh takes {} for {name})", target.host));
    findings.push(Finding::ok(
        "host",
        format!("{}: enrolled as {}{alias}", found.host, found.line.name),
    ));
    let keys = files::key(folder, &config.host(&found.host), Some((&found.host, &found.line)));
    let wrong =
        |check| keys.iter().any(|one| one.check == check && one.level == finding::Level::Error);
    let (no_key, no_agent) = (wrong("key"), wrong("agent"));
    findings.extend(keys);
    if no_key {
        return Some(found.host);
    }
    match Plan::make(target, None, &args.reach) {
        Err(failure) => findings.push(Finding::failed("names", &failure)),
        Ok(plan) => {
            let plan = Arc::new(plan);
            network::routes(&plan, findings);
            // Without a signature nothing leaves, and that has been said.
            if args.knock && !no_agent {
                let _progress = Progress::knocking(&plan);
                network::knock(&plan, findings);
            }
        }
    }
    Some(found.host)
}
