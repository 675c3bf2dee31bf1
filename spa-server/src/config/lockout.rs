//! Clients that knock at other ports than those that are heard, by what their enrolment lines told
//! them.

use std::sync::Arc;

use spa_keys::Severity;

use super::model::{Config, Stages};
use super::{Client, Findings, Invitation};
use crate::log::{self, Level};

/// Most clients that are named; the others are counted.
const MAX_NAMED: usize = 8;

/// Clients and invitations, by the sequence that they were enrolled with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lockout {
    locked_out: NamedClients,
    /// They still come by `previous-ports`.
    previous: NamedClients,
    /// Enrolled before the sequence was written down.
    unknown: NamedClients,
    /// Ports that some of the locked out know, if they could be `previous-ports`.
    old_ports: Option<Vec<u16>>,
}

impl Lockout {
    /// Compares what clients and invitations know with what is heard.
    pub(crate) fn find(config: &Config, clients: &[Client], invitations: &[Invitation]) -> Self {
        let heard = &config.sequence;
        let mut found = Self::default();
        for client in clients.iter().chain(invitations.iter().map(|one| &one.client)) {
            let known = client.sequence.as_deref();
            match known {
                None => found.unknown.push(&client.name),
                Some(known) if *known == heard.stages => {}
                Some(Stages::Fixed(ports)) if *ports == heard.previous => {
                    found.previous.push(&client.name);
                }
                Some(known) => {
                    found.locked_out.push(&client.name);
                    if let Stages::Fixed(ports) = known
                        && heard.previous.is_empty()
                        && ports.len() == usize::from(heard.stages.count())
                    {
                        found.old_ports.get_or_insert_with(|| ports.clone());
                    }
                }
            }
        }
        found
    }

    /// Sentence about those who are locked out, with the remedy.
    pub(crate) fn locked_out(&self) -> Option<String> {
        let names = self.locked_out.format()?;
        let line = "give each a new line: spa-server client line NAME";
        let remedy = match &self.old_ports {
            Some(ports) => {
                format!(
                    "write previous-ports = {ports:?} in [sequence] for the change, then {line}"
                )
            }
            None => line.to_owned(),
        };
        let is = self.locked_out.verb("is", "are");
        Some(format!("locked out {is} {names}: enrolled with other knock ports; {remedy}"))
    }

    /// Sentence about those who still come by `previous-ports`.
    pub(crate) fn previous(&self) -> Option<String> {
        let names = self.previous.format()?;
        let knock = self.previous.verb("knocks", "knock");
        Some(format!(
            "{names} still {knock} at previous-ports: before they go, spa-server client line NAME"
        ))
    }

    /// Sentence about those of whom it is not known.
    pub(crate) fn unknown(&self) -> Option<String> {
        let names = self.unknown.format()?;
        Some(format!(
            "unknown whether these know the knock ports: {names}, enrolled before that was \
             written down or by hand; spa-server client line NAME writes it"
        ))
    }

    /// Logs who is locked out.
    pub(crate) fn log(&self) {
        if let Some(sentence) = self.locked_out() {
            log::event(Level::Warn, "locked-out")
                .number("clients", self.locked_out.all as u64)
                .with("text", sentence)
                .emit();
        }
    }

    /// All of that as findings of the configuration `file`.
    pub(crate) fn findings(&self, file: &str) -> Findings {
        let mut findings = Findings::default();
        for (severity, sentence) in [
            (Severity::Warning, self.locked_out()),
            (Severity::Note, self.previous()),
            (Severity::Note, self.unknown()),
        ] {
            if let Some(sentence) = sentence {
                findings.append(Findings::of_file(file, severity, sentence));
            }
        }
        findings
    }
}

/// The first names of a list, and how many more there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct NamedClients {
    first: Vec<Arc<str>>,
    all: usize,
}

impl NamedClients {
    fn push(&mut self, name: &Arc<str>) {
        self.all += 1;
        if self.first.len() < MAX_NAMED {
            self.first.push(Arc::clone(name));
        }
    }

    fn format(&self) -> Option<String> {
        let more = self.all.saturating_sub(self.first.len());
        let first = self.first.join(", ");
        match (self.all, more) {
            (0, _) => None,
            (_, 0) => Some(first),
            (_, more) => Some(format!("{first} and {more} more")),
        }
    }

    fn verb<'w>(&self, one: &'w str, several: &'w str) -> &'w str {
        if self.all == 1 { one } else { several }
    }
}
