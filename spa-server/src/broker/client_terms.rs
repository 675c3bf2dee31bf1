//! Grants that each client may have, by the broker's own reading of the very bytes that the
//! listener reads. Names, stanzas and public keys are kept; the psks in these files are wiped when
//! they are read.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use spa_proto::ClientPublic;

use crate::config::clients::is_enrolled_file;
use crate::config::{self, Loaded, Surroundings, surroundings};
use crate::engine::{Role, Stanza};
use crate::ipc::stanza::make_stanza;
use crate::log::{self, Level};

type ByName = HashMap<Arc<str>, ClientTerm>;

/// A client as the broker knows it.
#[derive(Debug)]
pub(super) struct ClientTerm {
    /// Terms of its grants.
    pub(super) stanza: Stanza,
    /// Present keys; `None`: the text is none.
    pub(super) public: Option<ClientPublic>,
}

impl ClientTerm {
    fn of_client(config: &config::Config, client: &config::Client) -> Self {
        Self { stanza: make_stanza(config, client, Role::Client), public: client.keys() }
    }
}

/// Sealed copies that clients are read from.
#[derive(Debug)]
pub(super) struct TermsSource {
    /// Where the configuration stands, for findings.
    pub(super) path: PathBuf,
    /// The configuration's text.
    pub(super) config: File,
    /// The administrator's clients, if there are any.
    pub(super) clients: Option<File>,
    /// Those that came by invitation, and rotated keys.
    pub(super) enrolled: Option<File>,
}

/// Stanzas of all clients of a configuration. They may be a hundred thousand: a thread reads them,
/// while the listener does the same.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientTerms(Arc<Terms>);

#[derive(Debug, Default)]
struct Terms {
    state: Mutex<Reading>,
    read: OnceLock<ByName>,
}

#[derive(Debug, Default)]
enum Reading {
    Waiting(TermsSource),
    Runs(JoinHandle<ByName>),
    #[default]
    Over,
}

impl ClientTerms {
    /// Terms that are read when [`ClientTerms::begin_reading`] says so, or somebody asks.
    pub(super) fn of_files(source: TermsSource) -> Self {
        let state = Mutex::new(Reading::Waiting(source));
        Self(Arc::new(Terms { state, read: OnceLock::new() }))
    }

    /// Begins to read. Without a thread they are read when somebody asks.
    pub(super) fn begin_reading(&self) -> io::Result<()> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = match std::mem::take(&mut *state) {
            Reading::Waiting(source) => {
                let reader = thread::Builder::new().name("spa-clients".to_owned());
                Reading::Runs(reader.spawn(move || read_terms(&source))?)
            }
            // Files are sent again, as by a rollback.
            other => other,
        };
        Ok(())
    }

    /// A client. Waits for the end of the reading, which the listener's own has
    /// outlasted: before that it has nobody to ask for.
    pub(super) fn find_client(&self, name: &str) -> Option<&ClientTerm> {
        self.0.read.get_or_init(|| self.finish_reading()).get(name)
    }

    fn finish_reading(&self) -> ByName {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *state) {
            Reading::Waiting(source) => read_terms(&source),
            // Without terms nobody is let in.
            Reading::Runs(thread) => thread.join().unwrap_or_default(),
            Reading::Over => ByName::new(),
        }
    }

    /// Terms of a configuration whose clients are at hand.
    #[cfg(test)]
    pub(super) fn of_clients(config: &config::Config, clients: &[config::Client]) -> Self {
        let terms = clients
            .iter()
            .map(|client| (Arc::clone(&client.name), ClientTerm::of_client(config, client)));
        let this = Self::default();
        let _first = this.0.read.set(terms.collect());
        this
    }
}

fn read_terms(source: &TermsSource) -> ByName {
    let read_copy = |path: &Path| {
        let copy = if is_enrolled_file(path) { &source.enrolled } else { &source.clients };
        copy.as_ref().map_or_else(|| Err(io::ErrorKind::NotFound.into()), read_whole)
    };
    // The listener checks the keys, and tells all that is wrong with these files.
    let around =
        Surroundings { read_secret: &read_copy, check_key: &|_| Ok(()), ..surroundings(false) };
    let loaded = read_whole(&source.config).and_then(|text| {
        let loaded = config::load_text(&source.path, &text, &around);
        loaded.map_err(|findings| io::Error::other(findings.to_string()))
    });
    match loaded {
        Ok(Loaded { config, clients, .. }) => clients
            .iter()
            .map(|client| (Arc::clone(&client.name), ClientTerm::of_client(&config, client)))
            .collect(),
        Err(error) => {
            log::event(Level::Debug, "clients-unknown").with("error", error).emit();
            ByName::new()
        }
    }
}

/// The content, whatever place in it the listener has reached: the copies share one.
fn read_whole(file: &File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
