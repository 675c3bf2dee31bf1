//! Resolution of host names.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use spa_keys::{Failure, exit, printable};

use super::Family;

/// Most addresses knocked at; a name with more has the rest left out.
const MAX_ADDRESSES: usize = 8;

/// Names of a host, and what became of them.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedNames {
    /// The names, or literal addresses.
    pub(crate) names: Vec<String>,
    /// Family that is wanted.
    pub(crate) family: Family,
    /// Addresses, with port 0.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Time that it took.
    pub(crate) took: Duration,
}

impl ResolvedNames {
    /// Resolves names for the first time; see [`resolve_names`].
    pub(crate) fn resolve(
        names: &[String],
        family: Family,
        verbose: bool,
        limit: Duration,
    ) -> Result<Self, Failure> {
        let begun = Instant::now();
        let addresses = resolve_names(names, family, verbose, limit)?;
        Ok(Self { names: names.to_vec(), family, addresses, took: begun.elapsed() })
    }

    /// Returns true if only a name server knows the addresses.
    pub(crate) fn can_change(&self) -> bool {
        self.names.iter().any(|name| name.parse::<IpAddr>().is_err())
    }
}

/// Resolves all names to addresses, each once, with port 0, within this time. Literal addresses
/// cost no resolver.
pub(crate) fn resolve_names(
    names: &[String],
    family: Family,
    verbose: bool,
    limit: Duration,
) -> Result<Vec<SocketAddr>, Failure> {
    let deadline = Instant::now() + limit;
    let mut found: Vec<SocketAddr> = Vec::new();
    let mut last_error = None;
    let mut filtered = false;
    for name in names {
        let addresses = look_up_name(name, deadline.saturating_duration_since(Instant::now()))
            .unwrap_or_else(|error| {
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

/// Returns true if a name has an address at all, within this time.
pub(crate) fn has_address(name: &str, limit: Duration) -> bool {
    look_up_name(name, limit).is_ok_and(|addresses| !addresses.is_empty())
}

/// Looks a name up; a literal address without a resolver.
pub(super) fn look_up_name(name: &str, limit: Duration) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, 0)]);
    }
    // The C library asks for as long as it likes: its thread is left to it.
    let (found, answer) = mpsc::channel();
    let asked = name.to_owned();
    thread::Builder::new().spawn(move || {
        let addresses = (asked.as_str(), 0).to_socket_addrs().map(Iterator::collect);
        let _nobody_waits = found.send(addresses);
    })?;
    answer.recv_timeout(limit).unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "the name server does not answer in time"))
    })
}
