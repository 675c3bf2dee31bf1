//! Conntrack's entries over ctnetlink (linux/netfilter/nfnetlink_conntrack.h): those of flows that
//! must end are deleted, those of flows that it never saw are made.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::abi;
use super::address_number::address_bytes;
use crate::domain::ports::Protocol;
use crate::firewall::netlink::message::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, single};
use crate::firewall::netlink::nla::NLA_F_NESTED;
use crate::firewall::netlink::{Attrs, NetlinkError, NetlinkSocket, Nla};

/// `NFNL_SUBSYS_CTNETLINK` in the high byte; `IPCTNL_MSG_CT_NEW`, `IPCTNL_MSG_CT_GET`,
/// `IPCTNL_MSG_CT_DELETE`
const NEW_ENTRY: u16 = 1 << 8;
const GET_ENTRY: u16 = 1 << 8 | 1;
const DELETE_ENTRY: u16 = 1 << 8 | 2;
/// Attributes of an entry.
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_TIMEOUT: u16 = 7;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_LABELS: u16 = 22;
const CTA_LABELS_MASK: u16 = 23;
/// Attributes of a tuple.
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
/// Addresses in `CTA_TUPLE_IP`.
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
/// Protocol and ports in `CTA_TUPLE_PROTO`.
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
/// Attribute in `CTA_PROTOINFO`, and those in it; the flags are `CTA_PROTOINFO_TCP_FLAGS_ORIGINAL`
/// and `CTA_PROTOINFO_TCP_FLAGS_REPLY`.
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
const TCP_FLAGS: [u16; 2] = [4, 5];
/// `TCP_CONNTRACK_ESTABLISHED`
const TCP_ESTABLISHED: u8 = 3;
/// `IP_CT_TCP_FLAG_SACK_PERM | IP_CT_TCP_FLAG_BE_LIBERAL`, then the mask of what is set: nobody
/// knows the windows of a connection that was not seen from its beginning.
const TCP_FLAGS_LIBERAL: [u8; 2] = [0x0a, 0x0a];
/// `IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED`
const STATUS_SEEN: u32 = 1 << 1 | 1 << 2 | 1 << 3;
/// The kernel's own time for an idle connection, in seconds
/// (`nf_conntrack_tcp_timeout_established`: five days). The first packet sets it anew, from this
/// host's setting.
const IDLE_TIMEOUT_SECONDS: u32 = 432_000;
/// The errors that one entry's end may meet: it went by itself, or its number is another entry's by
/// now.
const GONE_ERRORS: [i32; 2] = [libc::ENOENT, libc::ESTALE];

/// One end of a flow, as its first packet named them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// IP address.
    pub(super) address: IpAddr,
    /// TCP or UDP port.
    pub(super) port: u16,
}

/// A flow as its first packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    /// TCP or UDP; entries of other protocols are passed over.
    pub(super) protocol: Protocol,
    /// Sender of the first packet.
    pub(super) from: Endpoint,
    /// Destination of the first packet, before any NAT.
    pub(super) to: Endpoint,
}

impl Flow {
    /// Number of its family in nfnetlink: that of the address family (AF_INET, AF_INET6).
    fn family(&self) -> u8 {
        if self.from.address.is_ipv4() { abi::NFPROTO_IPV4 } else { abi::NFPROTO_IPV6 }
    }
}

/// Begins a walk through all entries, of both families.
pub(super) fn begin_walk(walker: &mut NetlinkSocket) -> Result<(), NetlinkError> {
    walker.begin_dump(&single(GET_ENTRY, NLM_F_DUMP, abi::NFPROTO_UNSPEC, 0, |_| ()))
}

/// Goes on with a walk: the entries of one datagram for whose flow `wanted` has an answer. True:
/// the walk is over.
pub(super) fn continue_walk<T>(
    walker: &mut NetlinkSocket,
    wanted: impl Fn(&Flow) -> Option<T>,
    found: &mut VecDeque<(ConntrackEntry, T)>,
) -> Result<bool, NetlinkError> {
    let step = walker.continue_dump("conntrack", &mut |m| {
        let attrs = m.attrs();
        if let Some(flow) = read_flow(attrs)
            && let Some(answer) = wanted(&flow)
        {
            found.extend(ConntrackEntry::read(flow, attrs).map(|entry| (entry, answer)));
        }
    })?;
    Ok(step.over)
}

/// Sets the bits of `labels` on an entry, and clears the others of `mask`. An entry that has no
/// room for labels is deleted.
pub(super) fn label_entry(
    netlink: &mut NetlinkSocket,
    entry: &ConntrackEntry,
    labels: &[u8],
    mask: &[u8],
) -> Result<(), NetlinkError> {
    let request = single(NEW_ENTRY, NLM_F_ACK, entry.flow.family(), 0, |n| {
        entry.put_name(n);
        n.put(CTA_LABELS, labels);
        n.put(CTA_LABELS_MASK, mask);
    });
    match netlink.request("conntrack", &request, &mut |_| ()) {
        Ok(()) => Ok(()),
        Err(e) if GONE_ERRORS.contains(&e.errno()) => Ok(()),
        Err(_) => delete_entry(netlink, entry).map(drop),
    }
}

/// Deletes an entry. False: it was gone.
pub(super) fn delete_entry(
    netlink: &mut NetlinkSocket,
    entry: &ConntrackEntry,
) -> Result<bool, NetlinkError> {
    let request = single(DELETE_ENTRY, NLM_F_ACK, entry.flow.family(), 0, |n| entry.put_name(n));
    match netlink.request("conntrack", &request, &mut |_| ()) {
        Ok(()) => Ok(true),
        Err(e) if GONE_ERRORS.contains(&e.errno()) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Makes the entry of an established TCP flow. False: there is one already.
pub(super) fn keep_flow(netlink: &mut NetlinkSocket, flow: &Flow) -> Result<bool, NetlinkError> {
    let flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
    let request = single(NEW_ENTRY, flags, flow.family(), 0, |n| {
        put_tuple(n, CTA_TUPLE_ORIG, flow.from, flow.to);
        put_tuple(n, CTA_TUPLE_REPLY, flow.to, flow.from);
        n.put_u32(CTA_STATUS, STATUS_SEEN);
        n.put_u32(CTA_TIMEOUT, IDLE_TIMEOUT_SECONDS);
        n.nest(CTA_PROTOINFO, |n| {
            n.nest(CTA_PROTOINFO_TCP, |n| {
                n.put_u8(CTA_PROTOINFO_TCP_STATE, TCP_ESTABLISHED);
                TCP_FLAGS.iter().for_each(|kind| n.put(*kind, &TCP_FLAGS_LIBERAL));
            });
        });
    });
    match netlink.request("conntrack", &request, &mut |_| ()) {
        Ok(()) => Ok(true),
        Err(e) if e.errno() == libc::EEXIST => Ok(false),
        Err(e) => Err(e),
    }
}

fn put_tuple(n: &mut Nla, kind: u16, from: Endpoint, to: Endpoint) {
    n.nest(kind, |n| {
        n.nest(CTA_TUPLE_IP, |n| {
            for (end, v4, v6) in
                [(from, CTA_IP_V4_SRC, CTA_IP_V6_SRC), (to, CTA_IP_V4_DST, CTA_IP_V6_DST)]
            {
                let kind = if end.address.is_ipv4() { v4 } else { v6 };
                n.put(kind, &address_bytes(end.address));
            }
        });
        n.nest(CTA_TUPLE_PROTO, |n| {
            n.put_u8(CTA_PROTO_NUM, Protocol::Tcp.number());
            n.put_u16(CTA_PROTO_SRC_PORT, from.port);
            n.put_u16(CTA_PROTO_DST_PORT, to.port);
        });
    });
}

/// An entry as it is named to the kernel.
#[derive(Debug)]
pub(super) struct ConntrackEntry {
    flow: Flow,
    /// The attributes by which the kernel finds it again.
    original: Vec<u8>,
    id: Vec<u8>,
    zone: Option<Vec<u8>>,
}

impl ConntrackEntry {
    /// Writes the attributes that name it.
    fn put_name(&self, n: &mut Nla) {
        n.put(CTA_TUPLE_ORIG | NLA_F_NESTED, &self.original);
        n.put(CTA_ID, &self.id);
        if let Some(zone) = &self.zone {
            n.put(CTA_ZONE, zone);
        }
    }

    fn read(flow: Flow, attrs: Attrs<'_>) -> Option<Self> {
        let original = attrs.get(CTA_TUPLE_ORIG)?.to_vec();
        let zone = attrs.get(CTA_ZONE).map(<[u8]>::to_vec);
        Some(Self { flow, original, id: attrs.get(CTA_ID)?.to_vec(), zone })
    }
}

fn read_flow(attrs: Attrs<'_>) -> Option<Flow> {
    let original = Attrs(attrs.get(CTA_TUPLE_ORIG)?);
    let (ip, proto) = (original.nested(CTA_TUPLE_IP)?, original.nested(CTA_TUPLE_PROTO)?);
    let protocol = Protocol::from_number(*proto.get(CTA_PROTO_NUM)?.first()?)?;
    let end = |v4: u16, v6: u16, port: u16| {
        let address = match (ip.get(v4), ip.get(v6)) {
            (Some(a), _) => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(a).ok()?)),
            (_, Some(a)) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(a).ok()?)),
            _ => return None,
        };
        Some(Endpoint { address, port: proto.u16(port)? })
    };
    let from = end(CTA_IP_V4_SRC, CTA_IP_V6_SRC, CTA_PROTO_SRC_PORT)?;
    let to = end(CTA_IP_V4_DST, CTA_IP_V6_DST, CTA_PROTO_DST_PORT)?;
    Some(Flow { protocol, from, to })
}
