//! Words as the expressions of the kernel's little machine: load into a register, compare, act.
//! `nft --debug=netlink` shows the same for the printed text.

use std::net::IpAddr;

use super::abi::{self, rule};
use super::anonymous::{ANONYMOUS_NAME, ifname};
use super::model::{BAN, Family, Form, Pair, Rule, View, Word};
use crate::firewall::Target;
use crate::firewall::netlink::Nla;
use crate::ports::Protocol;

/// Registers of 16 bytes: verdict, first, second; and of four bytes from number 8 on, where 8..11
/// are the first one's parts and 12..15 the second one's.
const VERDICT: u32 = 0;
const R1: u32 = 1;
const R2: u32 = 2;
const R32_1: u32 = 9;
const R32_2: u32 = 10;
const R32_5: u32 = 13;

/// `NFT_META_*`
const META_IIF: u32 = 4;
const META_OIF: u32 = 5;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
/// `NFT_CMP_*`
const EQ: u32 = 0;
const NEQ: u32 = 1;
const LTE: u32 = 3;
const GTE: u32 = 5;
/// `NFT_PAYLOAD_NETWORK_HEADER`, `NFT_PAYLOAD_TRANSPORT_HEADER`
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
/// Offset in bytes in the TCP header of the flags (RFC 9293 §3.1), and FIN, SYN, RST, ACK in them.
const TCP_FLAGS: u32 = 13;
const FIN_SYN_RST_ACK: u8 = 0x17;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
/// `NF_CT_STATE_BIT`: invalid 1, established 2, related 4, new 8, untracked 64.
const CT_ESTABLISHED_RELATED: u32 = 6;
const CT_NEW: u32 = 8;
const CT_INVALID_UNTRACKED: u32 = 65;
/// `IPPROTO_ICMP`, `IPPROTO_ICMPV6`
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Writes the expressions of a rule. `ids` are the numbers of its anonymous sets.
pub(super) fn encode(out: &mut Nla, words: &Rule, ids: &[u32]) {
    let mut writer = Writer { out, family: None, protocol: None, ids: ids.iter() };
    for word in words {
        writer.word(word);
    }
}

struct Writer<'a> {
    out: &'a mut Nla,
    /// What the rule has tested already, so that it is not tested twice.
    family: Option<Family>,
    protocol: Option<u8>,
    ids: std::slice::Iter<'a, u32>,
}

impl Writer<'_> {
    fn word(&mut self, word: &Word) {
        match word {
            Word::Loopback => {
                self.meta(META_IIF, R1);
                self.compare(EQ, &1u32.to_ne_bytes());
            }
            Word::LoopbackOut => {
                self.meta(META_OIF, R1);
                self.compare(EQ, &1u32.to_ne_bytes());
            }
            Word::NotFrom(names) => self.interface(META_IIFNAME, names, false),
            Word::NotTo(names) => self.interface(META_OIFNAME, names, false),
            Word::To(protocol, set) => self.port(*protocol, 2, set),
            Word::From(protocol, set) => self.port(*protocol, 0, set),
            Word::ToPorts(protocol, ports) => {
                self.protocol(protocol.number());
                self.payload(TRANSPORT, 2, 2, R1);
                match ports.as_slice() {
                    [one] if one.first == one.last => self.compare(EQ, &one.first.to_be_bytes()),
                    [one] => {
                        self.compare(GTE, &one.first.to_be_bytes());
                        self.compare(LTE, &one.last.to_be_bytes());
                    }
                    _ => self.anonymous(true),
                }
            }
            Word::Dhcp4 => {
                self.protocol(Protocol::Udp.number());
                self.payload(TRANSPORT, 0, 4, R1);
                self.compare(EQ, &[0, 67, 0, 68]);
            }
            Word::Dhcp6 => {
                self.source(Family::V6, R1);
                let mut link_local = [0; 16];
                link_local[..2].copy_from_slice(&[0xff, 0xc0]);
                self.mask(&link_local);
                link_local[..2].copy_from_slice(&[0xfe, 0x80]);
                self.compare(EQ, &link_local);
                self.protocol(Protocol::Udp.number());
                self.payload(TRANSPORT, 2, 2, R1);
                self.compare(EQ, &546u16.to_be_bytes());
            }
            Word::Local => self.local(),
            Word::Held { family, view, set, inside } => self.held(*family, *view, *set, *inside),
            Word::Banned(family) => {
                self.banned(*family);
                self.lookup(BAN.of(*family), None, true);
            }
            Word::Asked(protocol, set) => {
                self.protocol(protocol.number());
                self.asked(R1);
                self.lookup(set, None, true);
            }
            Word::Original => self.direction(0),
            Word::Reply => self.direction(1),
            Word::Untracked => self.ct_state(CT_INVALID_UNTRACKED),
            Word::OutTo(names) => self.interface(META_OIFNAME, names, true),
            Word::SendOn(to) => self.send_on(to),
            Word::Established => self.ct_state(CT_ESTABLISHED_RELATED),
            Word::New => self.ct_state(CT_NEW),
            Word::Rst => {
                self.protocol(Protocol::Tcp.number());
                self.payload(TRANSPORT, TCP_FLAGS, 1, R1);
                self.mask(&[RST]);
                self.compare(EQ, &[RST]);
            }
            Word::Syn => {
                self.protocol(Protocol::Tcp.number());
                self.payload(TRANSPORT, TCP_FLAGS, 1, R1);
                self.mask(&[FIN_SYN_RST_ACK]);
                self.compare(EQ, &[SYN]);
            }
            Word::Icmp(family, _) => {
                self.family(*family);
                self.protocol(if *family == Family::V4 { ICMP } else { ICMPV6 });
                self.payload(TRANSPORT, 0, 1, R1);
                self.anonymous(true);
            }
            Word::Is(protocol) => self.protocol(protocol.number()),
            Word::Ban(family, time) => {
                self.banned(*family);
                self.update(BAN.of(*family), *time);
            }
            Word::Counter => self.expr("counter", |n| {
                n.put_u64(1, 0);
                n.put_u64(2, 0);
            }),
            Word::Log { group, prefix, at_once } => self.expr("log", |n| {
                n.put_u16(1, *group);
                if !prefix.is_empty() {
                    n.put_str(2, prefix);
                }
                if *at_once {
                    n.put_u16(4, 1);
                }
            }),
            Word::Notrack => self.expr("notrack", |_| ()),
            Word::Accept => self.verdict(abi::ACCEPT, None),
            Word::Drop => self.verdict(abi::DROP, None),
            Word::Return => self.verdict(abi::RETURN, None),
            Word::Jump(chain) => self.verdict(abi::JUMP, Some(chain)),
            // NFT_REJECT_TCP_RST; NFT_REJECT_ICMPX_UNREACH with NFT_REJECT_ICMPX_PORT_UNREACH.
            Word::Reset => self.reject(1, 0),
            Word::Unreachable => self.reject(2, 1),
        }
    }

    fn expr(&mut self, name: &str, data: impl FnOnce(&mut Nla)) {
        self.out.nest(abi::LIST_ELEM, |n| {
            n.put_str(rule::EXPR_NAME, name);
            n.nest(rule::EXPR_DATA, data);
        });
    }

    fn meta(&mut self, key: u32, register: u32) {
        self.expr("meta", |n| {
            n.put_u32(1, register);
            n.put_u32(2, key);
        });
    }

    fn payload(&mut self, base: u32, offset: u32, len: u32, register: u32) {
        self.expr("payload", |n| {
            n.put_u32(1, register);
            n.put_u32(2, base);
            n.put_u32(3, offset);
            n.put_u32(4, len);
        });
    }

    fn compare(&mut self, op: u32, value: &[u8]) {
        self.expr("cmp", |n| {
            n.put_u32(1, R1);
            n.put_u32(2, op);
            n.nest(3, |n| n.put(abi::DATA_VALUE, value));
        });
    }

    fn mask(&mut self, mask: &[u8]) {
        self.expr("bitwise", |n| {
            n.put_u32(1, R1);
            n.put_u32(2, R1);
            n.put_u32(3, u32::try_from(mask.len()).unwrap_or_default());
            n.nest(4, |n| n.put(abi::DATA_VALUE, mask));
            n.nest(5, |n| n.put(abi::DATA_VALUE, &vec![0; mask.len()]));
        });
    }

    fn lookup(&mut self, set: &str, id: Option<u32>, inside: bool) {
        self.expr("lookup", |n| {
            n.put_str(1, set);
            n.put_u32(2, R1);
            if let Some(id) = id {
                n.put_u32(4, id);
            }
            if !inside {
                n.put_u32(5, 1);
            }
        });
    }

    fn anonymous(&mut self, inside: bool) {
        let id = self.ids.next().copied();
        self.lookup(ANONYMOUS_NAME, id, inside);
    }

    fn verdict(&mut self, code: i32, chain: Option<&str>) {
        self.expr("immediate", |n| {
            n.put_u32(1, VERDICT);
            n.nest(2, |n| {
                n.nest(abi::DATA_VERDICT, |n| {
                    n.put(1, &code.to_be_bytes());
                    if let Some(chain) = chain {
                        n.put_str(2, chain);
                    }
                });
            });
        });
    }

    fn reject(&mut self, kind: u32, code: u8) {
        self.expr("reject", |n| {
            n.put_u32(1, kind);
            n.put_u8(2, code);
        });
    }

    fn update(&mut self, set: &str, time: std::time::Duration) {
        self.expr("dynset", |n| {
            n.put_str(1, set);
            n.put_u32(3, 1);
            n.put_u32(4, R1);
            n.put_u64(6, super::sets::millis(time));
        });
    }

    fn ct_state(&mut self, bits: u32) {
        self.expr("ct", |n| {
            n.put_u32(1, R1);
            n.put_u32(2, 0);
        });
        self.mask(&bits.to_ne_bytes());
        self.compare(NEQ, &0u32.to_ne_bytes());
    }

    /// NFT_CT_PROTO_DST of the direction IP_CT_DIR_ORIGINAL.
    fn asked(&mut self, register: u32) {
        self.expr("ct", |n| {
            n.put_u32(1, register);
            n.put_u32(2, 12);
            n.put_u8(3, 0);
        });
    }

    /// NFT_CT_DIRECTION
    fn direction(&mut self, direction: u8) {
        self.expr("ct", |n| {
            n.put_u32(1, R1);
            n.put_u32(2, 1);
        });
        self.compare(EQ, &[direction]);
    }

    fn send_on(&mut self, to: &Target) {
        let mut load = |register: u32, value: &[u8]| {
            self.expr("immediate", |n| {
                n.put_u32(1, register);
                n.nest(2, |n| n.put(abi::DATA_VALUE, value));
            });
        };
        match to.address {
            IpAddr::V4(a) => load(R1, &a.octets()),
            IpAddr::V6(a) => load(R1, &a.octets()),
        }
        if let Some(port) = to.port {
            load(R2, &port.to_be_bytes());
        }
        self.expr("nat", |n| {
            // NFT_NAT_DNAT
            n.put_u32(1, 1);
            n.put_u32(2, u32::from(if to.address.is_ipv4() { abi::IPV4 } else { abi::IPV6 }));
            n.put_u32(3, R1);
            if to.port.is_some() {
                n.put_u32(5, R2);
            }
        });
    }

    /// NFT_FIB_RESULT_ADDRTYPE of the destination (NFTA_FIB_F_DADDR) is RTN_LOCAL.
    fn local(&mut self) {
        self.expr("fib", |n| {
            n.put_u32(1, R1);
            n.put_u32(2, 3);
            n.put_u32(3, 2);
        });
        self.compare(EQ, &2u32.to_ne_bytes());
    }

    fn family(&mut self, family: Family) {
        if self.family != Some(family) {
            self.meta(META_NFPROTO, R1);
            self.compare(EQ, &[if family == Family::V4 { abi::IPV4 } else { abi::IPV6 }]);
            self.family = Some(family);
        }
    }

    fn protocol(&mut self, protocol: u8) {
        if self.protocol != Some(protocol) {
            self.meta(META_L4PROTO, R1);
            self.compare(EQ, &[protocol]);
            self.protocol = Some(protocol);
        }
    }

    fn port(&mut self, protocol: Protocol, offset: u32, set: &str) {
        self.protocol(protocol.number());
        self.payload(TRANSPORT, offset, 2, R1);
        self.lookup(set, None, true);
    }

    fn source(&mut self, family: Family, register: u32) {
        self.family(family);
        match family {
            Family::V4 => self.payload(NETWORK, 12, 4, register),
            Family::V6 => self.payload(NETWORK, 8, 16, register),
        }
    }

    fn interface(&mut self, key: u32, names: &[String], inside: bool) {
        self.meta(key, R1);
        match names {
            [one] => self.compare(if inside { EQ } else { NEQ }, &ifname(one)),
            _ => self.anonymous(inside),
        }
    }

    fn destination(&mut self, family: Family, register: u32) {
        self.family(family);
        match family {
            Family::V4 => self.payload(NETWORK, 16, 4, register),
            Family::V6 => self.payload(NETWORK, 24, 16, register),
        }
    }

    /// Loads what the view looks at, one part behind the other, and looks it up.
    fn held(&mut self, family: Family, view: View, set: Pair, inside: bool) {
        let (protocol, port) = match family {
            Family::V4 => (R32_1, R32_2),
            Family::V6 => (R2, R32_5),
        };
        match view {
            View::Comes | View::Asked => self.source(family, R1),
            View::Goes | View::Answered => self.destination(family, R1),
        }
        if set.form != Form::Address {
            self.meta(META_L4PROTO, protocol);
        }
        if set.form == Form::AddressPort {
            match view {
                View::Comes => self.payload(TRANSPORT, 2, 2, port),
                View::Goes => self.payload(TRANSPORT, 0, 2, port),
                View::Asked | View::Answered => self.asked(port),
            }
        }
        self.lookup(set.of(family), None, inside);
    }

    fn banned(&mut self, family: Family) {
        self.source(family, R1);
        if family == Family::V6 {
            let mut half = [0; 16];
            half[..8].fill(0xff);
            self.mask(&half);
        }
    }
}
