//! `spa-client doctor`: the server is silent to whatever it does not accept, so the client looks at
//! itself.

mod agent;
mod files;
mod network;

use std::io;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;
use spa_keys::{Colour, Failure, Folder, Layout, Severity, exit};

use super::ssh_config::check_installed;
use crate::cli::{DoctorArgs, Target};
use crate::host::{Config, HostSettings, find_host};
use crate::output;
use crate::plan::Plan;
use crate::report::Progress;

/// Finding about a part of the client's world, named by one word.
type Finding = spa_keys::Finding<&'static str>;

/// Version of the JSON object.
const JSON_VERSION: u8 = 1;

#[derive(Serialize)]
struct DoctorReport<'a> {
    version: u8,
    /// The host's name in the folder; `null` when none was named or found.
    host: Option<&'a str>,
    /// The worst first.
    findings: Vec<FindingReport<'a>>,
}

#[derive(Serialize)]
struct FindingReport<'a> {
    check: &'static str,
    level: &'static str,
    text: &'a str,
    mend: Option<&'a str>,
}

impl<'a> From<&'a Finding> for FindingReport<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            check: finding.place,
            level: finding.severity.word(),
            text: &finding.problem,
            mend: finding.remedy.as_deref(),
        }
    }
}

/// Makes a finding that all is well.
fn good_finding(check: &'static str, text: impl Into<String>) -> Finding {
    Finding::new(Severity::Ok, check, text)
}

/// Makes a finding of a failure.
fn failure_finding(check: &'static str, failure: &Failure) -> Finding {
    Finding {
        remedy: failure.remedy.clone(),
        ..Finding::new(Severity::Error, check, &failure.problem)
    }
}

/// Runs `spa-client doctor`; returns the exit code.
pub(crate) fn run_doctor(args: &DoctorArgs) -> Result<u8, Failure> {
    let folder = args.options.folder.find_folder()?;
    let mut findings = vec![files::check_clock()];
    let mut host = None;
    let config = files::check_settings(&folder, &mut findings);
    if let Some(config) = config {
        match &args.host {
            None => {
                findings.extend(files::check_key(&folder, &HostSettings::default(), None));
                files::check_enrolments(&folder, &mut findings);
            }
            Some(name) => {
                host =
                    examine_host(args, &folder, &config, &parse_doctor_target(name)?, &mut findings)
            }
        }
    }
    // Stable: within a level as they were looked at, which is the order in which they depend on one
    // another.
    findings.sort_by_key(|finding| finding.severity);
    if args.json {
        output::print_json(&DoctorReport {
            version: JSON_VERSION,
            host: host.as_deref(),
            findings: findings.iter().map(FindingReport::from).collect(),
        })?;
    } else {
        let colour = Colour::of_output(&io::stdout());
        let render = |finding: &Finding| finding.render(Layout::SeverityFirst, colour);
        output::print_text(&findings.iter().map(render).collect::<String>())?;
    }
    let worst = findings.first().map(|finding| finding.severity);
    Ok(if worst == Some(Severity::Error) { exit::FAILURE } else { exit::OK })
}

/// Parses `[SERVICE@]HOST`.
fn parse_doctor_target(text: &str) -> Result<Target, Failure> {
    if text.contains('@') {
        return text
            .parse()
            .map_err(|error: <Target as FromStr>::Err| Failure::usage(error.to_string()));
    }
    Ok(Target { services: Vec::new(), host: text.to_owned() })
}

/// Examines one host, as far as it goes; returns its name in the folder.
fn examine_host(
    args: &DoctorArgs,
    folder: &Folder,
    config: &Config,
    target: &Target,
    findings: &mut Vec<Finding>,
) -> Option<String> {
    let found = match find_host(folder, config, &target.host) {
        Ok(found) => found,
        Err(failure) => {
            findings.push(failure_finding("host", &failure));
            return None;
        }
    };
    let alias = found
        .ssh_host_name
        .map_or_else(String::new, |name| format!(" (ssh takes {} for {name})", target.host));
    findings.push(good_finding(
        "host",
        format!("{}: enrolled as {}{alias}", found.host, found.line.name),
    ));
    if let Some((severity, text)) = check_installed(&found.host, &found.line) {
        findings.push(Finding::new(severity, "ssh", text));
    }
    let keys = files::check_key(
        folder,
        &config.settings_of(&found.host),
        Some((&found.host, &found.line)),
    );
    let wrong =
        |check| keys.iter().any(|one| one.place == check && one.severity == Severity::Error);
    let (no_key, no_agent) = (wrong("key"), wrong("agent"));
    findings.extend(keys);
    if no_key {
        return Some(found.host);
    }
    match Plan::from_target(target, None, &args.options) {
        Err(failure) => findings.push(failure_finding("names", &failure)),
        Ok(mut plan) => {
            if plan.services.is_empty() {
                plan.services.push(network::NO_SERVICE_NAME.to_owned());
            }
            let plan = Arc::new(plan);
            network::check_routes(&plan, findings);
            // Without a signature nothing leaves, and that has been said.
            if args.knock && !no_agent {
                let _progress = Progress::show_knocking(&plan.host, &plan.addresses, plan.timeout);
                network::check_knock(&plan, findings);
            }
        }
    }
    Some(found.host)
}
