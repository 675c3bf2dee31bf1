//! `spa-server firewall print|install|remove`.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::Subcommand;

use super::{Config, output};
use crate::config::{self, DEFAULT_CONTROL};
use crate::daemon::{Setup, surroundings};
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
    Remove(Config),
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
            Self::Remove(config) => {
                refuse_beside_a_server(&config)?;
                Nftables::new()?.remove()?;
                eprintln!("table inet spa is removed: nothing of ours is in the firewall any more");
                Ok(())
            }
        }
    }
}

/// A running server would put the table back within a second. The emergency exit works without a configuration: then the
/// usual socket is asked.
fn refuse_beside_a_server(config: &Config) -> Result<(), Failure> {
    let config = config::load_alone(&config.config, &surroundings(true));
    let socket = config.map_or_else(|_| PathBuf::from(DEFAULT_CONTROL), |config| config.server.control);
    match UnixStream::connect(&socket) {
        Err(_) => Ok(()),
        Ok(_) => Err(Failure::failed(format!(
            "a server is running ({}) and would put the table back at once; stop it first: systemctl stop spa-server",
            socket.display()
        ))),
    }
}

fn rules(config: &Config) -> Result<Rules, Failure> {
    let setup = Setup::load(&config.config)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let unix_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let settings = &setup.settings;
    let ports = settings.sequence.live_ports(unix_ms, settings.window_past, settings.window_future);
    Ok(crate::broker::opened::Opened::read(&setup.config).rules(&setup.config, &ports))
}
