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
/// Notices about tables, chains and rules; elements of sets change all day.
const FOREIGN_NOTICES: [u16; 6] =
    [msg::NEW_TABLE, msg::DEL_TABLE, msg::NEW_CHAIN, msg::DEL_CHAIN, msg::NEW_RULE, msg::DEL_RULE];
/// Datagrams read before others get their turn.
const MAX_DATAGRAMS: usize = 1024;

/// News about our table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// Nobody has changed it.
    Nothing,
    /// Somebody has changed it.
    Change,
    /// Notices were lost, which is how a flood of foreign changes would try to hide one: only a
    /// look at the table can tell.
    Loss,
}

/// A socket that hears every change of the ruleset, made by [`super::Nftables::watcher`].
#[derive(Debug)]
pub struct Watcher {
    netlink: NetlinkSocket,
    /// Rules of others have changed since somebody asked.
    foreign: bool,
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}

impl Watcher {
    /// Watcher of changes by others than the socket with this netlink port.
    ///
    /// The kernel leaves out ours: those of thousands of grants that are put back would fill the
    /// queue, and be lost as if somebody wanted to hide something.
    pub(super) fn new(own: u32) -> io::Result<Self> {
        let netlink = NetlinkSocket::open()?;
        netlink.ignore_port(own)?;
        netlink.join(CHANGES_GROUP)?;
        Ok(Self { netlink, foreign: false })
    }

    /// Reads the waiting notices about changes of table `inet spa` by another than the
    /// [`super::Nftables`] that made this watcher. Never blocks. Bans by bait rules and ends of
    /// grants make no notice.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn drain(&mut self) -> io::Result<Noticed> {
        let (mut changed, mut lost) = (false, false);
        let Self { netlink, foreign } = self;
        loop {
            let mut note = |m: NetlinkMessage<'_>| {
                let ours = is_about_our_table(&m);
                changed |= ours;
                *foreign |= !ours && FOREIGN_NOTICES.contains(&m.kind);
            };
            match netlink.drain(MAX_DATAGRAMS, &mut note) {
                Ok(MAX_DATAGRAMS) => (),
                Ok(_) if changed => return Ok(Noticed::Change),
                Ok(_) if lost => return Ok(Noticed::Loss),
                Ok(_) => return Ok(Noticed::Nothing),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    (lost, *foreign) = (true, true)
                }
                Err(e) => return Err(e),
            }
        }
    }
}

impl Watcher {
    /// Tells whether chains or rules of others have changed since the last call, as far as
    /// [`Self::drain`] has read.
    pub fn take_foreign_change(&mut self) -> bool {
        std::mem::take(&mut self.foreign)
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
