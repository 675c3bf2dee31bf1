//! From the host's names to addresses.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use spa_keys::{exit, printable};

use crate::host::settings::Family;
use spa_keys::Failure;

/// Most addresses knocked at; a name with more has the rest left out.
const MAX_ADDRESSES: usize = 8;

/// The addresses of all names, each once, with port 0. Literal addresses cost no resolver.
pub(crate) fn addresses(
    names: &[String],
    family: Family,
    verbose: bool,
) -> Result<Vec<SocketAddr>, Failure> {
    let mut found: Vec<SocketAddr> = Vec::new();
    let mut last_error = None;
    let mut filtered = false;
    for name in names {
        match lookup(name) {
            Ok(addresses) => {
                for address in addresses {
                    let wanted = match family {
                        Family::Auto => true,
                        Family::V4 => address.is_ipv4(),
                        Family::V6 => address.is_ipv6(),
                    };
                    filtered |= !wanted;
                    if wanted && !found.iter().any(|known| known.ip() == address.ip()) {
                        found.push(address);
                    }
                }
            }
            Err(error) => {
                if verbose {
                    spa_keys::note!("spa-client: {} does not resolve: {error}", printable(name));
                }
                last_error = Some((name, error));
            }
        }
    }
    found.truncate(MAX_ADDRESSES);
    match (found.is_empty(), last_error) {
        (false, _) => Ok(found),
        (true, _) if filtered => {
            let (version, option) = if family == Family::V4 { (4, 6) } else { (6, 4) };
            let message = format!(
                "the host has no IPv{version} address; try -{option}, or without the restriction"
            );
            Err(Failure::new(exit::NOTHING_SENT, message))
        }
        (true, Some((name, error))) => Err(Failure::new(
            exit::NOTHING_SENT,
            format!(
                "{name} does not resolve ({error}); test it: getent ahosts {name}",
                name = printable(name)
            ),
        )),
        (true, None) => Err(Failure::new(
            exit::NOTHING_SENT,
            "no address is known for the host; add one with: spa-client hosts set HOST addresses \
             ADDR",
        )),
    }
}

/// Whether a name has an address at all.
pub(crate) fn resolves(name: &str) -> bool {
    lookup(name).is_ok_and(|addresses| !addresses.is_empty())
}

fn lookup(name: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, 0)]);
    }
    (name, 0).to_socket_addrs().map(Iterator::collect)
}
