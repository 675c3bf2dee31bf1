//! A netlink socket to netfilter: one transaction, one lookup or one dump at a time.
//!
//! The kernel handles a request within `send` and puts its answers into our queue before `send`
//! returns. The socket never blocks: an empty queue means that all was said.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{SockFilter, SockRef};

use super::message::{self, Batch, NetlinkMessage, NetlinkMessages};
use super::nla::{Attrs, Nla};

/// Room for the largest datagram that the kernel makes of a dump or of logged packets, in bytes.
const MAX_DATAGRAM_BYTES: usize = 256 * 1024;
/// Send and receive queue, in bytes: a transaction that puts back 65,536 bans is about 6 MB, and a
/// transaction is one `send`.
const QUEUE_BYTES: usize = 32 * 1024 * 1024;
/// Flag of an answer: the request is not repeated in it.
const NLM_F_CAPPED: u16 = 0x100;
/// Flag of an answer: attributes follow.
const NLM_F_ACK_TLVS: u16 = 0x200;
/// Attribute of an error: the kernel's reason in words.
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Offset in bytes of the port in the netlink header (`nlmsg_pid`, linux/netlink.h).
const PORT_OFFSET: u32 = 12;
/// `BPF_LD | BPF_W | BPF_ABS`, `BPF_JMP | BPF_JEQ | BPF_K` and `BPF_RET | BPF_K`
/// (linux/bpf_common.h).
const BPF_LOAD_WORD: u16 = 0x20;
const BPF_JUMP_EQUAL: u16 = 0x15;
const BPF_RETURN: u16 = 0x06;
/// Most starts of a dump that is disturbed by changes.
const MAX_DUMP_TRIES: usize = 8;

/// The kernel's refusal.
#[derive(Debug, thiserror::Error)]
#[error("{about}: {source}{}{text}", if text.is_empty() { "" } else { ": " })]
pub struct NetlinkError {
    /// Object: the name of a set, or of a part of the table.
    pub about: &'static str,
    /// The error number in words.
    pub source: io::Error,
    /// Words of the kernel beyond the number, often none.
    pub text: String,
}

impl NetlinkError {
    /// The error number (`errno`), 0 when there is none.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or_default()
    }

    fn io(about: &'static str, source: io::Error) -> Self {
        Self { about, source, text: String::new() }
    }
}

/// Turns the refusal that there is no such thing (`ENOENT`) into `None`.
///
/// # Errors
/// Any other refusal.
pub fn some_if_found<T>(answer: Result<T, NetlinkError>) -> Result<Option<T>, NetlinkError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.errno() == libc::ENOENT => Ok(None),
        Err(e) => Err(e),
    }
}

/// Progress of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DumpStep {
    /// That was the last datagram.
    pub over: bool,
    /// The thing has not changed while it was read.
    pub whole: bool,
}

/// A socket to netfilter in the network namespace of the thread that opened it.
pub struct NetlinkSocket {
    socket: Socket,
    port: u32,
    buf: Vec<u8>,
}

impl std::fmt::Debug for NetlinkSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetlinkSocket").field("port", &self.port).finish_non_exhaustive()
    }
}

impl AsFd for NetlinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl NetlinkSocket {
    /// Opens and connects it to the kernel, so that no other process can answer in its place.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        // Without CAP_NET_ADMIN these fail, and so will all the rest, with a better message.
        let _ = setsockopt(&socket, sockopt::SndBufForce, &QUEUE_BYTES);
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &QUEUE_BYTES);
        Ok(Self { socket, port, buf: Vec::with_capacity(MAX_DATAGRAM_BYTES) })
    }

    /// Our netlink port: the kernel puts it into the notices of what we change.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Joins a multicast group (`NFNLGRP_*`).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn join(&self, group: u32) -> io::Result<()> {
        self.socket.add_membership(group)
    }

    /// From now on the kernel leaves out notices of what the socket with this netlink port does.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn ignore_port(&self, port: u32) -> io::Result<()> {
        // One datagram holds notices of one transaction, so the first header speaks for all.
        let loaded = u32::from_be_bytes(port.to_ne_bytes());
        SockRef::from(&self.socket).attach_filter(&[
            SockFilter::new(BPF_LOAD_WORD, 0, 0, PORT_OFFSET),
            SockFilter::new(BPF_JUMP_EQUAL, 0, 1, loaded),
            SockFilter::new(BPF_RETURN, 0, 0, 0),
            SockFilter::new(BPF_RETURN, 0, 0, u32::MAX),
        ])
    }

    /// Hands every waiting message to `each`, at most `limit` datagrams; returns how many
    /// datagrams.
    ///
    /// # Errors
    /// What the kernel says; `ENOBUFS` when messages were lost, after which it can go on.
    pub fn drain(
        &mut self,
        limit: usize,
        each: &mut dyn FnMut(NetlinkMessage<'_>),
    ) -> io::Result<usize> {
        for count in 0..limit {
            if !self.receive()? {
                return Ok(count);
            }
            NetlinkMessages(&self.buf).for_each(&mut *each);
        }
        Ok(limit)
    }

    /// Applies a transaction.
    ///
    /// # Errors
    /// The first refusal; nothing was changed then.
    pub fn transact(&mut self, subsystem: u16, mut batch: Batch) -> Result<(), NetlinkError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.discard();
        let (bytes, last) = batch.finish(subsystem);
        self.socket.send(bytes, 0).map_err(|e| NetlinkError::io("send", e))?;
        let mut first: Option<NetlinkError> = None;
        let mut acknowledged = false;
        loop {
            match self.receive() {
                Ok(true) => (),
                Ok(false) => break,
                Err(e) => return Err(first.unwrap_or_else(|| NetlinkError::io("answer", e))),
            }
            for message in NetlinkMessages(&self.buf).filter(|m| m.kind == message::NLMSG_ERROR) {
                match check_answer(batch.describe_request(message.seq), &message) {
                    Ok(()) => acknowledged |= message.seq == last,
                    // The kernel tells the refusals in the order of the messages; the first is the
                    // cause.
                    Err(error) => {
                        first.get_or_insert(error);
                    }
                }
            }
        }
        match first {
            Some(error) => Err(error),
            None if acknowledged => Ok(()),
            None => Err(NetlinkError::io("the transaction", io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Sends one request outside a transaction and hands what comes back to `each`.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn request(
        &mut self,
        about: &'static str,
        request: &Nla,
        each: &mut dyn FnMut(NetlinkMessage<'_>),
    ) -> Result<(), NetlinkError> {
        self.exchange(about, request, each).map(|_| ())
    }

    /// Dumps: collects what `each` makes of every message; starts again when the kernel says that
    /// the thing changed meanwhile.
    ///
    /// # Errors
    /// The kernel's refusal, or `EINTR` when it never held still.
    pub fn dump<T>(
        &mut self,
        about: &'static str,
        request: &Nla,
        mut each: impl FnMut(&NetlinkMessage<'_>, &mut Vec<T>),
    ) -> Result<Vec<T>, NetlinkError> {
        for _ in 0..MAX_DUMP_TRIES {
            let mut found = Vec::new();
            let whole = self.exchange(about, request, &mut |m| each(&m, &mut found))?;
            if whole {
                return Ok(found);
            }
        }
        Err(NetlinkError::io(about, io::Error::from_raw_os_error(libc::EINTR)))
    }

    fn exchange(
        &mut self,
        about: &'static str,
        request: &Nla,
        each: &mut dyn FnMut(NetlinkMessage<'_>),
    ) -> Result<bool, NetlinkError> {
        self.begin_dump(request)?;
        let mut whole = true;
        loop {
            let step = self.continue_dump(about, each)?;
            whole &= step.whole;
            if step.over {
                return Ok(whole);
            }
        }
    }

    /// Begins a dump that is read by [`NetlinkSocket::continue_dump`].
    ///
    /// # Errors
    /// What the kernel says.
    pub fn begin_dump(&mut self, request: &Nla) -> Result<(), NetlinkError> {
        self.discard();
        self.socket.send(request.bytes(), 0).map_err(|e| NetlinkError::io("send", e))?;
        Ok(())
    }

    /// Hands the messages of the next datagram of a dump to `each`: the kernel makes one when the
    /// one before is taken.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn continue_dump(
        &mut self,
        about: &'static str,
        each: &mut dyn FnMut(NetlinkMessage<'_>),
    ) -> Result<DumpStep, NetlinkError> {
        let mut step = DumpStep { over: false, whole: true };
        if !self.receive().map_err(|e| NetlinkError::io(about, e))? {
            step.over = true;
        }
        for message in NetlinkMessages(&self.buf) {
            step.whole &= message.flags & message::NLM_F_DUMP_INTR == 0;
            match message.kind {
                message::NLMSG_ERROR => check_answer(about, &message)?,
                message::NLMSG_DONE => step.over = true,
                _ => each(message),
            }
        }
        Ok(step)
    }

    /// Receives one datagram into `buf`; false when none waits.
    fn receive(&mut self) -> io::Result<bool> {
        loop {
            self.buf.clear();
            return match self.socket.recv(&mut self.buf, 0) {
                Ok(_) => Ok(true),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => Err(e),
            };
        }
    }

    /// Throws away what an earlier exchange that ended with an error left behind.
    fn discard(&mut self) {
        while matches!(self.receive(), Ok(true)) {}
    }
}

/// Reads an `NLMSG_ERROR`, which is also the acknowledgement: `i32 -errno`, the request's header
/// and perhaps its body, then attributes.
fn check_answer(about: &'static str, message: &NetlinkMessage<'_>) -> Result<(), NetlinkError> {
    let Some((code, rest)) = message.payload.split_first_chunk::<4>() else { return Ok(()) };
    let code = i32::from_ne_bytes(*code);
    if code == 0 {
        return Ok(());
    }
    let mut text = String::new();
    if message.flags & NLM_F_ACK_TLVS != 0 {
        let echoed = if message.flags & NLM_F_CAPPED != 0 {
            message::NETLINK_HEADER_BYTES
        } else {
            rest.first_chunk::<4>()
                .map_or(0, |l| u32::from_ne_bytes(*l) as usize)
                .next_multiple_of(4)
        };
        let attrs = Attrs(rest.get(echoed..).unwrap_or(&[]));
        text = attrs.text(NLMSGERR_ATTR_MSG).unwrap_or_default().to_owned();
    }
    let source = io::Error::from_raw_os_error(code.saturating_neg());
    Err(NetlinkError { about, source, text })
}
