//! `spa-server check`.

use spa_keys::{Colour, Layout, Severity, UnixMillis, mask_secrets};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};
use spa_keys::exit;

use super::table::count;
use super::{ConfigArg, DEFAULT_CONFIG, output};
use crate::config::Lockout;
use crate::config::{self, Finding, Findings, HookPart, Loaded, SecretFile, Surroundings};
use crate::config::{previous_key, server_key, surroundings};
use crate::host_check::hook;
use crate::host_check::{self, HostFinding, HostReport, HostSubject};
use spa_keys::Failure;

/// Version of the JSON object; it grows when the meaning of a field changes, not when one is added.
const JSON_VERSION: u32 = 1;

/// Check the configuration, the clients and this host
#[derive(Debug, Args)]
#[command(after_help = "Reports every finding at once. Exit code 78 when there is an error.\n\n\
        Example:\n  spa-server check --live")]
pub(super) struct CheckArgs {
    /// Configuration file, in place of --config
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArg,
    /// Look at this host too: ssh sessions, other firewalls, the clock, ports in use. For the
    /// default file it does so anyway
    #[arg(long)]
    live: bool,
    /// Look at the files only
    #[arg(long, conflicts_with = "live")]
    offline: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl CheckArgs {
    /// Prints all findings; fails with exit code 78 when one of them is an error.
    pub(super) fn run(self) -> Result<(), Failure> {
        let path = self.file.unwrap_or(self.config.config);
        // A file that is written for another host says nothing about this one.
        let live = self.live || (!self.offline && path == Path::new(DEFAULT_CONFIG));
        let check_hook = |part: HookPart<'_>| check_hook(part, &path);
        let around = Surroundings { check_hook: &check_hook, ..surroundings(true) };
        let answer = CheckReport::of(&path, &around, live);
        output::answer(&if self.json { answer.json()? } else { answer.text() })?;
        answer.end()
    }
}

/// Everything that a check has found.
struct CheckReport {
    file: String,
    loaded: Result<Loaded, Findings>,
    key: Result<(), Failure>,
    /// `None`: not asked for, or the configuration cannot be read.
    live: Option<HostReport>,
}

impl CheckReport {
    fn of(path: &Path, around: &Surroundings<'_>, live: bool) -> Self {
        let mut loaded = config::load(path, around);
        if let Ok(Loaded { config, clients, invitations, findings }) = &mut loaded {
            let lockout = Lockout::find(config, clients, invitations);
            findings.append(lockout.findings(&path.display().to_string()));
        }
        // A credential is at hand only inside the unit; a key file can be looked at here.
        let key = match &loaded {
            Ok(Loaded { config, .. }) if matches!(config.server.key, SecretFile::File(_)) => {
                let previous = config.server.previous.as_ref();
                let file =
                    previous.is_none_or(|previous| matches!(previous.file, SecretFile::File(_)));
                server_key(&config.server.key, around).and_then(|_| match file {
                    true => previous_key(config, around).map(drop),
                    false => Ok(()),
                })
            }
            _ => Ok(()),
        };
        let now_ms = UnixMillis::now().as_millis();
        let live = loaded.as_ref().ok().filter(|_| live);
        let live = live
            .map(|loaded| host_check::check_host(path, &loaded.config, &loaded.clients, now_ms));
        let file = mask_secrets(&path.display().to_string()).into_owned();
        Self { file, loaded, key, live }
    }

    fn live_findings(&self) -> impl Iterator<Item = &HostFinding> {
        self.live.iter().flat_map(|live| &live.findings)
    }

    fn findings(&self) -> &Findings {
        match &self.loaded {
            Ok(loaded) => &loaded.findings,
            Err(findings) => findings,
        }
    }

    /// Errors in the files, and errors of this host.
    fn errors(&self) -> (usize, usize) {
        let files =
            self.findings().iter().filter(|finding| finding.severity == Severity::Error).count();
        let here = self.live_findings().filter(|found| found.severity == Severity::Error).count();
        (files, here)
    }

    fn text(&self) -> String {
        let colour = Colour::of_output(&std::io::stdout());
        let mut text = self.findings().render(colour);
        if let (Ok(Loaded { config, clients, .. }), Ok(())) = (&self.loaded, &self.key) {
            text.push_str(&format!(
                "{}: ok: {}, {}, {}\n",
                self.file,
                count(config.services.len(), "service"),
                count(config.baits.len(), "bait group"),
                count(clients.len(), "client")
            ));
        }
        for finding in self.live_findings() {
            text.push_str(&finding.render(Layout::PlaceFirst, colour));
        }
        text
    }

    fn json(&self) -> Result<String, Failure> {
        let mut findings: Vec<Value> = self.findings().iter().map(finding).collect();
        if let Err(failure) = &self.key {
            findings.push(json!({ "severity": "error", "message": failure.to_string() }));
        }
        let number = |of: fn(&Loaded) -> usize| self.loaded.as_ref().ok().map(of);
        let rows = self.live.iter().flat_map(|live| &live.findings).map(HostRow::of);
        let live = self.live.is_some().then(|| rows.collect::<Vec<_>>());
        let object = json!({
            "version": JSON_VERSION,
            "file": self.file,
            "good": self.end().is_ok(),
            "services": number(|loaded| loaded.config.services.len()),
            "baits": number(|loaded| loaded.config.baits.len()),
            "clients": number(|loaded| loaded.clients.len()),
            "findings": findings,
            "live": live,
            "reach": self.live.as_ref().map(|live| &live.reach),
        });
        let text =
            serde_json::to_string(&object).map_err(|error| Failure::failed(error.to_string()))?;
        Ok(text + "\n")
    }

    fn end(&self) -> Result<(), Failure> {
        match (self.errors(), &self.key) {
            ((0, _), Err(failure)) => Err(failure.clone().with_code(exit::CONFIG)),
            ((0, 0), Ok(())) => Ok(()),
            ((0, here), _) => Err(Failure::config(format!(
                "{}; starting the server would lock you out, or hide nothing",
                count(here, "error")
            ))),
            ((files, _), _) => Err(Failure::config(format!(
                "{}; the server would not start",
                count(files, "error")
            ))),
        }
    }
}

/// By the rules that the runner goes by before each run.
fn check_hook(part: HookPart<'_>, config: &Path) -> Result<(), Failure> {
    match part {
        HookPart::Program(path) => hook::check_program(path),
        HookPart::User(name) => hook::find_user(name).map(drop),
        // The server runs as the owner of its configuration's folder.
        HookPart::NoUser => {
            let folder = config.parent().filter(|folder| !folder.as_os_str().is_empty());
            let owner = std::fs::metadata(folder.unwrap_or(Path::new("."))).map(|meta| meta.uid());
            if owner.is_ok_and(|owner| owner == 0) { hook::refuse_root() } else { Ok(()) }
        }
    }
}

/// A finding of this host in the JSON object.
#[derive(Serialize)]
struct HostRow<'a> {
    about: HostSubject,
    weight: &'static str,
    text: &'a str,
}

impl<'a> HostRow<'a> {
    fn of(finding: &'a HostFinding) -> Self {
        // The word of version 1 for what is as it should be.
        let weight = match finding.severity {
            Severity::Ok => "good",
            severity => severity.word(),
        };
        Self { about: finding.place, weight, text: &finding.problem }
    }
}

fn finding(finding: &Finding) -> Value {
    let at = finding.place.excerpt.as_ref();
    json!({
        "severity": finding.severity.word(),
        "message": finding.problem,
        "file": mask_secrets(&finding.place.file),
        "line": at.map(|at| at.line),
        "column": at.map(|at| at.column),
    })
}
