//! Notices when somebody else changes our table.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::abi::{self, msg};
use super::model::TABLE_NAME;
use crate::firewall::netlink::{NetlinkMessage, NetlinkSocket};

/// `NFNLGRP_NFTABLES` (linux/netfilter/nfnetlink.h)
const CHANGES_GROUP: u32 = 7;
/// High byte of a message type: the subsystem.
const SUBSYSTEM_MASK: u16 = 0xff00;
/// Datagrams read before others get their turn.
const MAX_DATAGRAMS: usize = 1024;

/// A socket that hears every change of the ruleset, made by [`super::Nftables::watcher`].
#[derive(Debug)]
pub struct Watcher {
    netlink: NetlinkSocket,
    own: u32,
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}

impl Watcher {
    /// Watcher of changes by others than the socket with this netlink port.
    pub(super) fn new(own: u32) -> io::Result<Self> {
        let netlink = NetlinkSocket::open()?;
        netlink.join(CHANGES_GROUP)?;
        Ok(Self { netlink, own })
    }

    /// Reads the waiting notices; true when anything in table `inet spa` was changed by another
    /// than the [`super::Nftables`] that made this watcher, or when notices were lost, which is how
    /// a flood of foreign changes would try to hide one. Never blocks. Bans by bait rules and
    /// ends of grants make no notice.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn drain(&mut self) -> io::Result<bool> {
        let mut changed = false;
        let own = self.own;
        loop {
            match self
                .netlink
                .drain(MAX_DATAGRAMS, &mut |m| changed |= m.port != own && is_about_our_table(&m))
            {
                Ok(MAX_DATAGRAMS) => (),
                Ok(_) => return Ok(changed),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
                Err(e) => return Err(e),
            }
        }
    }
}

/// True if the notice is about our table: every nf_tables object but the generation begins with
/// the name of its table.
fn is_about_our_table(message: &NetlinkMessage<'_>) -> bool {
    message.kind & SUBSYSTEM_MASK == abi::NFNL_SUBSYS_NFTABLES << 8
        && message.kind != msg::NEW_GENERATION
        && message.family() == abi::NFPROTO_INET
        && message.attrs().text(abi::TABLE_ATTRIBUTE) == Some(TABLE_NAME)
}
