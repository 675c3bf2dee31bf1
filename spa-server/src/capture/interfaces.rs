//! Which interfaces a capture listens to, while they come, go and are renamed.

use std::io;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::net::if_::if_nametoindex;

/// Names from the configuration and the interface indices that bear them now.
pub(super) struct Interfaces {
    /// `None`: all interfaces.
    named: Option<Named>,
}

struct Named {
    names: Vec<String>,
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
        let mut named = Named { names, indices: Vec::new(), changes };
        // Looked up only after listening, so that no change falls between.
        named.look_up();
        Ok(Self { named: Some(named) })
    }

    /// Takes notice of changes. The kernel tells of a new link before a packet can come in by it, so a call
    /// before each batch of packets is enough.
    pub(super) fn update(&mut self) {
        let Some(named) = &mut self.named else { return };
        let mut changed = false;
        let mut buffer = Vec::with_capacity(16 * 1024);
        loop {
            buffer.clear();
            match named.changes.recv(&mut buffer, 0) {
                Ok(_) => changed = true,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                // Mostly ENOBUFS: changes were lost, so look again.
                Err(_) => {
                    changed = true;
                    break;
                }
            }
        }
        if changed {
            named.look_up();
        }
    }

    /// Whether packets of this interface count.
    pub(super) fn admit(&self, index: u32) -> bool {
        self.named.as_ref().is_none_or(|named| named.indices.contains(&index))
    }
}

impl Named {
    fn look_up(&mut self) {
        self.indices.clear();
        self.indices.extend(self.names.iter().filter_map(|name| if_nametoindex(name.as_str()).ok()));
    }
}
