//! `spa-server firewall print|render|backends|conformance|install|remove`.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use clap::Subcommand;

use super::backends::BackendsArgs;
use super::conformance::ConformanceArgs;
use super::render::RenderCommand;
use super::{ConfigArg, output};
use crate::config::activated::Opened;
use crate::config::surroundings;
use crate::config::{self, DEFAULT_CONTROL, Loaded};
use crate::firewall::nftables::{self, Nftables};
use crate::firewall::{Firewall as _, Mode, Rules};
use crate::listener::Setup;
use spa_keys::{Failure, UnixMillis};

/// Print, install or remove the firewall's rules
#[derive(Debug, Subcommand)]
pub(super) enum FirewallCommand {
    /// Print the table for `nft -f`
    #[command(after_help = "Example:\n  spa-server firewall print")]
    Print(ConfigArg),
    /// Print the rules for another firewall in front of this host
    #[command(subcommand)]
    Render(RenderCommand),
    Backends(BackendsArgs),
    Conformance(ConformanceArgs),
    /// Install the table without the server
    #[command(
        after_help = "Hides everything protected; nothing can be opened until the server runs. \
            Prints what is\nhidden, what stays open, and how to undo it.\n\n\
            Example:\n  spa-server firewall install"
    )]
    Install(ConfigArg),
    /// Remove the table
    #[command(after_help = "The emergency exit: removes nothing else.\n\n\
            Example:\n  spa-server firewall remove")]
    Remove(ConfigArg),
}

impl FirewallCommand {
    /// Prints, installs or removes the table in the network namespace of this process.
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Print(config) => output::answer(&nftables::print(&load_rules(&config)?)),
            Self::Render(command) => command.run(),
            Self::Backends(backends) => backends.run(),
            Self::Conformance(conformance) => conformance.run(),
            Self::Install(config) => {
                let rules = load_rules(&config)?;
                let mut firewall = Nftables::new()?;
                firewall.install(&rules)?;
                for obstacle in firewall.obstacles()? {
                    spa_keys::note!("warning: {}: {}", obstacle.chain, obstacle.text);
                }
                let live = firewall.grants()?.len();
                // Read a second time for its clients' names, which the rules do not know.
                let loaded = config::load(&config.config, &surroundings(false))
                    .map_err(|findings| Failure::config(findings.to_string()))?;
                spa_keys::note!(
                    "table inet spa is installed.\n{}{}",
                    what_it_does(&loaded, live),
                    EMERGENCY_EXIT.trim_end()
                );
                Ok(())
            }
            Self::Remove(config) => {
                refuse_beside_a_server(&config)?;
                Nftables::new()?.remove()?;
                spa_keys::note!(
                    "table inet spa is removed: nothing of ours is left in the firewall"
                );
                Ok(())
            }
        }
    }
}

/// Printed where somebody may soon need it.
const EMERGENCY_EXIT: &str = "emergency exit: systemctl stop spa-server; spa-server firewall remove
without the program: nft delete table inet spa
";

/// Describes what is hidden from now on, and from whom it is not; `live` grants are running.
fn what_it_does(loaded: &Loaded, live: usize) -> String {
    /// Clients named.
    const MAX_LISTED: usize = 10;
    let Loaded { config, clients, .. } = loaded;
    let services =
        config.services.iter().filter(|service| !service.ports.is_empty()).map(|service| {
            let ports: Vec<String> = service.ports.iter().map(ToString::to_string).collect();
            format!("{} ({})", ports.join(", "), service.name)
        });
    let services: Vec<String> = services.collect();
    let hidden = match config.firewall.mode {
        Mode::Standalone => "everything on this host".to_owned(),
        Mode::Guard if services.is_empty() => "nothing: no service names a port".to_owned(),
        Mode::Guard => services.join(", "),
    };
    let mut open = vec!["connections that are established".to_owned(), "loopback".to_owned()];
    if !config.firewall.interfaces.is_empty() {
        open.push(format!(
            "anyone who comes in by another interface than {}",
            config.firewall.interfaces.join(", ")
        ));
    }
    if live > 0 {
        open.push(format!("{live} live grants"));
    }
    let names: Vec<&str> =
        clients.iter().take(MAX_LISTED).map(|client| client.name.as_ref()).collect();
    let knocks = match clients.len().saturating_sub(MAX_LISTED) {
        _ if clients.is_empty() => "nobody: no client is enrolled".to_owned(),
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    };
    format!(
        "hidden: {hidden}\nstays open for: {}\nby a knock, while the server runs: {knocks}\n",
        open.join(", ")
    )
}

/// A running server would put the table back within a second. The emergency exit works without a
/// configuration: then the usual socket is asked.
fn refuse_beside_a_server(config: &ConfigArg) -> Result<(), Failure> {
    let config = config::load_alone(&config.config, &surroundings(true));
    let socket =
        config.map_or_else(|_| PathBuf::from(DEFAULT_CONTROL), |config| config.server.control);
    match UnixStream::connect(&socket) {
        Err(_) => Ok(()),
        Ok(_) => Err(Failure::failed(format!(
            "a server is running ({}) and would put the table back at once; stop it first: \
             systemctl stop spa-server",
            socket.display()
        ))),
    }
}

fn load_rules(config: &ConfigArg) -> Result<Rules, Failure> {
    let setup = Setup::load(&config.config)?;
    let unix_ms = UnixMillis::now().as_millis();
    let settings = &setup.settings;
    let ports =
        settings.sequence.live_ports(unix_ms, settings.past_reach(), settings.window_future);
    let mut rules = Opened::read(&setup.config).rules(&setup.config, &ports);
    // To print them takes no rights; then nobody knows how this host treats its closed ports.
    let closed = Nftables::new().and_then(|mut nft| nft.look_of_closed_ports(&rules));
    rules.hide = setup.config.hide_beside(closed.unwrap_or_default());
    Ok(rules)
}
