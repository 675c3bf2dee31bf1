//! Which interfaces a capture listens to, while they come, go and are renamed.

use std::collections::BTreeMap;
use std::io;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::netlink::{RECEIVE_BUFFER_BYTES, make_message, split_attributes, split_messages};

/// Bytes of `struct ifinfomsg` (rtnetlink(7)): family u8 | padding u8 | type u16 | index i32 |
/// flags u32 | change u32.
const LINK_HEADER_BYTES: usize = 16;

/// Names from the configuration and the interface indices that bear them now.
pub(super) struct Interfaces {
    /// `None`: all interfaces.
    named: Option<Named>,
}

struct Named {
    names: Vec<String>,
    /// Every link's name by its index. Kept from the kernel's messages alone: the listener can
    /// make no socket to ask with.
    links: BTreeMap<u32, String>,
    indices: Vec<u32>,
    /// Told by the kernel of every change of a link (rtnetlink(7), `RTMGRP_LINK`).
    changes: Socket,
}

impl Interfaces {
    /// Follows the interfaces of these names, which need not exist yet.
    pub(super) fn new(names: Option<Vec<String>>) -> io::Result<Self> {
        let Some(names) = names else { return Ok(Self { named: None }) };
        let mut changes = Socket::new(NETLINK_ROUTE)?;
        changes.set_non_blocking(true)?;
        changes.bind(&SocketAddr::new(0, libc::RTMGRP_LINK as u32))?;
        let mut named = Named { names, links: BTreeMap::new(), indices: Vec::new(), changes };
        // Asked only after listening, so that no change falls between.
        named.ask_all()?;
        named.receive_changes();
        Ok(Self { named: Some(named) })
    }

    /// Takes notice of changes. The kernel tells of a new link before a packet can come in by it,
    /// so a call before each batch of packets is enough.
    pub(super) fn apply_changes(&mut self) {
        if let Some(named) = &mut self.named {
            named.receive_changes();
        }
    }

    /// Returns true when packets of this interface are wanted.
    pub(super) fn admits_interface(&self, index: u32) -> bool {
        self.named.as_ref().is_none_or(|named| named.indices.contains(&index))
    }
}

impl Named {
    /// Asks for every link (`RTM_GETLINK`, dumped); the kernel's answer waits when this returns.
    fn ask_all(&self) -> io::Result<()> {
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
        let request = make_message(libc::RTM_GETLINK, flags, &[0; LINK_HEADER_BYTES]);
        self.changes.send_to(&request, &SocketAddr::new(0, 0), 0).map(|_| ())
    }

    fn receive_changes(&mut self) {
        let mut buffer = Vec::with_capacity(RECEIVE_BUFFER_BYTES);
        let mut changed = false;
        loop {
            buffer.clear();
            match self.changes.recv(&mut buffer, 0) {
                Ok(_) => {
                    changed = true;
                    self.apply_messages(&buffer);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                // Mostly ENOBUFS: changes were lost, so everything is asked anew. What is known
                // stays until then.
                Err(_) => {
                    if self.ask_all().is_err() {
                        break;
                    }
                }
            }
        }
        if changed {
            let ours = |(index, name): (&u32, &String)| self.names.contains(name).then_some(*index);
            self.indices = self.links.iter().filter_map(ours).collect();
        }
    }

    /// The messages of one datagram.
    fn apply_messages(&mut self, datagram: &[u8]) {
        for (kind, body) in split_messages(datagram) {
            match (kind, parse_link(body)) {
                (libc::RTM_NEWLINK, Some((index, name))) => {
                    self.links.insert(index, name);
                }
                (libc::RTM_DELLINK, Some((index, _))) => {
                    self.links.remove(&index);
                }
                _ => {}
            }
        }
    }
}

/// Index and name (`IFLA_IFNAME`) of a link's message. One of a bridge about its port (family
/// `AF_BRIDGE`) tells nothing of the link's life.
fn parse_link(body: &[u8]) -> Option<(u32, String)> {
    let ([family, _, _, _, i0, i1, i2, i3, ..], attributes) =
        body.split_first_chunk::<LINK_HEADER_BYTES>()?;
    if *family != libc::AF_UNSPEC as u8 {
        return None;
    }
    let index = u32::from_ne_bytes([*i0, *i1, *i2, *i3]);
    let (_, value) = split_attributes(attributes).find(|(kind, _)| *kind == libc::IFLA_IFNAME)?;
    let name = value.split(|byte| *byte == 0).next()?;
    Some((index, String::from_utf8_lossy(name).into_owned()))
}
