//! `spa-server rotate-key`: another key for the server, without locking anybody out. The new key is
//! on the disk before the configuration names it, and the configuration changes in one step:
//! interrupted anywhere, it loads, and its key is there.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use spa_keys::file::FileError;
use spa_keys::{Fingerprint, UnixMillis, exit, key_file, note, printable};
use spa_proto::ServerSecret;

use super::enrolment::edit_failure;
use super::rights::parse_future;
use super::table::count;
use super::{ConfigArg, DEFAULT_CONFIG, output};
use crate::config::{self, SecretFile};
use crate::config::{numbered_key, server_key, surroundings};
use crate::control::Command;
use crate::control::client::Connection;
use crate::control::rows::{ClientList, ClientRow};
use crate::control::status::ServerStatus;
use spa_keys::Failure;

/// Clients that are named when the old key cannot go yet.
const MAX_LISTED: usize = 10;

/// Replace the server key without locking anybody out
#[derive(Debug, Args)]
#[command(after_help = "Both keys are valid until --finish.\n\nExample:\n  spa-server rotate-key")]
pub(super) struct RotateKeyArgs {
    /// Take the old key out, when every client has come by the new one
    #[arg(long)]
    finish: bool,
    /// Take it out all the same: clients that have not followed are locked out until they get a
    /// new line
    #[arg(long, requires = "finish")]
    force: bool,
    /// From then on the old key is as if it were not there, also without --finish: 2027-01-31
    #[arg(long, value_name = "MOMENT", conflicts_with = "finish", value_parser = parse_future)]
    until: Option<String>,
    /// File of the new key [default: a fresh name beside the old one]
    #[arg(long, value_name = "FILE", conflicts_with = "finish")]
    key: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

impl RotateKeyArgs {
    /// Begins the change of the server key, or ends it.
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.finish { self.finish_rotation() } else { self.begin_rotation() }
    }

    fn load_config(&self) -> Result<config::Config, Failure> {
        config::load_alone(&self.config.config, &surroundings(true))
            .map_err(|findings| Failure::config(findings.to_string()))
    }

    fn begin_rotation(self) -> Result<(), Failure> {
        let config = self.load_config()?;
        let server = &config.server;
        let SecretFile::File(old) = &server.key else {
            return Err(Failure::config(
                "[server] key is a credential, which can only be read: make the new key where its \
                source is kept (spa keygen --server -o FILE), hand both to the unit with \
                LoadCredential=, and write key = \"credential:NEW\" and previous-key = \
                \"credential:OLD\"",
            ));
        };
        if let Some(previous) = server
            .previous
            .as_ref()
            .filter(|previous| !previous.is_over(UnixMillis::now().as_millis()))
        {
            return Err(Failure::failed(format!(
                "the key is being replaced already, and {} is still valid: first spa-server \
                rotate-key --finish{}",
                describe_file(&previous.file),
                self.of_config()
            )));
        }
        // The old one must be good: it is what everybody comes by.
        server_key(&server.key, &surroundings(false))?;
        let secret =
            ServerSecret::generate().map_err(|error| Failure::failed(error.to_string()))?;
        let new = self.write_key(old, &secret)?;
        let text = |path: &Path| path.to_str().map(str::to_owned).ok_or_else(not_utf8);
        let (old_text, new_text) = (text(old)?, text(&new)?);
        let changes = [
            ("key", Some(new_text.as_str())),
            ("previous-key", Some(old_text.as_str())),
            ("previous-key-until", self.until.as_deref()),
        ];
        config::set_server(&self.config.config, &changes, &surroundings(true)).map_err(
            |error| {
                // Nothing names it.
                let _left = std::fs::remove_file(&new);
                edit_failure(&error)
            },
        )?;
        let fingerprint = Fingerprint::from(&secret.public()).to_string();
        let of_config = self.of_config();
        note!(
            "new key: {} ({fingerprint}); {} stays valid beside it",
            new.display(),
            old.display()
        );
        note!("next: spa-server reload{of_config}");
        if server.ack {
            note!(
                "then clients follow automatically, each at its next knock; to see which have: \
                spa-server clients"
            );
        } else {
            note!(
                "ack = \"off\": clients cannot be told; give each a new line: spa-server client \
                 line NAME; there: spa host add - --replace"
            );
        }
        note!("when all have followed: spa-server rotate-key --finish{of_config}");
        if self.json {
            let answer = json!({
                "version": 1, "key": new_text, "previous-key": old_text, "fingerprint": fingerprint,
                "previous-key-until": self.until, "finished": false,
            });
            return output::answer(&format!("{answer}\n"));
        }
        output::answer(&format!("{new_text}\n"))
    }

    /// The new key under a name that was never used here, so that no old key comes back.
    fn write_key(&self, old: &Path, secret: &ServerSecret) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.key {
            let path = std::path::absolute(path)?;
            key_file::write(&path, secret, jiff::Timestamp::now())?;
            return Ok(path);
        }
        for n in 2..u32::MAX {
            let path = numbered_key(old, n);
            match key_file::write(&path, secret, jiff::Timestamp::now()) {
                Ok(()) => return Ok(path),
                Err(FileError::Exists(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure::failed("there is no free name for the new key: name one with --key FILE"))
    }

    fn finish_rotation(self) -> Result<(), Failure> {
        let config = self.load_config()?;
        let Some(previous) = &config.server.previous else {
            return Err(Failure::failed(
                "there is no previous-key in [server]: there is nothing to finish",
            ));
        };
        if !self.force && !previous.is_over(UnixMillis::now().as_millis()) {
            self.all_have_followed(&config)?;
        }
        let changes = [("previous-key", None), ("previous-key-until", None)];
        config::set_server(&self.config.config, &changes, &surroundings(true))
            .map_err(|error| edit_failure(&error))?;
        let old = describe_file(&previous.file);
        note!(
            "{old} is no longer a key of this server; next: spa-server reload{}",
            self.of_config()
        );
        note!(
            "invitations that were printed before the change end with it: spa-server invitations"
        );
        note!("when no backup needs it, remove the file: {old}");
        if self.json {
            let answer = json!({ "version": 1, "previous-key": old, "finished": true });
            return output::answer(&format!("{answer}\n"));
        }
        Ok(())
    }

    /// Checks that every client came by the new key last, as the running server knows.
    fn all_have_followed(&self, config: &config::Config) -> Result<(), Failure> {
        let force = format!(
            "; to lock them out all the same: rotate-key --finish --force{}",
            self.of_config()
        );
        let Some(mut line) = Connection::connect(&config.server.control)? else {
            return Err(Failure::new(
                exit::UNREACHABLE,
                format!("no server is running that could tell who has followed{force}"),
            ));
        };
        let fingerprint = match &config.server.key {
            SecretFile::File(_) => {
                let secret = server_key(&config.server.key, &surroundings(false))?;
                Some(Fingerprint::from(&secret.public()).to_string())
            }
            SecretFile::Credential(_) => None,
        };
        let (mut late, mut after) = (Vec::new(), None);
        loop {
            let page: ClientList = line.request(Command::Clients { limit: None, after })?;
            let read = page.key_change.is_some_and(|change| {
                fingerprint.as_ref().is_none_or(|wanted| change.fingerprint == *wanted)
            });
            if !read {
                return Err(Failure::failed(
                    "the running server has not read these keys yet: first spa-server reload",
                ));
            }
            let followed = |client: &ClientRow| client.server_key.as_deref() == Some("new");
            let clients = page.clients.into_iter().filter(|client| !followed(client));
            late.extend(clients.map(|client| client.name));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if late.is_empty() {
            return Ok(());
        }
        let named: Vec<String> =
            late.iter().take(MAX_LISTED).map(|name| printable(name).to_string()).collect();
        let more = if late.len() > MAX_LISTED {
            format!(" and {} more", late.len() - MAX_LISTED)
        } else {
            String::new()
        };
        Err(Failure::failed(format!(
            "{} would be locked out without having used the new key: {}{more}; see spa-server \
             clients. Each follows at its next knock, or with a new line: spa-server client line \
             NAME{force}",
            count(late.len() as u64, "client"),
            named.join(", "),
        )))
    }

    fn of_config(&self) -> String {
        let path = &self.config.config;
        if path == Path::new(DEFAULT_CONFIG) {
            String::new()
        } else {
            format!(" --config {}", path.display())
        }
    }
}

/// `status`'s word on it.
pub(super) fn status(status: &ServerStatus) -> String {
    let Some(change) = &status.key_change else { return String::new() };
    format!(
        "server key: being replaced; last knocks: {} with the new key, {} with the old key, {} \
         with neither; spa-server clients\n",
        count(change.new, "client"),
        change.previous,
        change.not_seen,
    )
}

fn describe_file(file: &SecretFile) -> String {
    match file {
        SecretFile::File(path) => path.display().to_string(),
        SecretFile::Credential(name) => format!("credential:{name}"),
    }
}

fn not_utf8() -> Failure {
    Failure::new(exit::USAGE, "the path of the key must be UTF-8")
}
