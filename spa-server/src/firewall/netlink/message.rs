//! Messages: `u32 length, u16 type, u16 flags, u32 seq, u32 port` (linux/netlink.h), then
//! `u8 family, u8 version, be16 resource` (linux/netfilter/nfnetlink.h), then attributes.

use super::nla::{Attrs, Nla};

/// Flag of every request.
pub const NLM_F_REQUEST: u16 = 0x01;
/// Asks for an answer also when there is no error.
pub const NLM_F_ACK: u16 = 0x04;
/// The dumped thing changed while it was dumped.
pub const NLM_F_DUMP_INTR: u16 = 0x10;
/// Asks for all objects instead of one.
pub const NLM_F_DUMP: u16 = 0x300;
/// Refuses to create what exists.
pub const NLM_F_EXCL: u16 = 0x200;
/// Creates what is missing.
pub const NLM_F_CREATE: u16 = 0x400;
/// Adds at the end of a list.
pub const NLM_F_APPEND: u16 = 0x800;

/// An answer, also the good one.
pub const NLMSG_ERROR: u16 = 2;
/// End of a dump.
pub const NLMSG_DONE: u16 = 3;
/// First message of a transaction.
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
/// Last message of a transaction.
const NFNL_MSG_BATCH_END: u16 = 17;

/// Length of the netlink header in bytes.
pub const NETLINK_HEADER_BYTES: usize = 16;
/// Length of both headers in bytes.
const BOTH_HEADERS_BYTES: usize = 20;

/// Messages that the kernel applies all or none.
#[derive(Debug)]
pub struct Batch {
    out: Nla,
    /// Object of each message, for errors. The first message has sequence number 1.
    about: Vec<&'static str>,
    last: usize,
}

impl Batch {
    /// An empty transaction of a subsystem (`NFNL_SUBSYS_*`).
    #[must_use]
    pub fn new(subsystem: u16) -> Self {
        let mut out = Nla::new();
        write(&mut out, NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, 0, 0, subsystem, |_| ());
        Self { out, about: Vec::new(), last: 0 }
    }

    /// Adds a message; `about` names its object in errors.
    pub fn push(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        about: &'static str,
        body: impl FnOnce(&mut Nla),
    ) {
        self.about.push(about);
        self.last = self.out.len();
        let seq = u32::try_from(self.about.len()).unwrap_or(u32::MAX);
        write(&mut self.out, kind, flags | NLM_F_REQUEST, seq, family, 0, body);
    }

    /// True if there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.about.is_empty()
    }

    /// Object of the message with this sequence number.
    #[must_use]
    pub fn describe_request(&self, seq: u32) -> &'static str {
        usize::try_from(seq)
            .ok()
            .and_then(|seq| self.about.get(seq.checked_sub(1)?))
            .copied()
            .unwrap_or("the transaction")
    }

    /// The bytes to send and the sequence number that is acknowledged: of the last message only, so
    /// that ten thousand elements cannot overflow our own receive buffer with their answers.
    #[must_use]
    pub fn finish(&mut self, subsystem: u16) -> (&[u8], u32) {
        let flags =
            self.out.bytes().get(self.last + 6..self.last + 8).and_then(|b| b.try_into().ok());
        if let Some(flags) = flags.map(u16::from_ne_bytes)
            && !self.about.is_empty()
        {
            self.out.patch(self.last + 6, &(flags | NLM_F_ACK).to_ne_bytes());
        }
        write(&mut self.out, NFNL_MSG_BATCH_END, NLM_F_REQUEST, 0, 0, subsystem, |_| ());
        (self.out.bytes(), u32::try_from(self.about.len()).unwrap_or(u32::MAX))
    }
}

/// One message outside a transaction.
#[must_use]
pub fn single(
    kind: u16,
    flags: u16,
    family: u8,
    resource: u16,
    body: impl FnOnce(&mut Nla),
) -> Nla {
    let mut out = Nla::new();
    write(&mut out, kind, flags | NLM_F_REQUEST, 1, family, resource, body);
    out
}

fn write(
    out: &mut Nla,
    kind: u16,
    flags: u16,
    seq: u32,
    family: u8,
    resource: u16,
    body: impl FnOnce(&mut Nla),
) {
    let start = out.len();
    out.raw(&[0; 4]);
    out.raw(&kind.to_ne_bytes());
    out.raw(&flags.to_ne_bytes());
    out.raw(&seq.to_ne_bytes());
    out.raw(&[0; 4]);
    out.raw(&[family, 0]);
    out.raw(&resource.to_be_bytes());
    body(out);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out.patch(start, &length.to_ne_bytes());
}

/// A received message.
#[derive(Debug, Clone, Copy)]
pub struct NetlinkMessage<'a> {
    /// `subsystem << 8 | message`, or one of the control types.
    pub kind: u16,
    /// `NLM_F_*`
    pub flags: u16,
    /// Sequence number of the request that it answers.
    pub seq: u32,
    /// Netlink port of the process that caused it; 0 is the kernel.
    pub port: u32,
    /// Everything after the netlink header.
    pub payload: &'a [u8],
}

impl<'a> NetlinkMessage<'a> {
    /// Address family (`NFPROTO_*`).
    #[must_use]
    pub fn family(&self) -> u8 {
        self.payload.first().copied().unwrap_or_default()
    }

    /// The attributes.
    #[must_use]
    pub fn attrs(&self) -> Attrs<'a> {
        Attrs(self.payload.get(BOTH_HEADERS_BYTES - NETLINK_HEADER_BYTES..).unwrap_or(&[]))
    }
}

/// Walks the messages of one received datagram; ends at the first malformed one.
#[derive(Clone, Debug)]
pub struct NetlinkMessages<'a>(pub &'a [u8]);

impl<'a> Iterator for NetlinkMessages<'a> {
    type Item = NetlinkMessage<'a>;

    fn next(&mut self) -> Option<NetlinkMessage<'a>> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first_chunk::<2>()?;
        let (flags, rest) = rest.split_first_chunk::<2>()?;
        let (seq, rest) = rest.split_first_chunk::<4>()?;
        let (port, _) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        let payload = self.0.get(NETLINK_HEADER_BYTES..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(NetlinkMessage {
            kind: u16::from_ne_bytes(*kind),
            flags: u16::from_ne_bytes(*flags),
            seq: u32::from_ne_bytes(*seq),
            port: u32::from_ne_bytes(*port),
            payload,
        })
    }
}
