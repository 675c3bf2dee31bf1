//! Conntrack's entries over ctnetlink (linux/netfilter/nfnetlink_conntrack.h): those of flows that
//! must end are deleted, those of flows that it never saw are made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::abi;
use super::address_number::address_bytes;
use crate::domain::ports::Protocol;
use crate::firewall::netlink::message::{ACK, CREATE, DUMP, EXCLUSIVE, single};
use crate::firewall::netlink::{Attrs, NetlinkError, NetlinkSocket, Nla};

/// `NFNL_SUBSYS_CTNETLINK` in the high byte; `IPCTNL_MSG_CT_NEW`, `IPCTNL_MSG_CT_GET`,
/// `IPCTNL_MSG_CT_DELETE`
const NEW_ENTRY: u16 = 1 << 8;
const GET_ENTRY: u16 = 1 << 8 | 1;
const DELETE_ENTRY: u16 = 1 << 8 | 2;
/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`, `CTA_STATUS`, `CTA_PROTOINFO`, `CTA_TIMEOUT`, `CTA_ID`,
/// `CTA_ZONE`
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const PROTOCOL_INFO: u16 = 4;
const TIMEOUT: u16 = 7;
const ID: u16 = 12;
const ZONE: u16 = 18;
/// `CTA_TUPLE_IP`, `CTA_TUPLE_PROTO`
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
/// `CTA_IP_V4_SRC`, `CTA_IP_V4_DST`, `CTA_IP_V6_SRC`, `CTA_IP_V6_DST`
const V4_SOURCE: u16 = 1;
const V4_DESTINATION: u16 = 2;
const V6_SOURCE: u16 = 3;
const V6_DESTINATION: u16 = 4;
/// `CTA_PROTO_NUM`, `CTA_PROTO_SRC_PORT`, `CTA_PROTO_DST_PORT`
const PROTO_NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;
/// `CTA_PROTOINFO_TCP` and in it `CTA_PROTOINFO_TCP_STATE`, `CTA_PROTOINFO_TCP_FLAGS_ORIGINAL`,
/// `CTA_PROTOINFO_TCP_FLAGS_REPLY`
const TCP: u16 = 1;
const TCP_STATE: u16 = 1;
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
    pub(super) address: IpAddr,
    pub(super) port: u16,
}

/// A flow as its first packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) protocol: Protocol,
    pub(super) from: Endpoint,
    pub(super) to: Endpoint,
}

/// Deletes the entries of flows of one family that `ends` says must end. Returns how many.
pub(super) fn end_flows(
    netlink: &mut NetlinkSocket,
    v4: bool,
    ends: impl Fn(&Flow) -> bool,
) -> Result<usize, NetlinkError> {
    // The numbers of nfnetlink are those of the address families (AF_INET, AF_INET6).
    let family = if v4 { abi::IPV4 } else { abi::IPV6 };
    let request = single(GET_ENTRY, DUMP, family, 0, |_| ());
    let found = netlink.dump("conntrack", &request, |m, out: &mut Vec<ConntrackEntry>| {
        out.extend(ConntrackEntry::read(m.attrs()).filter(|entry| ends(&entry.flow)));
    })?;
    let mut count = 0;
    for entry in found {
        let request = single(DELETE_ENTRY, ACK, family, 0, |n| {
            n.put(ORIGINAL | NESTED, &entry.original);
            n.put(ID, &entry.id);
            if let Some(zone) = &entry.zone {
                n.put(ZONE, zone);
            }
        });
        match netlink.request("conntrack", &request, &mut |_| ()) {
            Ok(()) => count += 1,
            Err(e) if GONE_ERRORS.contains(&e.errno()) => (),
            Err(e) => return Err(e),
        }
    }
    Ok(count)
}

/// Makes the entry of an established TCP flow. False: there is one already.
pub(super) fn keep_flow(netlink: &mut NetlinkSocket, flow: &Flow) -> Result<bool, NetlinkError> {
    let family = if flow.from.address.is_ipv4() { abi::IPV4 } else { abi::IPV6 };
    let request = single(NEW_ENTRY, CREATE | EXCLUSIVE | ACK, family, 0, |n| {
        put_tuple(n, ORIGINAL, flow.from, flow.to);
        put_tuple(n, REPLY, flow.to, flow.from);
        n.put_u32(STATUS, STATUS_SEEN);
        n.put_u32(TIMEOUT, IDLE_TIMEOUT_SECONDS);
        n.nest(PROTOCOL_INFO, |n| {
            n.nest(TCP, |n| {
                n.put_u8(TCP_STATE, TCP_ESTABLISHED);
                TCP_FLAGS.iter().for_each(|way| n.put(*way, &TCP_FLAGS_LIBERAL));
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
        n.nest(TUPLE_IP, |n| {
            for (end, v4, v6) in
                [(from, V4_SOURCE, V6_SOURCE), (to, V4_DESTINATION, V6_DESTINATION)]
            {
                let kind = if end.address.is_ipv4() { v4 } else { v6 };
                n.put(kind, &address_bytes(end.address));
            }
        });
        n.nest(TUPLE_PROTO, |n| {
            n.put_u8(PROTO_NUMBER, Protocol::Tcp.number());
            n.put_u16(SOURCE_PORT, from.port);
            n.put_u16(DESTINATION_PORT, to.port);
        });
    });
}

/// `NLA_F_NESTED`
const NESTED: u16 = 0x8000;

struct ConntrackEntry {
    flow: Flow,
    /// The attributes by which the kernel finds it again.
    original: Vec<u8>,
    id: Vec<u8>,
    zone: Option<Vec<u8>>,
}

impl ConntrackEntry {
    fn read(attrs: Attrs<'_>) -> Option<Self> {
        let original = attrs.get(ORIGINAL)?;
        let (ip, proto) = (Attrs(original).nested(TUPLE_IP)?, Attrs(original).nested(TUPLE_PROTO)?);
        let protocol = Protocol::from_number(*proto.get(PROTO_NUMBER)?.first()?)?;
        let end = |v4: u16, v6: u16, port: u16| {
            let address = match (ip.get(v4), ip.get(v6)) {
                (Some(a), _) => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(a).ok()?)),
                (_, Some(a)) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(a).ok()?)),
                _ => return None,
            };
            Some(Endpoint { address, port: proto.u16(port)? })
        };
        let from = end(V4_SOURCE, V6_SOURCE, SOURCE_PORT)?;
        let to = end(V4_DESTINATION, V6_DESTINATION, DESTINATION_PORT)?;
        let flow = Flow { protocol, from, to };
        let zone = attrs.get(ZONE).map(<[u8]>::to_vec);
        Some(Self { flow, original: original.to_vec(), id: attrs.get(ID)?.to_vec(), zone })
    }
}
