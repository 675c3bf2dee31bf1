//! Words made into expressions. `nft --debug=netlink` shows the same for the printed text.

use super::abi::register::{R1, R2, R32_1, R32_2, R32_5, VERDICT};
use super::abi::{self, cmp, ct, dynset, fib, meta, nat, payload, reject};
use super::address_number::address_bytes;
use super::anonymous_set::{ANONYMOUS_NAME, ifname};
use super::elements::millis;
use super::expression::{Count, Expression, Register, RuleVerdict};
use super::model::{Form, LABELS_LEN, PacketView, RuleWords, Word};
use crate::domain::ports::Protocol;
use crate::firewall::Target;
use crate::firewall::address_set::{AddressSet, Family};

/// Index of the loopback interface, in every namespace.
const LOOPBACK_INDEX: u32 = 1;
/// Offsets and lengths in bytes of addresses in the network header, source then destination (RFC
/// 791 §3.1, RFC 8200 §3), and of IPv4's checksum.
const ADDRESSES_V4: [(u32, u32); 2] = [(12, 4), (16, 4)];
const ADDRESSES_V6: [(u32, u32); 2] = [(8, 16), (24, 16)];
const CHECKSUM_V4: u32 = 10;
/// Offsets in bytes in the transport header of the ports, each two bytes long.
const SOURCE_PORT: u32 = 0;
/// Offset in bytes of the destination port.
pub(super) const DESTINATION_PORT: u32 = 2;
/// Length of a port in bytes.
pub(super) const PORT_LEN: u32 = 2;
/// Offset in bytes in the TCP header of the flags (RFC 9293 §3.1), and FIN, SYN, RST, ACK in them.
pub(super) const TCP_FLAGS: u32 = 13;
const FIN_SYN_RST_ACK: u8 = 0x17;
/// Flags byte of a connection's first packet.
pub(super) const TCP_SYN: u8 = 0x02;
const TCP_RST_FLAG: u8 = 0x04;
/// Flag of every later packet.
pub(super) const TCP_ACK: u8 = 0x10;
/// `IPPROTO_ICMP`, `IPPROTO_ICMPV6`
const IPPROTO_ICMP: u8 = 1;
const IPPROTO_ICMPV6: u8 = 58;

/// Length of a value in bytes.
fn value_length(value: &[u8]) -> u32 {
    u32::try_from(value.len()).unwrap_or(u32::MAX)
}

/// Makes the expressions of a rule. `ids` are the numbers of its anonymous sets.
pub(super) fn compile_rule(words: &RuleWords, ids: &[u32]) -> Vec<Expression> {
    let mut compiler = Compiler { out: Vec::new(), family: None, protocol: None, ids: ids.iter() };
    for word in words {
        compiler.compile_word(word);
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
    fn compile_word(&mut self, word: &Word) {
        match word {
            Word::Loopback => self.match_meta(meta::IIF, &LOOPBACK_INDEX.to_ne_bytes()),
            Word::LoopbackOut => self.match_meta(meta::OIF, &LOOPBACK_INDEX.to_ne_bytes()),
            Word::NotFrom(names) => self.match_interface(meta::IIFNAME, names, false),
            Word::NotTo(names) => self.match_interface(meta::OIFNAME, names, false),
            Word::OutTo(names) => self.match_interface(meta::OIFNAME, names, true),
            Word::To(protocol, set) => self.match_port(*protocol, DESTINATION_PORT, set),
            Word::From(protocol, set) => self.match_port(*protocol, SOURCE_PORT, set),
            Word::ToPorts(protocol, ports) => {
                self.test_protocol(protocol.number());
                self.load_transport(DESTINATION_PORT, PORT_LEN, R1);
                match ports.as_slice() {
                    [one] if one.first == one.last => self.match_value(&one.first.to_be_bytes()),
                    [one] => {
                        self.compare(cmp::GTE, &one.first.to_be_bytes());
                        self.compare(cmp::LTE, &one.last.to_be_bytes());
                    }
                    _ => self.look_up_anonymous(true),
                }
            }
            Word::Dhcp4 => {
                self.test_protocol(Protocol::Udp.number());
                self.load_transport(SOURCE_PORT, 2 * PORT_LEN, R1);
                self.match_value(&[0, 67, 0, 68]);
            }
            Word::Dhcp6 => {
                self.load_source(Family::V6, R1);
                let mut link_local = [0; 16];
                link_local[..2].copy_from_slice(&[0xff, 0xc0]);
                self.mask_register(&link_local);
                link_local[..2].copy_from_slice(&[0xfe, 0x80]);
                self.match_value(&link_local);
                self.test_protocol(Protocol::Udp.number());
                self.load_transport(DESTINATION_PORT, PORT_LEN, R1);
                self.match_value(&546u16.to_be_bytes());
            }
            Word::FromLocal => self.match_local_address(fib::F_SADDR),
            Word::Local => self.match_local_address(fib::F_DADDR),
            Word::Held { family, view, set, inside } => {
                self.look_up_held(*family, *view, *set, *inside)
            }
            Word::Banned(family) => {
                self.load_banned(*family);
                self.look_up(AddressSet::Ban.name(*family), None, true);
            }
            Word::Asked(protocol, set) => {
                self.test_protocol(protocol.number());
                self.load_asked_port(R1);
                self.look_up(set, None, true);
            }
            Word::Original => self.match_direction(ct::ORIGINAL),
            Word::Reply => self.match_direction(ct::REPLY),
            Word::Untracked => self.match_ct_state(ct::INVALID | ct::UNTRACKED),
            Word::Established => self.match_ct_state(ct::ESTABLISHED),
            Word::Related => self.match_ct_state(ct::RELATED),
            Word::Redirected => self.match_ct_bits(ct::STATUS, ct::DST_NAT),
            Word::New => self.match_ct_state(ct::NEW),
            Word::SendOn(to) => self.push_nat(to),
            Word::Rst => self.match_tcp_flags(TCP_RST_FLAG, TCP_RST_FLAG),
            Word::Syn => self.match_tcp_flags(FIN_SYN_RST_ACK, TCP_SYN),
            Word::Icmp(family, _) => {
                self.test_family(*family);
                self.test_protocol(if *family == Family::V4 {
                    IPPROTO_ICMP
                } else {
                    IPPROTO_ICMPV6
                });
                self.load_transport(0, 1, R1);
                self.look_up_anonymous(true);
            }
            Word::Is(protocol) => self.test_protocol(protocol.number()),
            Word::Ban(family, time) => {
                self.load_banned(*family);
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
                self.test_family(*family);
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
            Word::Labelled(label) => {
                self.out.push(Expression::Ct { into: R1, key: ct::LABELS, direction: None });
                self.mask_register(&label.bits());
                self.compare(cmp::NEQ, &[0; LABELS_LEN]);
            }
            Word::Label(label) => {
                let value = label.bits().to_vec();
                self.out.push(Expression::Load { into: R1, value });
                self.out.push(Expression::SetCt { from: R1, key: ct::LABELS });
            }
            Word::Accept => self.push_verdict(RuleVerdict::Accept),
            Word::Drop => self.push_verdict(RuleVerdict::Drop),
            Word::Return => self.push_verdict(RuleVerdict::Return),
            Word::Jump(chain) => self.push_verdict(RuleVerdict::Jump((*chain).to_owned())),
            Word::Reset => self.out.push(Expression::Reject { kind: reject::TCP_RST, code: None }),
            Word::Unreachable => self.out.push(Expression::Reject {
                kind: reject::ICMPX_UNREACH,
                code: Some(reject::ICMPX_PORT_UNREACH),
            }),
        }
    }

    fn test_family(&mut self, family: Family) {
        if self.family != Some(family) {
            self.match_meta(meta::NFPROTO, &[family.number()]);
            self.family = Some(family);
        }
    }

    fn test_protocol(&mut self, protocol: u8) {
        if self.protocol != Some(protocol) {
            self.match_meta(meta::L4PROTO, &[protocol]);
            self.protocol = Some(protocol);
        }
    }

    fn match_meta(&mut self, key: u32, value: &[u8]) {
        self.out.push(Expression::Meta { into: R1, key });
        self.match_value(value);
    }

    fn load_transport(&mut self, offset: u32, len: u32, into: Register) {
        self.out.push(Expression::Payload { into, base: payload::TRANSPORT_HEADER, offset, len });
    }

    fn match_port(&mut self, protocol: Protocol, offset: u32, set: &str) {
        self.test_protocol(protocol.number());
        self.load_transport(offset, PORT_LEN, R1);
        self.look_up(set, None, true);
    }

    fn match_tcp_flags(&mut self, mask: u8, value: u8) {
        self.test_protocol(Protocol::Tcp.number());
        self.load_transport(TCP_FLAGS, 1, R1);
        self.mask_register(&[mask]);
        self.match_value(&[value]);
    }

    fn load_source(&mut self, family: Family, into: Register) {
        self.load_address(family, false, into);
    }

    fn load_address(&mut self, family: Family, destination: bool, into: Register) {
        self.test_family(family);
        let [source, last] = if family == Family::V4 { ADDRESSES_V4 } else { ADDRESSES_V6 };
        let (offset, len) = if destination { last } else { source };
        self.out.push(Expression::Payload { into, base: payload::NETWORK_HEADER, offset, len });
    }

    fn match_interface(&mut self, key: u32, names: &[String], inside: bool) {
        self.out.push(Expression::Meta { into: R1, key });
        match names {
            [one] => self.compare(if inside { cmp::EQ } else { cmp::NEQ }, &ifname(one)),
            _ => self.look_up_anonymous(inside),
        }
    }

    /// Loads what the view looks at, one part behind the other, and looks it up.
    fn look_up_held(&mut self, family: Family, view: PacketView, set: AddressSet, inside: bool) {
        let (protocol, port) = match family {
            Family::V4 => (R32_1, R32_2),
            Family::V6 => (R2, R32_5),
        };
        self.load_address(family, matches!(view, PacketView::Goes | PacketView::Answered), R1);
        if set.form() != Form::Address {
            self.out.push(Expression::Meta { into: protocol, key: meta::L4PROTO });
        }
        if set.form() == Form::AddressPort {
            match view {
                PacketView::Comes => self.load_transport(DESTINATION_PORT, PORT_LEN, port),
                PacketView::Goes => self.load_transport(SOURCE_PORT, PORT_LEN, port),
                PacketView::Asked | PacketView::Answered => self.load_asked_port(port),
            }
        }
        self.look_up(set.name(family), None, inside);
    }

    /// Loads the source as it is banned.
    fn load_banned(&mut self, family: Family) {
        self.load_source(family, R1);
        if family == Family::V6 {
            let mut half = [0; 16];
            half[..8].fill(0xff);
            self.mask_register(&half);
        }
    }

    /// Clears bits of the network header.
    fn clear_bits(&mut self, offset: u32, stay: &[u8], checksum: bool) {
        let (base, len) = (payload::NETWORK_HEADER, value_length(stay));
        self.out.push(Expression::Payload { into: R1, base, offset, len });
        self.mask_register(stay);
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

    fn load_asked_port(&mut self, into: Register) {
        let direction = Some(ct::ORIGINAL);
        self.out.push(Expression::Ct { into, key: ct::PROTO_DST, direction });
    }

    fn match_local_address(&mut self, flags: u32) {
        self.out.push(Expression::Fib { into: R1, result: fib::ADDRTYPE, flags });
        self.match_value(&fib::RTN_LOCAL.to_ne_bytes());
    }

    fn match_ct_state(&mut self, bits: u32) {
        self.match_ct_bits(ct::STATE, bits);
    }

    fn match_ct_bits(&mut self, key: u32, bits: u32) {
        self.out.push(Expression::Ct { into: R1, key, direction: None });
        self.mask_register(&bits.to_ne_bytes());
        self.compare(cmp::NEQ, &0u32.to_ne_bytes());
    }

    fn match_direction(&mut self, direction: u8) {
        self.out.push(Expression::Ct { into: R1, key: ct::FLOW_DIRECTION, direction: None });
        self.match_value(&[direction]);
    }

    fn push_nat(&mut self, to: &Target) {
        let family = if to.address.is_ipv4() { abi::NFPROTO_IPV4 } else { abi::NFPROTO_IPV6 };
        self.out.push(Expression::Load { into: R1, value: address_bytes(to.address) });
        if let Some(port) = to.port {
            self.out.push(Expression::Load { into: R2, value: port.to_be_bytes().to_vec() });
        }
        self.out.push(Expression::Nat {
            kind: nat::DNAT,
            family: family.into(),
            address: Some(R1),
            last_address: None,
            port: to.port.map(|_| R2),
            last_port: None,
            flags: None,
        });
    }

    fn match_value(&mut self, value: &[u8]) {
        self.compare(cmp::EQ, value);
    }

    fn compare(&mut self, op: u32, value: &[u8]) {
        self.out.push(Expression::Cmp { register: R1, op, value: value.to_vec() });
    }

    fn mask_register(&mut self, mask: &[u8]) {
        let (len, xor) = (value_length(mask), vec![0; mask.len()]);
        let mask = mask.to_vec();
        self.out.push(Expression::Bitwise { from: R1, into: R1, len, mask, xor });
    }

    fn look_up(&mut self, set: &str, id: Option<u32>, inside: bool) {
        let set = set.to_owned();
        self.out.push(Expression::Lookup { register: R1, set, id, inverted: !inside });
    }

    fn look_up_anonymous(&mut self, inside: bool) {
        let id = self.ids.next().copied();
        self.look_up(ANONYMOUS_NAME, id, inside);
    }

    fn push_verdict(&mut self, verdict: RuleVerdict) {
        self.out.push(Expression::Decide { into: VERDICT, verdict });
    }
}
