//! Addresses of this host, and who can be at the other end of its packets.
//!
//! A capture sees packets before the kernel has asked whether they are for this host, and a packet
//! socket's word `PACKET_HOST` speaks of the card's address only. So the kernel's table of local
//! routes is asked: it knows the addresses of every interface, `lo` and VRFs among them, and
//! prefixes that are local as a whole (`ip route add local`), as load balancers use them.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use socket2::{SockFilter, SockRef};
use spa_proto::HostAddr;

use super::filter::{JUMP_IF_EQUAL, LD_BYTE, LD_HALF, RETURN_LENGTH};
use super::netlink::{
    MESSAGE_HEADER, RECEIVE_BUFFER_BYTES, make_message, split_attributes, split_messages,
};
use crate::domain::datagram::Datagram;

/// Groups of notices (linux/rtnetlink.h): links, addresses and routes, IPv4 and IPv6.
const NOTICE_GROUPS: u32 = 0x1 | 0x10 | 0x100 | 0x40 | 0x400;
/// Bytes of `struct rtmsg` (linux/rtnetlink.h), each a `u8`: family | destination length | source
/// length | tos | table | protocol | scope | type, then flags u32.
const ROUTE_HEADER_BYTES: usize = 12;
/// Offsets in a route's message.
const KIND_OFFSET: u32 = 4;
const TABLE_OFFSET: u32 = MESSAGE_HEADER as u32 + 4;
const PROTOCOL_OFFSET: u32 = MESSAGE_HEADER as u32 + 5;
/// The table that holds what is local, but for VRFs.
const LOCAL_TABLE: u8 = libc::RT_TABLE_LOCAL;
/// Protocol of the routes that the kernel makes itself, for each address and in each VRF's table.
const MADE_BY_KERNEL: u8 = libc::RTPROT_KERNEL;

/// Local addresses, kept by the kernel's notices. Needs no rights.
pub struct HostAddresses {
    /// Notices: that there is one is all that counts.
    changes: Socket,
    questions: Socket,
    buffer: Vec<u8>,
    routes: LocalRoutes,
    /// A change was not followed yet.
    stale: bool,
}

/// Ascending and disjoint.
#[derive(Default)]
struct LocalRoutes {
    own: Vec<IpNet>,
    broadcast: Vec<IpNet>,
}

impl HostAddresses {
    /// Begins to listen, then asks.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn watch() -> io::Result<Self> {
        let mut changes = Socket::new(NETLINK_ROUTE)?;
        changes.set_non_blocking(true)?;
        leave_out_routes_elsewhere(&changes)?;
        changes.bind(&SocketAddr::new(0, NOTICE_GROUPS))?;
        let questions = Socket::new(NETLINK_ROUTE)?;
        questions.set_non_blocking(true)?;
        // So the kernel itself leaves out what was not asked for: a router may have a million
        // routes. Before Linux 4.20 it sends them all.
        let _all = questions.set_netlink_get_strict_chk(true);
        let buffer = Vec::with_capacity(RECEIVE_BUFFER_BYTES);
        let mut addresses =
            Self { changes, questions, buffer, routes: LocalRoutes::default(), stale: true };
        addresses.routes = addresses.ask_all()?;
        addresses.stale = false;
        Ok(addresses)
    }

    /// Knows no address and hears of none: tests ask for any.
    ///
    /// # Errors
    /// What the kernel says.
    #[cfg(test)]
    pub(crate) fn knowing_none() -> io::Result<Self> {
        let open = || {
            let socket = Socket::new(NETLINK_ROUTE)?;
            socket.set_non_blocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        let (changes, questions) = (open()?, open()?);
        let (buffer, routes) = (Vec::new(), LocalRoutes::default());
        Ok(Self { changes, questions, buffer, routes, stale: false })
    }

    /// Takes notice of changes. The kernel tells of a new address before a packet for it can come
    /// in, so a call before each batch of packets is enough.
    pub fn follow_changes(&mut self) {
        loop {
            self.buffer.clear();
            match self.changes.recv(&mut self.buffer, 0) {
                Ok(_) => self.stale = true,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.stale = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        // What is known stays until there is an answer.
        if self.stale
            && let Ok(routes) = self.ask_all()
        {
            (self.routes, self.stale) = (routes, false);
        }
    }

    /// Tells whether a knock may have these ends: it is for a unicast address of this host, and
    /// from another machine.
    #[must_use]
    pub fn admit_ends(&self, datagram: &Datagram<'_>) -> bool {
        let own = datagram.destination.ip();
        // All of 127.0.0.0/8 is local, and nobody else can send to it.
        contains(&self.routes.own, own)
            && HostAddr::new_remote(own).is_some()
            && self.may_be_remote(datagram.source.ip())
    }

    /// Tells whether an address may be another machine's: it is possible, and neither this host's
    /// own nor the broadcast of one of its networks.
    #[must_use]
    pub fn may_be_remote(&self, address: IpAddr) -> bool {
        HostAddr::new_remote(address).is_some()
            && !contains(&self.routes.own, address)
            && !contains(&self.routes.broadcast, address)
    }

    fn ask_all(&mut self) -> io::Result<LocalRoutes> {
        let mut ask = |kind| {
            let mut found = Vec::new();
            for family in [libc::AF_INET, libc::AF_INET6] {
                self.ask_routes(family as u8, kind, &mut found)?;
            }
            Ok::<_, io::Error>(IpNet::aggregate(&found))
        };
        Ok(LocalRoutes { own: ask(libc::RTN_LOCAL)?, broadcast: ask(libc::RTN_BROADCAST)? })
    }

    /// Asks for the routes of a family and type; the kernel's answer waits when `send` returns.
    fn ask_routes(&mut self, family: u8, kind: u8, found: &mut Vec<IpNet>) -> io::Result<()> {
        let request = [family, 0, 0, 0, 0, 0, 0, kind, 0, 0, 0, 0];
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
        let message = make_message(libc::RTM_GETROUTE, flags, &request);
        self.questions.send_to(&message, &SocketAddr::new(0, 0), 0)?;
        loop {
            self.buffer.clear();
            self.questions.recv(&mut self.buffer, 0)?;
            for (message, body) in split_messages(&self.buffer) {
                match libc::c_int::from(message) {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => return Err(io::ErrorKind::InvalidData.into()),
                    _ => found.extend(parse_route(body, kind)),
                }
            }
        }
    }
}

/// The prefix of a route of this type that is local, or is in a VRF.
fn parse_route(body: &[u8], wanted: u8) -> Option<IpNet> {
    let ([family, length, _, _, table, protocol, _, kind, ..], attributes) =
        body.split_first_chunk::<ROUTE_HEADER_BYTES>()?;
    // A transparent proxy's routes, in tables of their own, make all the world local.
    if *kind != wanted || (*table != LOCAL_TABLE && *protocol != MADE_BY_KERNEL) {
        return None;
    }
    let (_, prefix) = split_attributes(attributes).find(|(kind, _)| *kind == libc::RTA_DST)?;
    let address: IpAddr = match libc::c_int::from(*family) {
        libc::AF_INET => <[u8; 4]>::try_from(prefix).ok()?.into(),
        libc::AF_INET6 => <[u8; 16]>::try_from(prefix).ok()?.into(),
        _ => return None,
    };
    IpNet::new(address, *length).ok()
}

/// Of routes, lets through those that [`parse_route`] takes: those of a router change all day.
fn leave_out_routes_elsewhere(socket: &Socket) -> io::Result<()> {
    let kind = |kind: u16| u32::from(u16::from_be_bytes(kind.to_ne_bytes()));
    SockRef::from(socket).attach_filter(&[
        SockFilter::new(LD_HALF, 0, 0, KIND_OFFSET),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, kind(libc::RTM_NEWROUTE)),
        SockFilter::new(JUMP_IF_EQUAL, 0, 4, kind(libc::RTM_DELROUTE)),
        SockFilter::new(LD_BYTE, 0, 0, TABLE_OFFSET),
        SockFilter::new(JUMP_IF_EQUAL, 2, 0, LOCAL_TABLE.into()),
        SockFilter::new(LD_BYTE, 0, 0, PROTOCOL_OFFSET),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, MADE_BY_KERNEL.into()),
        SockFilter::new(RETURN_LENGTH, 0, 0, u32::MAX),
        SockFilter::new(RETURN_LENGTH, 0, 0, 0),
    ])
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let at = networks.partition_point(|network| network.broadcast() < address);
    networks.get(at).is_some_and(|network| network.contains(&address))
}
