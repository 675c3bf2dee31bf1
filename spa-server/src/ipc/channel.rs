//! A pair of connected sockets between broker and listener (unix(7), `SOCK_SEQPACKET`): whole
//! messages, open files beside them, and an end that is seen at once when the other process dies.
#![allow(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use bincode::config::{Configuration, standard};
use bincode::error::DecodeError;
use bincode::{Decode, Encode};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType,
    UnixAddr, getsockopt, recvmsg, sendmsg, setsockopt, shutdown, socketpair, sockopt,
};
use nix::sys::time::TimeVal;

/// Longest message, bytes. What needs more goes in several.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// Most files beside a message.
const MAX_FILES_PER_MESSAGE: usize = 5;

/// Fault of a message; the other process is not ours, or compromised.
#[derive(Debug, thiserror::Error)]
pub enum GarbageError {
    /// It cannot be decoded.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
    /// It is longer than [`MAX_MESSAGE_BYTES`].
    #[error("longer than {MAX_MESSAGE_BYTES} bytes")]
    TooLong,
    /// So many bytes follow it.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// It answers another question.
    #[error("not what was asked for")]
    Unexpected,
}

/// Reason why nothing was received.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other process has ended.
    #[error("the other process is gone")]
    Gone,
    /// No message in time, or none at all where nobody waits.
    #[error("no message in time")]
    Late,
    /// It is no message of ours.
    #[error("an invalid message: {0}")]
    Garbage(#[from] GarbageError),
    /// The kernel's error.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Channel {
    /// Both ends.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(a), Self(b)))
    }

    /// An inherited end.
    ///
    /// # Errors
    /// It is no such socket.
    pub fn from_inherited(end: OwnedFd) -> io::Result<Self> {
        match getsockopt(&end, sockopt::SockType) {
            Ok(SockType::SeqPacket) => Ok(Self(end)),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// The descriptor, to hand it to a child.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Limits how long [`Channel::receive`] and [`Channel::send`] wait.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn set_timeout(&self, patience: Duration) -> io::Result<()> {
        let time = TimeVal::new(i64::try_from(patience.as_secs()).unwrap_or(i64::MAX), 0);
        setsockopt(&self.0, sockopt::ReceiveTimeout, &time)?;
        setsockopt(&self.0, sockopt::SendTimeout, &time)?;
        Ok(())
    }

    /// Sends a message with open files. Waits for room, as long as [`Channel::set_timeout`] says.
    ///
    /// # Errors
    /// The other end is gone or does not read, or the message is too long.
    pub fn send(&self, message: &impl Encode, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with_flags(message, files, MsgFlags::MSG_NOSIGNAL)
    }

    /// As [`Channel::send`], and `WouldBlock` when there is no room.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub fn send_now(&self, message: &impl Encode, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with_flags(message, files, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT)
    }

    fn send_with_flags(
        &self,
        message: &impl Encode,
        files: &[BorrowedFd<'_>],
        flags: MsgFlags,
    ) -> io::Result<()> {
        let bytes = bincode::encode_to_vec(message, standard()).map_err(io::Error::other)?;
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"));
        }
        let files: Vec<RawFd> = files.iter().map(|file| file.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&files)];
        let rights: &[ControlMessage<'_>] = if files.is_empty() { &[] } else { &rights };
        let data = [IoSlice::new(&bytes)];
        loop {
            match sendmsg::<UnixAddr>(self.0.as_raw_fd(), &data, rights, flags, None) {
                Err(nix::errno::Errno::EINTR) => continue,
                other => return other.map(|_| ()).map_err(Into::into),
            }
        }
    }

    /// Ends sending: the other end sees that nothing more comes, and can still be heard.
    pub fn finish_sending(&self) {
        // One that is gone has seen the end already.
        let _gone = shutdown(self.0.as_raw_fd(), Shutdown::Write);
    }

    /// Waits for a message and the files beside it.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn receive<T: Decode<()>>(&self) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        self.receive_with_flags(MsgFlags::empty())
    }

    /// As [`Channel::receive`], and [`ChannelError::Late`] when none is there.
    ///
    /// # Errors
    /// See [`ChannelError`].
    pub fn receive_now<T: Decode<()>>(&self) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        self.receive_with_flags(MsgFlags::MSG_DONTWAIT)
    }

    fn receive_with_flags<T: Decode<()>>(
        &self,
        flags: MsgFlags,
    ) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        let mut bytes = vec![0; MAX_MESSAGE_BYTES];
        let mut control = nix::cmsg_space!([RawFd; MAX_FILES_PER_MESSAGE]);
        let mut data = [IoSliceMut::new(&mut bytes)];
        let mut reset = false;
        let received = loop {
            let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
            match recvmsg::<UnixAddr>(self.0.as_raw_fd(), &mut data, Some(&mut control), flags) {
                Err(nix::errno::Errno::EINTR) => continue,
                Err(nix::errno::Errno::EAGAIN) => return Err(ChannelError::Late),
                // It has ended without reading all that we sent. The kernel says so once, and
                // before what it sent last: why it could not go on.
                Err(nix::errno::Errno::ECONNRESET) if !reset => reset = true,
                Err(nix::errno::Errno::ECONNRESET) => return Err(ChannelError::Gone),
                other => break other.map_err(io::Error::from)?,
            }
        };
        let mut files = Vec::new();
        // More files than there is room for are closed by the kernel.
        for item in received.cmsgs().into_iter().flatten() {
            if let ControlMessageOwned::ScmRights(descriptors) = item {
                // SAFETY: the kernel has just made these descriptors for us, and nobody else knows
                // them.
                files.extend(descriptors.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        let (length, cut) = (received.bytes, received.flags.contains(MsgFlags::MSG_TRUNC));
        if length == 0 {
            return Err(ChannelError::Gone);
        }
        if cut {
            return Err(GarbageError::TooLong.into());
        }
        let message = decode_message(bytes.get(..length).unwrap_or_default())?;
        Ok((message, files))
    }
}

/// Decodes a whole message, and nothing behind it. A length within it never makes more room than
/// [`MAX_MESSAGE_BYTES`].
fn decode_message<T: Decode<()>>(bytes: &[u8]) -> Result<T, GarbageError> {
    const DECODE_CONFIG: Configuration<
        bincode::config::LittleEndian,
        bincode::config::Varint,
        bincode::config::Limit<MAX_MESSAGE_BYTES>,
    > = standard().with_limit::<MAX_MESSAGE_BYTES>();
    let (message, used) = bincode::decode_from_slice::<T, _>(bytes, DECODE_CONFIG)?;
    match bytes.len() - used {
        0 => Ok(message),
        trailing => Err(GarbageError::Trailing(trailing)),
    }
}
