//! The network of this host as far as it decides by where strangers come in: interfaces with their
//! addresses and masters, default routes, and programs ahead of every rule (rtnetlink(7)).

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::capture::netlink::{
    RECEIVE_BUFFER_BYTES, make_message, split_attributes, split_messages,
};

/// Bytes of `struct ifinfomsg`, `ifaddrmsg`, `rtmsg` and `tcmsg` (linux/rtnetlink.h).
const LINK_HEADER_BYTES: usize = 16;
const ADDRESS_HEADER_BYTES: usize = 8;
const ROUTE_HEADER_BYTES: usize = 12;
const TRAFFIC_HEADER_BYTES: usize = 20;
/// `IFLA_INFO_KIND`, `IFLA_XDP` and `IFLA_XDP_ATTACHED` (linux/if_link.h).
const INFO_KIND: u16 = 1;
const XDP: u16 = 43;
const XDP_ATTACHED: u16 = 2;
/// `IFLA_INFO_KIND` of a pair of interfaces, each of which names the other.
const VETH: &str = "veth";
/// Those of interfaces that are in the same segment as the one below them.
const SHARING_KINDS: [&str; 4] = ["macvlan", "macvtap", "ipvlan", "ipvtap"];
/// `TCA_KIND`, and the parents of filters for what comes in (linux/pkt_sched.h).
const TRAFFIC_KIND: u16 = 1;
const INGRESS_PARENTS: [u32; 2] = [0xffff_0000, 0xffff_fff2];
/// Mask of an attribute's type proper.
const ATTRIBUTE_TYPE: u16 = 0x3fff;
/// Most routes that are read: a router may have a million, and its default route comes first.
const MAX_ROUTES: usize = 4096;

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    /// The kernel's number.
    pub(crate) index: u32,
    /// Name.
    pub(crate) name: String,
    /// Other names, which no rule matches.
    pub(crate) other_names: Vec<String>,
    /// Kind, as `ip -details link` names it; empty: a card.
    pub(crate) kind: String,
    /// It is set up.
    pub(crate) up: bool,
    /// It is set up and has a carrier.
    pub(crate) running: bool,
    /// Loopback.
    pub(crate) loopback: bool,
    /// Interface that it is a port of, by which its packets come in.
    pub(crate) master: Option<u32>,
    /// Interface below it, as of a VLAN.
    pub(crate) lower: Option<u32>,
    /// Own addresses.
    pub(crate) addresses: Vec<IpAddr>,
    /// Networks that it leads to by them.
    networks: Vec<IpNet>,
    /// A default route of IPv4, or of IPv6, leads there.
    default_route: [bool; 2],
    /// Program or filter that sees its packets ahead of every rule, and which we cannot read.
    pub(crate) ahead: Option<&'static str>,
}

impl Link {
    /// Tells whether it has an address by which strangers reach this host.
    pub(crate) fn has_address(&self, v4: bool) -> bool {
        self.list_global(v4).next().is_some()
    }

    /// Tells whether a default route leads there; `v4` chooses IPv4.
    pub(crate) fn has_default_route(&self, v4: bool) -> bool {
        let [of_v4, of_v6] = self.default_route;
        if v4 { of_v4 } else { of_v6 }
    }

    /// Addresses by which strangers reach this host; `v4` chooses IPv4.
    pub(crate) fn list_global(&self, v4: bool) -> impl Iterator<Item = IpAddr> {
        let own = self.addresses.iter().copied();
        own.filter(move |address| address.is_ipv4() == v4 && !is_link_local(*address))
    }
}

/// Interfaces by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostNetwork {
    links: BTreeMap<u32, Link>,
}

impl HostNetwork {
    /// Asks the kernel.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn read() -> io::Result<Self> {
        let mut questions = Questions::open()?;
        let mut this = Self::default();
        questions.ask(libc::RTM_GETLINK, &[0; LINK_HEADER_BYTES], usize::MAX, |body| {
            if let Some(link) = parse_link(body) {
                this.links.insert(link.index, link);
            }
        })?;
        questions.ask(libc::RTM_GETADDR, &[0; ADDRESS_HEADER_BYTES], usize::MAX, |body| {
            if let Some((index, address, network)) = parse_address(body)
                && let Some(link) = this.links.get_mut(&index)
            {
                link.addresses.push(address);
                link.networks.extend(network);
            }
        })?;
        for (at, family) in [libc::AF_INET, libc::AF_INET6].into_iter().enumerate() {
            let mut request = [0; ROUTE_HEADER_BYTES];
            request[0] = family as u8;
            // A socket of its own, since what is beyond the bound stays in it.
            Questions::open()?.ask(libc::RTM_GETROUTE, &request, MAX_ROUTES, |body| {
                for index in parse_default_route(body) {
                    if let Some(link) = this.links.get_mut(&index)
                        && let Some(known) = link.default_route.get_mut(at)
                    {
                        *known = true;
                    }
                }
            })?;
        }
        this.find_filters(&mut questions)?;
        Ok(this)
    }

    /// Finds interfaces with filters of tc(8) for what comes in.
    fn find_filters(&mut self, questions: &mut Questions) -> io::Result<()> {
        let mut with_hook = Vec::new();
        questions.ask(libc::RTM_GETQDISC, &[0; TRAFFIC_HEADER_BYTES], usize::MAX, |body| {
            with_hook.extend(parse_hook(body));
        })?;
        for index in with_hook {
            for parent in INGRESS_PARENTS {
                let mut request = [0; TRAFFIC_HEADER_BYTES];
                request[4..8].copy_from_slice(&index.to_ne_bytes());
                request[12..16].copy_from_slice(&parent.to_ne_bytes());
                let mut any = false;
                // Without that parent there is an error instead of an answer.
                let _none = questions.ask(libc::RTM_GETTFILTER, &request, usize::MAX, |_| {
                    any = true;
                });
                if any && let Some(link) = self.links.get_mut(&index) {
                    link.ahead.get_or_insert("a filter of tc");
                }
            }
        }
        Ok(())
    }

    /// All interfaces.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    /// The interface of a name.
    pub(crate) fn find(&self, name: &str) -> Option<&Link> {
        self.links().find(|link| link.name == name)
    }

    /// The interface whose network an address is in; the smallest network has it.
    pub(crate) fn find_link_to(&self, address: IpAddr) -> Option<&Link> {
        let nearest = |link: &Link| {
            let all = link.networks.iter().filter(|network| network.contains(&address));
            all.map(IpNet::prefix_len).max()
        };
        let found = self.links().filter_map(|link| Some((nearest(link)?, link)));
        found.max_by_key(|(length, _)| *length).map(|(_, link)| link)
    }

    /// The interface below that is in the same segment, and may take its packets (arp_ignore).
    pub(crate) fn find_sharing(&self, link: &Link) -> Option<&Link> {
        let below = link.lower.filter(|_| SHARING_KINDS.contains(&&*link.kind));
        below.and_then(|index| self.links.get(&index)).filter(|below| below.up)
    }

    /// The interface by which packets of this one come in.
    pub(crate) fn master_of(&self, link: &Link) -> Option<&Link> {
        self.links.get(&link.master?)
    }

    /// Interfaces by which packets come to this one: itself, its ports, and the one below.
    pub(crate) fn ports_of<'n>(&'n self, link: &'n Link) -> impl Iterator<Item = &'n Link> {
        self.links().filter(|one| {
            one.index == link.index
                || one.master == Some(link.index)
                || Some(one.index) == link.lower
        })
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Socket that asks one thing after the other.
struct Questions {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Questions {
    fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        // The answer waits when the question is sent.
        socket.set_non_blocking(true)?;
        Ok(Self { socket, buffer: Vec::with_capacity(RECEIVE_BUFFER_BYTES) })
    }

    /// Hands what the kernel lists to `each`, at most this many.
    fn ask(
        &mut self,
        kind: u16,
        request: &[u8],
        most: usize,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_DUMP;
        let message = make_message(kind, flags, request);
        self.socket.send_to(&message, &SocketAddr::new(0, 0), 0)?;
        let mut count = 0;
        loop {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            for (kind, body) in split_messages(&self.buffer) {
                match libc::c_int::from(kind) {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => return Err(io::ErrorKind::InvalidData.into()),
                    _ => each(body),
                }
                count += 1;
                if count >= most {
                    return Ok(());
                }
            }
        }
    }
}

fn attribute(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut all = split_attributes(attributes);
    all.find(|(kind, _)| kind & ATTRIBUTE_TYPE == wanted).map(|(_, value)| value)
}

fn read_u32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.first_chunk()?))
}

fn read_text(bytes: &[u8]) -> Option<String> {
    Some(String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next()?).into_owned())
}

/// Family u8 | padding u8 | type u16 | index i32 | flags u32 | change u32, then attributes.
fn parse_link(body: &[u8]) -> Option<Link> {
    let (header, attributes) = body.split_first_chunk::<LINK_HEADER_BYTES>()?;
    let flags = read_u32(header.get(8..)?)?.cast_signed();
    let number = |kind| attribute(attributes, kind).and_then(read_u32);
    let info = attribute(attributes, libc::IFLA_LINKINFO);
    let kind = info.and_then(|info| attribute(info, INFO_KIND)).and_then(read_text);
    let kind = kind.unwrap_or_default();
    // The other end of a veth, or an interface of another network namespace, lies not below.
    let elsewhere = kind == VETH || attribute(attributes, libc::IFLA_LINK_NETNSID).is_some();
    let xdp = attribute(attributes, XDP).and_then(|xdp| attribute(xdp, XDP_ATTACHED));
    let others = attribute(attributes, libc::IFLA_PROP_LIST).unwrap_or_default();
    let others = split_attributes(others)
        .filter(|(kind, _)| kind & ATTRIBUTE_TYPE == libc::IFLA_ALT_IFNAME)
        .filter_map(|(_, value)| read_text(value));
    Some(Link {
        index: read_u32(header.get(4..)?)?,
        other_names: others.collect(),
        name: attribute(attributes, libc::IFLA_IFNAME).and_then(read_text)?,
        kind,
        up: flags & libc::IFF_UP != 0,
        running: flags & libc::IFF_UP != 0 && flags & libc::IFF_RUNNING != 0,
        loopback: flags & libc::IFF_LOOPBACK != 0,
        master: number(libc::IFLA_MASTER),
        lower: number(libc::IFLA_LINK).filter(|_| !elsewhere),
        ahead: xdp.is_some_and(|xdp| xdp.first() != Some(&0)).then_some("an XDP program"),
        ..Link::default()
    })
}

/// Family u8 | prefix length u8 | flags u8 | scope u8 | index u32, then attributes.
fn parse_address(body: &[u8]) -> Option<(u32, IpAddr, Option<IpNet>)> {
    let (header, attributes) = body.split_first_chunk::<ADDRESS_HEADER_BYTES>()?;
    // Of a link between two the other address is the peer's.
    let own = attribute(attributes, libc::IFA_LOCAL);
    let bytes = own.or_else(|| attribute(attributes, libc::IFA_ADDRESS))?;
    let v4 = || <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    let address = <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok().or_else(v4)?;
    let network = IpNet::new(address, *header.get(1)?).ok();
    Some((read_u32(header.get(4..)?)?, address, network))
}

/// Interfaces of a route for everything: family u8 | destination length u8 | … | type u8 | flags
/// u32, then attributes. Of several next hops each is `struct rtnexthop`: length u16 | flags u8 |
/// hops u8 | index u32.
fn parse_default_route(body: &[u8]) -> Vec<u32> {
    let Some((header, attributes)) = body.split_first_chunk::<ROUTE_HEADER_BYTES>() else {
        return Vec::new();
    };
    let [_, 0, _, _, _, _, _, libc::RTN_UNICAST, ..] = header else { return Vec::new() };
    let mut found: Vec<u32> =
        attribute(attributes, libc::RTA_OIF).and_then(read_u32).into_iter().collect();
    let mut hops = attribute(attributes, libc::RTA_MULTIPATH).unwrap_or_default();
    while let Some((length, _)) = hops.split_first_chunk::<2>() {
        let length = usize::from(u16::from_ne_bytes(*length));
        found.extend(hops.get(4..8).and_then(read_u32));
        if length < 8 {
            break;
        }
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// Interface with a hook of tc(8) for what comes in: family u8 | padding | index i32 | handle u32 |
/// parent u32 | info u32, then attributes.
fn parse_hook(body: &[u8]) -> Option<u32> {
    let (header, attributes) = body.split_first_chunk::<TRAFFIC_HEADER_BYTES>()?;
    let kind = attribute(attributes, TRAFFIC_KIND).and_then(read_text)?;
    ["clsact", "ingress"].contains(&&*kind).then_some(read_u32(header.get(4..)?)?)
}
