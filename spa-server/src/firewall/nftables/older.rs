//! Connections that are older than the kernel's connection tracking.
//!
//! The kernel tracks nothing before a rule asks for it, and the first such rule may be ours. Of a
//! connection that it did not see begin, the next packet from outside counts as a first one: an
//! administrator who types into an idle session would meet the drop that hides the port. So the
//! kernel is told of the connections that this host's sockets have.

use std::collections::BTreeSet;

use super::Nftables;
use super::conntrack::{self, End, Flow};
use crate::domain::ports::Protocol;
use crate::firewall::sockets::{Doing, Socket, read_sockets};
use crate::log::{self, Level};

impl Nftables {
    /// Makes them known, before the rules that drop what is not. Those of all ports: a service may
    /// be hidden later. Only at the first install: when somebody has flushed the table, a
    /// stranger may have come in meanwhile, and is not to stay.
    ///
    /// What fails is named and holds up nothing: such a connection goes on as soon as this host
    /// sends something over it.
    pub(super) fn keep_older(&mut self) {
        let (sockets, unread) = read_sockets();
        let mut told = 0;
        let mut failed = unread.into_iter().next().map(|table| table.to_string());
        for flow in flows(&sockets) {
            match conntrack::keep(&mut self.netlink, &flow) {
                Ok(new) => told += usize::from(new),
                Err(error) => {
                    // The next ones would fail the same way: no ctnetlink, or no room in its table.
                    failed = Some(error.to_string());
                    break;
                }
            }
        }
        if told > 0 {
            log::event(Level::Debug, "connections-kept").number("count", told).emit();
        }
        if let Some(error) = failed {
            log::event(Level::Warn, "connections-not-kept")
                .with("error", error)
                .with(
                    "means",
                    "connections older than the table may hang until this host sends something \
                     over them",
                )
                .emit();
        }
    }
}

/// The connections with other hosts, as their first packets went.
fn flows(sockets: &[Socket]) -> impl Iterator<Item = Flow> {
    let tcp = || sockets.iter().filter(|socket| socket.protocol == Protocol::Tcp);
    let served: BTreeSet<u16> =
        tcp().filter(|s| s.doing == Doing::Listens).map(|s| s.local.port()).collect();
    let connected = tcp().filter(|s| s.doing == Doing::Connected && !s.remote.ip().is_loopback());
    connected.map(move |socket| {
        let [here, there] =
            [socket.local, socket.remote].map(|at| End { address: at.ip(), port: at.port() });
        let (from, to) = if served.contains(&here.port) { (there, here) } else { (here, there) };
        Flow { protocol: socket.protocol, from, to }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn who_began_is_told_by_who_listens() {
        let socket = |doing, local: &str, remote: &str| Socket {
            protocol: Protocol::Tcp,
            doing,
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            inode: 1,
        };
        let sockets = [
            socket(Doing::Listens, "0.0.0.0:22", "0.0.0.0:0"),
            socket(Doing::Connected, "192.0.2.1:22", "198.51.100.1:999"),
            socket(Doing::Connected, "[2001:db8::1]:40000", "[2001:db8::2]:443"),
            socket(Doing::Connected, "127.0.0.1:22", "127.0.0.1:5"),
        ];
        let began: Vec<(u16, u16)> =
            flows(&sockets).map(|flow| (flow.from.port, flow.to.port)).collect();
        assert_eq!(began, [(999, 22), (40000, 443)]);
    }
}
