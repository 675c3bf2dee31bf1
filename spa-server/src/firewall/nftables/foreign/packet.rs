//! Knowledge of a packet before it has come: of some bits the value, of the others why not.

use std::net::IpAddr;

use crate::domain::ports::Protocol;
use crate::firewall::nftables::abi::{self, ct, fib, meta, payload};
use crate::firewall::nftables::compile::{TCP_ACK, TCP_FLAGS, TCP_SYN};
use crate::firewall::nftables::expression::Expression;

/// Reason for which something is not known beforehand; the graver one is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doubt {
    /// It depends on who sends the packet.
    Source,
    /// It is kept in what we do not read.
    Unread,
}

/// Byte of a register or header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Byte {
    /// Value of the known bits; the others are zero.
    pub(super) value: u8,
    /// Bits that are known.
    pub(super) known: u8,
    /// Why the others are not.
    pub(super) doubt: Doubt,
}

impl Byte {
    /// Byte of which nothing is known.
    pub(super) const fn unknown(doubt: Doubt) -> Self {
        Self { value: 0, known: 0, doubt }
    }

    /// Byte with only these bits known.
    const fn partly(value: u8, known: u8) -> Self {
        Self { value: value & known, known, doubt: Doubt::Unread }
    }
}

impl From<u8> for Byte {
    fn from(value: u8) -> Self {
        Self { value, known: 0xff, doubt: Doubt::Unread }
    }
}

/// Known bytes.
pub(super) fn known_bytes(bytes: &[u8]) -> Vec<Byte> {
    bytes.iter().copied().map(Byte::from).collect()
}

/// Place of a packet within its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlowPlace {
    /// The first packet from the client.
    First,
    /// The answer to it.
    Answer,
    /// A later packet from the client.
    Later,
}

/// Interface as rules name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    /// The kernel's number.
    pub(super) index: u32,
    /// Name.
    pub(super) name: String,
    /// The only default route leads there, so every stranger's address does.
    pub(super) leads_back: bool,
}

/// Packet of a flow to one of our ports, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`
    pub(super) family: u8,
    /// TCP or UDP.
    pub(super) protocol: Protocol,
    /// Place within the flow.
    pub(super) place: FlowPlace,
    /// Address of the client; `None`: anybody's.
    pub(super) client: Option<IpAddr>,
    /// Address that the client sends to; of another's NAT, the one that it made.
    pub(super) server: Option<IpAddr>,
    /// The address is this host's own; `None`: that is not known.
    pub(super) own: Option<bool>,
    /// Port at the server's end; `None` when another's NAT has made one that cannot be read.
    pub(super) port: Option<u16>,
    /// Port that the client asked for.
    pub(super) asked: u16,
    /// Somebody's NAT has changed the destination.
    pub(super) translated: bool,
    /// Conntrack is to see the packet.
    pub(super) tracked: bool,
    /// Conntrack has seen what the packet answers or follows.
    pub(super) known_flow: bool,
    /// Conntrack has seen this packet.
    pub(super) past_conntrack: bool,
    /// An ordinary program sends it, without extension headers of IPv6.
    pub(super) ordinary: bool,
    /// Interface by which it comes in.
    pub(super) incoming: Option<Device>,
    /// Interface by which it goes out.
    pub(super) outgoing: Option<Device>,
}

impl Packet {
    /// Runs a load: the register and its value.
    pub(super) fn load(&self, load: &Expression) -> Option<(u32, Vec<Byte>)> {
        Some(match *load {
            Expression::Meta { into, key } => (into, self.load_meta(key)),
            Expression::Payload { into, base, offset, len } => {
                let (offset, len) = (offset as usize, len.min(MAX_LOAD_BYTES) as usize);
                let header = self.header(base);
                let byte = |at: usize| header.get(at).copied().unwrap_or(UNREAD);
                (into, (offset..offset.saturating_add(len)).map(byte).collect())
            }
            Expression::Ct { into, key, .. } => (into, self.load_ct(key)),
            Expression::Fib { into, result: fib::ADDRTYPE, flags: fib::F_DADDR } => {
                let local = self.own.map(|own| if own { fib::RTN_LOCAL } else { fib::RTN_UNICAST });
                (
                    into,
                    match local {
                        Some(kind) => known_bytes(&kind.to_ne_bytes()),
                        None => vec![UNREAD; 4],
                    },
                )
            }
            // Where an answer would go out.
            Expression::Fib { into, result: fib::OIF, flags }
                if flags & (fib::F_SADDR | fib::F_IIF) == fib::F_SADDR | fib::F_IIF =>
            {
                let back = self.incoming.as_ref().filter(|device| device.leads_back);
                (
                    into,
                    match back {
                        Some(_) if flags & fib::F_PRESENT != 0 => known_bytes(&[1]),
                        Some(device) => known_bytes(&device.index.to_ne_bytes()),
                        None => vec![Byte::unknown(Doubt::Source); 4],
                    },
                )
            }
            Expression::Fib { into, .. } => (into, vec![Byte::unknown(Doubt::Source); 16]),
            _ => return None,
        })
    }

    fn load_meta(&self, key: u32) -> Vec<Byte> {
        let ethernet_type = match self.family {
            abi::NFPROTO_IPV4 => libc::ETH_P_IP as u16,
            _ => libc::ETH_P_IPV6 as u16,
        };
        let index = |device: &Option<Device>| match device {
            Some(device) => known_bytes(&device.index.to_ne_bytes()),
            None => vec![UNREAD; 4],
        };
        let name = |device: &Option<Device>| match device {
            Some(device) => {
                let mut name = device.name.clone().into_bytes();
                name.resize(libc::IFNAMSIZ, 0);
                known_bytes(&name)
            }
            None => vec![UNREAD; libc::IFNAMSIZ],
        };
        match key {
            meta::PROTOCOL => known_bytes(&ethernet_type.to_be_bytes()),
            meta::NFPROTO => known_bytes(&[self.family]),
            meta::L4PROTO => known_bytes(&[self.protocol.number()]),
            meta::IIF => index(&self.incoming),
            meta::OIF => index(&self.outgoing),
            meta::IIFNAME => name(&self.incoming),
            meta::OIFNAME => name(&self.outgoing),
            _ => vec![UNREAD; 16],
        }
    }

    fn load_ct(&self, key: u32) -> Vec<Byte> {
        match key {
            ct::STATE => known_bytes(&self.state().to_ne_bytes()),
            ct::FLOW_DIRECTION => known_bytes(&[u8::from(self.place == FlowPlace::Answer)]),
            ct::STATUS => {
                let mut status = vec![UNREAD; 4];
                let wanted = ct::DST_NAT.to_ne_bytes();
                for (byte, bits) in status.iter_mut().zip(wanted) {
                    *byte = Byte::partly(if self.translated { bits } else { 0 }, bits);
                }
                status
            }
            ct::PROTO_DST => known_bytes(&self.asked.to_be_bytes()),
            _ => vec![UNREAD; 16],
        }
    }

    /// State of the flow for conntrack (`NF_CT_STATE_BIT`).
    pub(super) fn state(&self) -> u32 {
        match self {
            Self { tracked: false, .. } => ct::UNTRACKED,
            Self { past_conntrack: false, .. } => ct::INVALID,
            Self { place: FlowPlace::First, .. } | Self { known_flow: false, .. } => ct::NEW,
            _ => ct::ESTABLISHED,
        }
    }

    /// Bytes of a header, as far as rules ask for them.
    fn header(&self, base: u32) -> Vec<Byte> {
        match base {
            payload::NETWORK_HEADER => self.network_header(),
            payload::TRANSPORT_HEADER => self.transport_header(),
            _ => Vec::new(),
        }
    }

    fn network_header(&self) -> Vec<Byte> {
        let len = if self.family == abi::NFPROTO_IPV4 { 4 } else { 16 };
        let address = |end: Option<IpAddr>, doubt| match end {
            Some(IpAddr::V4(v4)) if len == 4 => known_bytes(&v4.octets()),
            Some(IpAddr::V6(v6)) if len == 16 => known_bytes(&v6.octets()),
            _ => vec![Byte::unknown(doubt); len],
        };
        let client = address(self.client, Doubt::Source);
        let server = address(self.server, Doubt::Unread);
        let addresses = match self.place {
            FlowPlace::Answer => [server, client].concat(),
            FlowPlace::First | FlowPlace::Later => [client, server].concat(),
        };
        let mut header = Vec::new();
        if self.family == abi::NFPROTO_IPV4 {
            header.push(0x45.into());
            header.extend([UNREAD; 5]);
            // No fragment: neither more of them, nor an offset.
            header.extend([Byte::partly(0, 0x3f), 0.into(), UNREAD]);
            header.push(self.protocol.number().into());
            header.extend([UNREAD; 2]);
        } else {
            header.push(Byte::partly(0x60, 0xf0));
            header.extend([UNREAD; 5]);
            header.extend([self.protocol.number().into(), UNREAD]);
        }
        header.extend(addresses);
        header
    }

    fn transport_header(&self) -> Vec<Byte> {
        let port = match self.port {
            Some(port) => known_bytes(&port.to_be_bytes()),
            None => vec![UNREAD; 2],
        };
        let of_client = vec![Byte::unknown(Doubt::Source); 2];
        let mut header = match self.place {
            FlowPlace::Answer => [port, of_client].concat(),
            FlowPlace::First | FlowPlace::Later => [of_client, port].concat(),
        };
        if self.protocol == Protocol::Tcp {
            header.resize(TCP_FLAGS as usize, UNREAD);
            header.push(match self.place {
                FlowPlace::First => TCP_SYN.into(),
                FlowPlace::Answer => (TCP_SYN | TCP_ACK).into(),
                FlowPlace::Later => Byte::partly(TCP_ACK, TCP_SYN | TCP_ACK),
            });
        }
        header
    }
}

/// Byte that is kept in what we do not read.
const UNREAD: Byte = Byte::unknown(Doubt::Unread);
/// Most bytes that one expression loads: all registers.
const MAX_LOAD_BYTES: u32 = 64;

impl Packet {
    /// The first packet of a flow to a port of this host, from anybody.
    pub(super) fn first(family: u8, protocol: Protocol, port: u16) -> Self {
        Self {
            family,
            protocol,
            place: FlowPlace::First,
            client: None,
            server: None,
            own: Some(true),
            port: Some(port),
            asked: port,
            translated: false,
            tracked: true,
            known_flow: true,
            past_conntrack: true,
            ordinary: false,
            incoming: None,
            outgoing: None,
        }
    }
}
