//! `[firewall] protect = "after-first-grant"`: which services a real client has opened once. Only
//! those are hidden; before, hiding could lock out whoever set it up.
//!
//! Remembered in a folder beside the store's, which the listener cannot reach: who could empty it
//! would unhide everything.

use std::collections::BTreeSet;
use std::path::PathBuf;

use spa_keys::ServiceName;
use spa_keys::file::{self, FileError};

use super::paths::broker_folder;
use crate::config::{Config, Protect, Service};
use crate::domain::ports::PortRange;
use crate::firewall::Rules;
use crate::firewall::reach::ReachQuestion;
use crate::log::{self, Level};

const ACTIVATED_FILE: &str = "opened";
const ACTIVATED_FILE_HEADER: &str = "# Services that a client has opened once: they are hidden. A \
    service that is not here is not hidden yet.\n";

/// Services that have been activated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    folder: PathBuf,
    /// `None`: everything is hidden, whoever has opened what.
    names: Option<BTreeSet<String>>,
}

/// Reads a whole memory. What a full disk or a stray hand has left of one is none: it would say
/// that less is hidden than was.
fn parse_names(text: &str) -> Option<BTreeSet<String>> {
    let lines = text.strip_prefix(ACTIVATED_FILE_HEADER)?;
    let whole = lines.is_empty() || lines.ends_with('\n');
    let names = lines.lines().map(|line| ServiceName::new(line).ok().map(|name| name.to_string()));
    names.collect::<Option<BTreeSet<_>>>().filter(|_| whole)
}

impl Opened {
    /// Reads what is remembered for this configuration. A memory that cannot be read counts as
    /// everything: what may have been hidden must not become visible by accident.
    pub(crate) fn read(config: &Config) -> Self {
        let (opened, error) = Self::look(config);
        if let Some(error) = error {
            log::event(Level::Error, "opened-unreadable")
                .with("error", error)
                .with("hidden", "everything")
                .emit();
        }
        opened
    }

    /// Reads it for another configuration of a running server. What is hidden stays so, whatever
    /// has become of the memory: a file that is away would make it visible.
    pub(crate) fn read_again(&self, config: &Config) -> Self {
        let mut read = Self::read(config);
        if let (Some(names), Some(known)) = (&mut read.names, &self.names)
            && read.folder == self.folder
            && !known.is_subset(names)
        {
            names.extend(known.iter().cloned());
            read.write();
        }
        read
    }

    /// As [`Opened::read`]; why the memory cannot be read is for the caller to tell.
    pub(crate) fn look(config: &Config) -> (Self, Option<FileError>) {
        let folder = broker_folder(&config.server.state);
        if config.firewall.protect == Protect::Always {
            return (Self { folder, names: None }, None);
        }
        let path = folder.join(ACTIVATED_FILE);
        let (names, error) = match file::read_secret(&path) {
            Ok(text) => match parse_names(text.expose()) {
                Some(names) => (Some(names), None),
                None => {
                    let text = "it is damaged: it was emptied, cut or written by somebody else";
                    (None, Some(FileError::from_io(&path, std::io::Error::other(text))))
                }
            },
            Err(FileError::Missing(_)) => (Some(BTreeSet::new()), None),
            Err(error) => (None, Some(error)),
        };
        (Self { folder, names }, error)
    }

    /// Returns true for a service that is hidden.
    pub(crate) fn hides(&self, service: &Service) -> bool {
        self.names.as_ref().is_none_or(|names| names.contains(&*service.name))
    }

    /// The rules of a configuration without the services that are not hidden yet.
    pub(crate) fn rules(&self, config: &Config, knock: &[PortRange]) -> Rules {
        config.rules_hiding(knock, |service| self.hides(service))
    }

    /// Services to ask the model of the host about.
    pub(crate) fn questions(&self, config: &Config) -> Vec<ReachQuestion> {
        config.questions(|service| self.hides(service))
    }

    /// Names of services that have ports to hide, and are not hidden yet.
    pub(crate) fn visible(&self, config: &Config) -> Vec<String> {
        let visible = config.services.iter().filter(|s| !s.ports.is_empty() && !self.hides(s));
        visible.map(|service| service.name.to_string()).collect()
    }

    /// A client has opened this service; true: for the first time. What cannot be written is hidden
    /// all the same, and tried again at the next start's first grant.
    pub(crate) fn add(&mut self, service: &str) -> bool {
        let Some(names) = &mut self.names else { return false };
        if !names.insert(service.to_owned()) {
            return false;
        }
        self.write();
        true
    }

    fn write(&self) {
        let Some(names) = &self.names else { return };
        let mut text = ACTIVATED_FILE_HEADER.to_owned();
        for name in names.iter() {
            text.push_str(name);
            text.push('\n');
        }
        let path = self.folder.join(ACTIVATED_FILE);
        if let Err(error) =
            file::private_folder(&self.folder).and_then(|()| file::replace(&path, &text))
        {
            log::event(Level::Error, "opened-not-remembered")
                .with("error", error)
                .with(
                    "do",
                    "check that the folder can be created and written; until then services are \
                     visible again after a restart",
                )
                .emit();
        }
    }
}
