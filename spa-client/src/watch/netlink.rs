//! Changes as the kernel reports them: rtnetlink(7).

use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use spa_keys::Failure;

/// Multicast groups: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR and
/// RTMGRP_IPV6_ROUTE of linux/rtnetlink.h.
const CHANGE_GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/// Largest message that is read: one change each, whose content is asked of the kernel anew anyway.
const MAX_MESSAGE_BYTES: usize = 8192;

/// Socket that hears of every change.
pub(super) struct ChangeSocket(OwnedFd);

impl ChangeSocket {
    /// Opens the socket.
    pub(super) fn open_socket() -> nix::Result<Self> {
        let kind = (AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC);
        let socket = socket(kind.0, kind.1, kind.2, SockProtocol::NetlinkRoute)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, CHANGE_GROUPS))?;
        Ok(Self(socket))
    }

    /// Calls `notify` after every message, from a thread of its own.
    pub(super) fn spawn_watch(
        self,
        notify: impl Fn() -> bool + Send + 'static,
    ) -> Result<(), Failure> {
        let watch = move || {
            let mut buffer = [0; MAX_MESSAGE_BYTES];
            loop {
                match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                    // Too many at once to be told one by one is a change as well.
                    Ok(_) | Err(Errno::ENOBUFS) => {}
                    Err(Errno::EINTR) => continue,
                    Err(_) => return,
                }
                if !notify() {
                    return;
                }
            }
        };
        thread::Builder::new().spawn(watch)?;
        Ok(())
    }
}
