//! `spa-server firewall print|install|remove`.

use std::time::SystemTime;

use clap::{Args, Subcommand};

use super::{Config, output};
use crate::daemon::Setup;
use crate::firewall::nftables::{self, Nftables};
use crate::firewall::{Firewall as _, Rules};
use spa_keys::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum Firewall {
    /// Print the table as text that `nft -f` takes
    Print(Config),
    /// Install the table without the daemon: everything protected is closed, nobody can open it until it runs
    Install(Config),
    /// Remove our table and nothing else: the emergency exit
    Remove(Remove),
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// Taken and not needed, so that every command may carry it
    #[arg(long, value_name = "FILE", hide = true)]
    config: Option<std::path::PathBuf>,
}

impl Firewall {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Print(config) => output::answer(&nftables::print(&rules(&config)?)),
            Self::Install(config) => {
                let rules = rules(&config)?;
                let mut firewall = Nftables::new()?;
                firewall.install(&rules)?;
                for obstacle in firewall.obstacles()? {
                    eprintln!("warning: {}: {}", obstacle.chain, obstacle.text);
                }
                eprintln!("table inet spa is installed; to undo it at any time: spa-server firewall remove");
                Ok(())
            }
            Self::Remove(_) => {
                Nftables::new()?.remove()?;
                eprintln!("table inet spa is removed: nothing of ours is in the firewall any more");
                Ok(())
            }
        }
    }
}

fn rules(config: &Config) -> Result<Rules, Failure> {
    let setup = Setup::load(&config.config)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let unix_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let settings = &setup.settings;
    let ports = settings.sequence.live_ports(unix_ms, settings.window_past, settings.window_future);
    Ok(setup.config.rules(&ports))
}
