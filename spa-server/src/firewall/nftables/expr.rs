//! Words as the expressions of the kernel's little machine: load into a register, compare, act.
//! `nft --debug=netlink` shows the same for the printed text.

use super::abi;
use super::anonymous::ifname;
use super::model::{BAN, Family, Form, Pair, Rule, View, Word};
use super::writer::{EQ, GTE, LTE, NEQ, NETWORK, R1, R2, TRANSPORT, Writer};
use crate::domain::ports::Protocol;
use crate::firewall::netlink::Nla;

/// Registers of four bytes, from number 8 on: 8..11 are the first register's parts and 12..15 the
/// second one's.
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
            Word::Plain(family) => {
                self.family(*family);
                // Both times what is not the code point or the label stays.
                match family {
                    Family::V4 => self.masked(0, &[0xff, 0x03], true),
                    Family::V6 => {
                        self.masked(0, &[0xf0, 0x3f], false);
                        self.masked(1, &[0xf0, 0, 0], false);
                    }
                }
            }
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

    /// Clears bits of the network header.
    fn masked(&mut self, offset: u32, stay: &[u8], checksum: bool) {
        let len = u32::try_from(stay.len()).unwrap_or_default();
        self.payload(NETWORK, offset, len, R1);
        self.mask(stay);
        self.overwrite(offset, len, checksum);
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
