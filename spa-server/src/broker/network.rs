//! Interfaces and addresses of this host that come, go and change, told in the log: a knock that
//! nobody heard has its reason there. Nothing else depends on it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use crate::log::{self, Level};

/// `RTMGRP_LINK`, and `RTMGRP_*_IFADDR` and `RTMGRP_*_ROUTE` of IPv4 and IPv6 (linux/rtnetlink.h).
const NETLINK_GROUPS: u32 = 0x1 | 0x10 | 0x100 | 0x40 | 0x400;
/// Least time between two looks: a link that flaps fills no disk.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Lines of one look; the rest is counted. A host of containers makes and removes many.
const MAX_LINES_PER_LOOK: usize = 16;

/// Interfaces by name.
type Known = BTreeMap<String, Interface>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Interface {
    /// The kernel's number, another one when it is made anew with its name.
    index: usize,
    /// Set up, and with a carrier.
    up: bool,
    addresses: BTreeSet<IpAddr>,
}

/// Changes between two looks.
#[derive(Debug, PartialEq, Eq)]
enum Change<'k> {
    Link { name: &'k str, state: &'static str },
    Address { name: &'k str, address: IpAddr, state: &'static str },
}

/// The kernel's word that something has changed (rtnetlink(7)), and what was there before.
pub(super) struct Network {
    socket: OwnedFd,
    known: Known,
    looked: Instant,
    due: Option<Instant>,
}

impl AsFd for Network {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Network {
    /// Begins to listen, then looks.
    pub(super) fn new() -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket =
            socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, NETLINK_GROUPS))?;
        Ok(Self { socket, known: known()?, looked: Instant::now(), due: None })
    }

    /// When the next look is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes the waiting messages. What they say is not read: the kernel is asked how things are
    /// when it is time.
    pub(super) fn drain_notices(&mut self) {
        let mut buffer = [0; 4096];
        // Messages that were lost for their number tell of a change as well.
        while let Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR) =
            recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())
        {}
        self.due.get_or_insert(self.looked + LOOK_INTERVAL);
    }

    /// Looks, when it is time, and tells what is different. True if it was time.
    pub(super) fn refresh(&mut self) -> bool {
        let now = Instant::now();
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        (self.due, self.looked) = (None, now);
        // Without an answer the next change asks again.
        let Ok(fresh) = known() else { return true };
        let changes = changes(&self.known, &fresh);
        for change in changes.iter().take(MAX_LINES_PER_LOOK) {
            match change {
                Change::Link { name, state } => {
                    let level =
                        if ["down", "gone"].contains(state) { Level::Warn } else { Level::Info };
                    log::event(level, "interface").with("name", name).with("state", state).emit();
                }
                Change::Address { name, address, state } => log::event(Level::Info, "address")
                    .with("address", address)
                    .with("interface", name)
                    .with("state", state)
                    .emit(),
            }
        }
        if let Some(more) = changes.len().checked_sub(MAX_LINES_PER_LOOK).filter(|more| *more > 0) {
            log::event(Level::Info, "interfaces").number("more-changes", more as u64).emit();
        }
        self.known = fresh;
        true
    }
}

/// All interfaces but loopback, with their addresses.
fn known() -> nix::Result<Known> {
    let mut known = Known::new();
    for one in getifaddrs()? {
        if one.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            continue;
        }
        let interface = known.entry(one.interface_name).or_default();
        interface.up = one.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
        let address = one.address.as_ref();
        if let Some(link) = address.and_then(|address| address.as_link_addr()) {
            interface.index = link.ifindex();
        }
        let v4 =
            address.and_then(|address| address.as_sockaddr_in()).map(|v4| IpAddr::from(v4.ip()));
        let v6 =
            address.and_then(|address| address.as_sockaddr_in6()).map(|v6| IpAddr::from(v6.ip()));
        interface.addresses.extend(v4.or(v6));
    }
    Ok(known)
}

/// In the order of names. Addresses of an interface that is gone are gone with it.
fn changes<'k>(before: &'k Known, now: &'k Known) -> Vec<Change<'k>> {
    let mut changes = Vec::new();
    for name in before.keys().filter(|name| !now.contains_key(*name)) {
        changes.push(Change::Link { name, state: "gone" });
    }
    let none = Interface::default();
    for (name, interface) in now {
        let old = before.get(name);
        if old.is_some_and(|old| old.index != interface.index) {
            changes.push(Change::Link { name, state: "made-anew" });
        }
        if old.map(|old| old.up) != Some(interface.up) {
            changes.push(Change::Link { name, state: if interface.up { "up" } else { "down" } });
        }
        let old = old.unwrap_or(&none);
        for address in old.addresses.difference(&interface.addresses) {
            changes.push(Change::Address { name, address: *address, state: "gone" });
        }
        for address in interface.addresses.difference(&old.addresses) {
            changes.push(Change::Address { name, address: *address, state: "new" });
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn interface(index: usize, up: bool, addresses: &[&str]) -> Interface {
        Interface {
            index,
            up,
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn only_what_is_different_is_told() {
        let name = |name: &str| name.to_owned();
        let before = Known::from([
            (name("eth0"), interface(2, true, &["192.0.2.1", "2001:db8::1"])),
            (name("ppp0"), interface(3, true, &["198.51.100.1"])),
            (name("tun0"), interface(4, true, &[])),
            (name("wg0"), interface(5, true, &["2001:db8:5::1"])),
        ]);
        assert_eq!(changes(&before, &before), []);
        let now = Known::from([
            (name("eth0"), interface(2, true, &["192.0.2.2", "2001:db8::1"])),
            (name("ppp1"), interface(6, false, &["198.51.100.1"])),
            (name("tun0"), interface(7, true, &[])),
            (name("wg0"), interface(5, false, &["2001:db8:5::1"])),
        ]);
        let address = |text: &str| text.parse().unwrap();
        let expected = [
            Change::Link { name: "ppp0", state: "gone" },
            Change::Address { name: "eth0", address: address("192.0.2.1"), state: "gone" },
            Change::Address { name: "eth0", address: address("192.0.2.2"), state: "new" },
            Change::Link { name: "ppp1", state: "down" },
            Change::Address { name: "ppp1", address: address("198.51.100.1"), state: "new" },
            Change::Link { name: "tun0", state: "made-anew" },
            Change::Link { name: "wg0", state: "down" },
        ];
        assert_eq!(changes(&before, &now), expected);
    }
}
