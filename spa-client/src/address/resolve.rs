//! Resolution of host names.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use spa_keys::{Failure, exit, printable};

use super::Family;

/// Most addresses knocked at; a name with more has the rest left out.
const MAX_ADDRESSES: usize = 8;

/// Resolves all names to addresses, each once, with port 0. Literal addresses cost no resolver.
pub(crate) fn resolve_names(
    names: &[String],
    family: Family,
    verbose: bool,
) -> Result<Vec<SocketAddr>, Failure> {
    let mut found: Vec<SocketAddr> = Vec::new();
    let mut last_error = None;
    let mut filtered = false;
    for name in names {
        let addresses = look_up_name(name).unwrap_or_else(|error| {
            if verbose {
                spa_keys::note!("spa-client: {} does not resolve: {error}", printable(name));
            }
            last_error = Some((name, error));
            Vec::new()
        });
        for address in addresses {
            let wanted = family.contains_address(address.ip());
            filtered |= !wanted;
            if wanted && !found.iter().any(|known| known.ip() == address.ip()) {
                found.push(address);
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
        (true, Some((name, error))) => {
            let name = printable(name);
            let message = format!("{name} does not resolve ({error})");
            Err(Failure::new(exit::NOTHING_SENT, message)
                .remedy_after("test it", format!("getent ahosts {name}")))
        }
        (true, None) => Err(Failure::new(
            exit::NOTHING_SENT,
            "no address is known for the host; add one with: spa-client host set HOST addresses \
             ADDR",
        )),
    }
}

/// Returns true if a name has an address at all.
pub(crate) fn has_address(name: &str) -> bool {
    look_up_name(name).is_ok_and(|addresses| !addresses.is_empty())
}

/// Looks a name up; a literal address without a resolver.
fn look_up_name(name: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, 0)]);
    }
    (name, 0).to_socket_addrs().map(Iterator::collect)
}
