//! Words made into expressions. `nft --debug=netlink` shows the same for the printed text.

use std::net::IpAddr;

use super::abi::register::{R1, R2, R32_1, R32_2, R32_5, VERDICT};
use super::abi::{self, cmp, ct, dynset, fib, meta, nat, payload, reject};
use super::anonymous_set::{ANONYMOUS_NAME, ifname};
use super::elements::millis;
use super::expression::{Count, Expression, Register, Verdict};
use super::model::{Form, PacketView, RuleWords, Word};
use crate::firewall::Target;
use crate::firewall::address_set::{AddressSet, Family};
use crate::ports::Protocol;

/// Index of the loopback interface, in every namespace.
const LOOPBACK_INDEX: u32 = 1;
/// Offsets and lengths in bytes of addresses in the network header, source then destination (RFC
/// 791 §3.1, RFC 8200 §3), and of IPv4's checksum.
const ADDRESSES_V4: [(u32, u32); 2] = [(12, 4), (16, 4)];
const ADDRESSES_V6: [(u32, u32); 2] = [(8, 16), (24, 16)];
const CHECKSUM_V4: u32 = 10;
/// Offsets in bytes in the transport header of the ports, each two bytes long.
const SOURCE_PORT: u32 = 0;
pub(super) const DESTINATION_PORT: u32 = 2;
pub(super) const PORT_LEN: u32 = 2;
/// Offset in bytes in the TCP header of the flags (RFC 9293 §3.1), and FIN, SYN, RST, ACK in them.
pub(super) const TCP_FLAGS: u32 = 13;
const FIN_SYN_RST_ACK: u8 = 0x17;
pub(super) const SYN: u8 = 0x02;
const RST: u8 = 0x04;
/// `IPPROTO_ICMP`, `IPPROTO_ICMPV6`
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Length of a value in bytes.
fn length(value: &[u8]) -> u32 {
    u32::try_from(value.len()).unwrap_or(u32::MAX)
}

/// Makes the expressions of a rule. `ids` are the numbers of its anonymous sets.
pub(super) fn compile_rule(words: &RuleWords, ids: &[u32]) -> Vec<Expression> {
    let mut compiler = Compiler { out: Vec::new(), family: None, protocol: None, ids: ids.iter() };
    for word in words {
        compiler.word(word);
    }
    compiler.out
}

struct Compiler<'a> {
    out: Vec<Expression>,
    /// Tested by the rule already, so that it is not tested twice.
    family: Option<Family>,
    protocol: Option<u8>,
    ids: std::slice::Iter<'a, u32>,
}

impl Compiler<'_> {
    fn word(&mut self, word: &Word) {
        match word {
            Word::Loopback => self.meta_is(meta::IIF, &LOOPBACK_INDEX.to_ne_bytes()),
            Word::LoopbackOut => self.meta_is(meta::OIF, &LOOPBACK_INDEX.to_ne_bytes()),
            Word::NotFrom(names) => self.interface(meta::IIFNAME, names, false),
            Word::NotTo(names) => self.interface(meta::OIFNAME, names, false),
            Word::OutTo(names) => self.interface(meta::OIFNAME, names, true),
            Word::To(protocol, set) => self.port_in(*protocol, DESTINATION_PORT, set),
            Word::From(protocol, set) => self.port_in(*protocol, SOURCE_PORT, set),
            Word::ToPorts(protocol, ports) => {
                self.protocol(protocol.number());
                self.transport(DESTINATION_PORT, PORT_LEN, R1);
                match ports.as_slice() {
                    [one] if one.first == one.last => self.is(&one.first.to_be_bytes()),
                    [one] => {
                        self.compare(cmp::GTE, &one.first.to_be_bytes());
                        self.compare(cmp::LTE, &one.last.to_be_bytes());
                    }
                    _ => self.in_anonymous(true),
                }
            }
            Word::Dhcp4 => {
                self.protocol(Protocol::Udp.number());
                self.transport(SOURCE_PORT, 2 * PORT_LEN, R1);
                self.is(&[0, 67, 0, 68]);
            }
            Word::Dhcp6 => {
                self.source(Family::V6, R1);
                let mut link_local = [0; 16];
                link_local[..2].copy_from_slice(&[0xff, 0xc0]);
                self.mask(&link_local);
                link_local[..2].copy_from_slice(&[0xfe, 0x80]);
                self.is(&link_local);
                self.protocol(Protocol::Udp.number());
                self.transport(DESTINATION_PORT, PORT_LEN, R1);
                self.is(&546u16.to_be_bytes());
            }
            Word::Local => {
                let (result, flags) = (fib::ADDRTYPE, fib::F_DADDR);
                self.out.push(Expression::Fib { into: R1, result, flags });
                self.is(&fib::RTN_LOCAL.to_ne_bytes());
            }
            Word::Held { family, view, set, inside } => self.held(*family, *view, *set, *inside),
            Word::Banned(family) => {
                self.banned(*family);
                self.lookup(AddressSet::Ban.name(*family), None, true);
            }
            Word::Asked(protocol, set) => {
                self.protocol(protocol.number());
                self.asked_port(R1);
                self.lookup(set, None, true);
            }
            Word::Original => self.direction(ct::ORIGINAL),
            Word::Reply => self.direction(ct::REPLY),
            Word::Untracked => self.ct_state(ct::INVALID | ct::UNTRACKED),
            Word::Established => self.ct_state(ct::ESTABLISHED | ct::RELATED),
            Word::New => self.ct_state(ct::NEW),
            Word::SendOn(to) => self.send_on(to),
            Word::Rst => self.tcp_flags(RST, RST),
            Word::Syn => self.tcp_flags(FIN_SYN_RST_ACK, SYN),
            Word::Icmp(family, _) => {
                self.family(*family);
                self.protocol(if *family == Family::V4 { ICMP } else { ICMPV6 });
                self.transport(0, 1, R1);
                self.in_anonymous(true);
            }
            Word::Is(protocol) => self.protocol(protocol.number()),
            Word::Ban(family, time) => {
                self.banned(*family);
                self.out.push(Expression::Update {
                    set: AddressSet::Ban.name(*family).to_owned(),
                    op: dynset::UPDATE,
                    register: R1,
                    timeout_ms: millis(*time),
                });
            }
            Word::Counter => self.out.push(Count::default().expression()),
            Word::Log { group, prefix, at_once } => self.out.push(Expression::Log {
                group: Some(*group),
                prefix: Some(prefix.clone()).filter(|prefix| !prefix.is_empty()),
                threshold: at_once.then_some(1),
            }),
            Word::Plain(family) => {
                self.family(*family);
                // Each time what is not the code point or the label stays.
                match family {
                    Family::V4 => self.clear_bits(0, &[0xff, 0x03], true),
                    Family::V6 => {
                        self.clear_bits(0, &[0xf0, 0x3f], false);
                        self.clear_bits(1, &[0xf0, 0, 0], false);
                    }
                }
            }
            Word::Notrack => self.out.push(Expression::Notrack {}),
            Word::Accept => self.verdict(Verdict::Accept),
            Word::Drop => self.verdict(Verdict::Drop),
            Word::Return => self.verdict(Verdict::Return),
            Word::Jump(chain) => self.verdict(Verdict::Jump((*chain).to_owned())),
            Word::Reset => self.out.push(Expression::Reject { kind: reject::TCP_RST, code: None }),
            Word::Unreachable => self.out.push(Expression::Reject {
                kind: reject::ICMPX_UNREACH,
                code: Some(reject::ICMPX_PORT_UNREACH),
            }),
        }
    }

    fn family(&mut self, family: Family) {
        if self.family != Some(family) {
            self.meta_is(meta::NFPROTO, &[family.number()]);
            self.family = Some(family);
        }
    }

    fn protocol(&mut self, protocol: u8) {
        if self.protocol != Some(protocol) {
            self.meta_is(meta::L4PROTO, &[protocol]);
            self.protocol = Some(protocol);
        }
    }

    fn meta_is(&mut self, key: u32, value: &[u8]) {
        self.out.push(Expression::Meta { into: R1, key });
        self.is(value);
    }

    fn transport(&mut self, offset: u32, len: u32, into: Register) {
        self.out.push(Expression::Payload { into, base: payload::TRANSPORT_HEADER, offset, len });
    }

    fn port_in(&mut self, protocol: Protocol, offset: u32, set: &str) {
        self.protocol(protocol.number());
        self.transport(offset, PORT_LEN, R1);
        self.lookup(set, None, true);
    }

    fn tcp_flags(&mut self, mask: u8, value: u8) {
        self.protocol(Protocol::Tcp.number());
        self.transport(TCP_FLAGS, 1, R1);
        self.mask(&[mask]);
        self.is(&[value]);
    }

    fn source(&mut self, family: Family, into: Register) {
        self.address(family, false, into);
    }

    fn address(&mut self, family: Family, destination: bool, into: Register) {
        self.family(family);
        let [source, last] = if family == Family::V4 { ADDRESSES_V4 } else { ADDRESSES_V6 };
        let (offset, len) = if destination { last } else { source };
        self.out.push(Expression::Payload { into, base: payload::NETWORK_HEADER, offset, len });
    }

    fn interface(&mut self, key: u32, names: &[String], inside: bool) {
        self.out.push(Expression::Meta { into: R1, key });
        match names {
            [one] => self.compare(if inside { cmp::EQ } else { cmp::NEQ }, &ifname(one)),
            _ => self.in_anonymous(inside),
        }
    }

    /// Loads what the view looks at, one part behind the other, and looks it up.
    fn held(&mut self, family: Family, view: PacketView, set: AddressSet, inside: bool) {
        let (protocol, port) = match family {
            Family::V4 => (R32_1, R32_2),
            Family::V6 => (R2, R32_5),
        };
        self.address(family, matches!(view, PacketView::Goes | PacketView::Answered), R1);
        if set.form() != Form::Address {
            self.out.push(Expression::Meta { into: protocol, key: meta::L4PROTO });
        }
        if set.form() == Form::AddressPort {
            match view {
                PacketView::Comes => self.transport(DESTINATION_PORT, PORT_LEN, port),
                PacketView::Goes => self.transport(SOURCE_PORT, PORT_LEN, port),
                PacketView::Asked | PacketView::Answered => self.asked_port(port),
            }
        }
        self.lookup(set.name(family), None, inside);
    }

    /// Loads the source as it is banned.
    fn banned(&mut self, family: Family) {
        self.source(family, R1);
        if family == Family::V6 {
            let mut half = [0; 16];
            half[..8].fill(0xff);
            self.mask(&half);
        }
    }

    /// Clears bits of the network header.
    fn clear_bits(&mut self, offset: u32, stay: &[u8], checksum: bool) {
        let (base, len) = (payload::NETWORK_HEADER, length(stay));
        self.out.push(Expression::Payload { into: R1, base, offset, len });
        self.mask(stay);
        let (checksum, checksum_offset) =
            if checksum { (payload::CSUM_INET, CHECKSUM_V4) } else { (payload::CSUM_NONE, 0) };
        let from = R1;
        self.out.push(Expression::SetPayload {
            from,
            base,
            offset,
            len,
            checksum,
            checksum_offset,
        });
    }

    fn asked_port(&mut self, into: Register) {
        let direction = Some(ct::ORIGINAL);
        self.out.push(Expression::Ct { into, key: ct::PROTO_DST, direction });
    }

    fn ct_state(&mut self, bits: u32) {
        self.out.push(Expression::Ct { into: R1, key: ct::STATE, direction: None });
        self.mask(&bits.to_ne_bytes());
        self.compare(cmp::NEQ, &0u32.to_ne_bytes());
    }

    fn direction(&mut self, direction: u8) {
        self.out.push(Expression::Ct { into: R1, key: ct::FLOW_DIRECTION, direction: None });
        self.is(&[direction]);
    }

    fn send_on(&mut self, to: &Target) {
        let (value, family) = match to.address {
            IpAddr::V4(a) => (a.octets().to_vec(), abi::IPV4),
            IpAddr::V6(a) => (a.octets().to_vec(), abi::IPV6),
        };
        self.out.push(Expression::Load { into: R1, value });
        if let Some(port) = to.port {
            self.out.push(Expression::Load { into: R2, value: port.to_be_bytes().to_vec() });
        }
        self.out.push(Expression::Nat {
            kind: nat::DNAT,
            family: family.into(),
            address: R1,
            last_address: None,
            port: to.port.map(|_| R2),
            last_port: None,
            flags: None,
        });
    }

    fn is(&mut self, value: &[u8]) {
        self.compare(cmp::EQ, value);
    }

    fn compare(&mut self, op: u32, value: &[u8]) {
        self.out.push(Expression::Cmp { register: R1, op, value: value.to_vec() });
    }

    fn mask(&mut self, mask: &[u8]) {
        let (len, xor) = (length(mask), vec![0; mask.len()]);
        let mask = mask.to_vec();
        self.out.push(Expression::Bitwise { from: R1, into: R1, len, mask, xor });
    }

    fn lookup(&mut self, set: &str, id: Option<u32>, inside: bool) {
        let set = set.to_owned();
        self.out.push(Expression::Lookup { register: R1, set, id, inverted: !inside });
    }

    fn in_anonymous(&mut self, inside: bool) {
        let id = self.ids.next().copied();
        self.lookup(ANONYMOUS_NAME, id, inside);
    }

    fn verdict(&mut self, verdict: Verdict) {
        self.out.push(Expression::Decide { into: VERDICT, verdict });
    }
}
