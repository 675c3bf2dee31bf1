//! `spa-server check`.

use std::path::PathBuf;

use clap::Args;
use spa_keys::exit;

use super::{Config, output};
use crate::config::{self, SecretFile};
use crate::daemon::{server_key, surroundings};
use spa_keys::Failure;

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Configuration file, in place of --config
    file: Option<PathBuf>,
    #[command(flatten)]
    config: Config,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let path = self.file.unwrap_or(self.config.config);
        let around = surroundings(true);
        let loaded = match config::load(&path, &around) {
            Ok(loaded) => loaded,
            Err(findings) => {
                output::answer(&findings.to_string())?;
                let errors =
                    findings.iter().filter(|finding| finding.severity == config::Severity::Error).count();
                let s = if errors == 1 { "" } else { "s" };
                return Err(Failure::config(format!("{errors} error{s}; the server would not start")));
            }
        };
        let mut text = loaded.findings.to_string();
        let config = &loaded.config;
        // A credential is at hand only inside the unit; a key file can be looked at here.
        if matches!(config.server.key, SecretFile::File(_))
            && let Err(failure) = server_key(&config.server.key, &around)
        {
            output::answer(&text)?;
            return Err(Failure { code: exit::CONFIG, ..failure });
        }
        text.push_str(&format!(
            "{}: good: {} services, {} bait groups, {} clients\n",
            path.display(),
            config.services.len(),
            config.baits.len(),
            loaded.clients.len()
        ));
        output::answer(&text)
    }
}
