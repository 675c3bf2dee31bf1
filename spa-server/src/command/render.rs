//! `spa-server firewall render`: rules for another firewall.

use std::net::IpAddr;

use clap::{Args, Subcommand, ValueEnum};
use spa_keys::Failure;

use super::{ConfigArg, output};
use crate::config;
use crate::config::surroundings;
use crate::firewall::routeros::{self, Version};

/// Print the rules for another firewall in front of this host
#[derive(Debug, Subcommand)]
pub(super) enum RenderCommand {
    /// Print the script for a MikroTik router
    #[command(
        after_help = "In the script \"this host\" of the configuration is the router. Nothing is \
            opened by it:\nthe router accepts who is on the address list of a service, \
            spa-SERVICE.\n\n\
            Example:\n  spa-server firewall render routeros --server 192.168.88.10 \
            --server fd00::10\n  spa-server firewall render routeros --undo"
    )]
    Routeros(RouterosArgs),
}

/// The router, as the configuration does not know it.
#[derive(Debug, Args)]
pub(super) struct RouterosArgs {
    /// Address at which the router reaches this server, where it sends knocks; one per family
    #[arg(long, value_name = "ADDRESS", required_unless_present = "undo")]
    server: Vec<IpAddr>,
    /// The router's interface list that strangers come from
    #[arg(long, value_name = "LIST", default_value = "WAN", value_parser = parse_list_name)]
    wan: String,
    /// Version of RouterOS: 6 is 6.49
    #[arg(long, value_enum, default_value_t = RouterosVersion::Seven)]
    routeros: RouterosVersion,
    /// Print the script that removes the rules
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    config: ConfigArg,
}

/// Version of RouterOS, as it is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RouterosVersion {
    #[value(name = "6")]
    Six,
    #[value(name = "7")]
    Seven,
}

/// A name that needs no quotation marks in a script, and can end none.
fn parse_list_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("write letters, digits, `-`, `_` and `.`, as /interface list shows it".to_owned())
    }
}

impl RenderCommand {
    /// Prints the script.
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self::Routeros(router) = self;
        let version = match router.routeros {
            RouterosVersion::Six => Version::V6,
            RouterosVersion::Seven => Version::V7,
        };
        for v4 in [true, false] {
            let same: Vec<_> = router.server.iter().filter(|a| a.is_ipv4() == v4).collect();
            if let [_, second, ..] = same.as_slice() {
                return Err(Failure::usage(format!(
                    "--server {second}: knocks go to one address of each family; name this server \
                     once per family"
                )));
            }
        }
        let config = config::load_alone(&router.config.config, &surroundings(false))
            .map_err(|findings| Failure::config(findings.to_string()))?;
        let rules = config.router_rules(version, router.wan, router.server);
        output::answer(&if router.undo {
            routeros::render_undo(&rules)
        } else {
            routeros::render(&rules)
        })
    }
}
