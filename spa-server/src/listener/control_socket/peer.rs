//! Peer at the other end of a Unix socket (unix(7), socket(7)): as the kernel noted it at
//! `connect`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_void, gid_t, socklen_t};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

/// Supplementary groups that are asked for at first; a process may have 65536 (`NGROUPS_MAX`).
const INITIAL_GROUPS: usize = 64;
const MAX_GROUPS: usize = 65_536;

/// A peer's user and groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SocketPeer {
    /// Effective user id.
    pub(super) uid: u32,
    /// Effective group id and supplementary groups.
    pub(super) groups: Vec<u32>,
}

impl SocketPeer {
    /// The peer of a connected socket.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn of_socket(socket: &impl AsFd) -> io::Result<Self> {
        let credentials = getsockopt(&socket.as_fd(), PeerCredentials)?;
        let mut groups = supplementary_groups(socket)?;
        groups.push(credentials.gid());
        Ok(Self { uid: credentials.uid(), groups })
    }

    /// Root, the server's own user, and members of the socket's group. The socket's mode says the
    /// same; this holds when somebody has loosened the mode, or handed on a folder that others
    /// can enter.
    pub(super) fn may_speak(&self, own: u32, group: u32) -> bool {
        self.uid == 0 || self.uid == own || self.groups.contains(&group)
    }
}

/// `SO_PEERGROUPS` (Linux 4.13), for which the safe crates have no word.
fn supplementary_groups(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    let mut room = INITIAL_GROUPS;
    loop {
        let mut groups: Vec<gid_t> = vec![0; room];
        let mut bytes = socklen_t::try_from(room * size_of::<gid_t>()).unwrap_or(0);
        // SAFETY: the pointer is to `room` initialised ids and `bytes` is their size, so the kernel
        // writes within the vector; `bytes` is a local of the type that the call wants; the
        // descriptor is open for the length of the call.
        let done = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast::<c_void>(),
                &raw mut bytes,
            )
        };
        let told = bytes as usize / size_of::<gid_t>();
        if done == 0 {
            groups.truncate(told);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // The kernel says how much it needs.
        if error.raw_os_error() != Some(libc::ERANGE) || told <= room || told > MAX_GROUPS {
            return Err(error);
        }
        room = told;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn our_own_other_end_is_us() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = SocketPeer::of_socket(&one).unwrap();
        assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
        assert_eq!(peer.groups.last(), Some(&nix::unistd::getegid().as_raw()));
        let mut ours: Vec<u32> =
            nix::unistd::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        let mut told = peer.groups;
        told.pop();
        ours.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, ours);
    }

    #[test]
    fn root_the_owner_and_the_group() {
        let peer = |uid, groups: &[u32]| SocketPeer { uid, groups: groups.to_vec() };
        for (peer, may) in [
            (peer(0, &[0]), true),
            (peer(990, &[990]), true),
            (peer(1000, &[1000, 77, 12]), true),
            (peer(1000, &[1000, 12]), false),
            (peer(77, &[990]), false),
        ] {
            assert_eq!(peer.may_speak(990, 77), may, "{peer:?}");
        }
    }
}
