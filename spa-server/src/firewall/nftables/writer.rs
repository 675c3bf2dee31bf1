//! The kernel's little machine, one expression at a time (linux/netfilter/nf_tables.h).

use std::net::IpAddr;

use super::abi::{self, rule};
use super::anonymous::ANONYMOUS_NAME;
use super::model::Family;
use crate::firewall::Target;
use crate::firewall::netlink::Nla;

/// Registers of 16 bytes: verdict, first, second.
const VERDICT: u32 = 0;
pub(super) const R1: u32 = 1;
pub(super) const R2: u32 = 2;
/// `NFT_CMP_*`
pub(super) const EQ: u32 = 0;
pub(super) const NEQ: u32 = 1;
pub(super) const LTE: u32 = 3;
pub(super) const GTE: u32 = 5;
/// `NFT_PAYLOAD_NETWORK_HEADER`, `NFT_PAYLOAD_TRANSPORT_HEADER`
pub(super) const NETWORK: u32 = 1;
pub(super) const TRANSPORT: u32 = 2;

/// Writes the expressions of one rule.
pub(super) struct Writer<'a> {
    pub(super) out: &'a mut Nla,
    /// What the rule has tested already, so that it is not tested twice.
    pub(super) family: Option<Family>,
    pub(super) protocol: Option<u8>,
    pub(super) ids: std::slice::Iter<'a, u32>,
}

impl Writer<'_> {
    pub(super) fn expr(&mut self, name: &str, data: impl FnOnce(&mut Nla)) {
        self.out.nest(abi::LIST_ELEM, |n| {
            n.put_str(rule::EXPR_NAME, name);
            n.nest(rule::EXPR_DATA, data);
        });
    }

    pub(super) fn meta(&mut self, key: u32, register: u32) {
        self.expr("meta", |n| {
            n.put_u32(1, register);
            n.put_u32(2, key);
        });
    }

    pub(super) fn payload(&mut self, base: u32, offset: u32, len: u32, register: u32) {
        self.expr("payload", |n| {
            n.put_u32(1, register);
            n.put_u32(2, base);
            n.put_u32(3, offset);
            n.put_u32(4, len);
        });
    }

    pub(super) fn compare(&mut self, op: u32, value: &[u8]) {
        self.expr("cmp", |n| {
            n.put_u32(1, R1);
            n.put_u32(2, op);
            n.nest(3, |n| n.put(abi::DATA_VALUE, value));
        });
    }

    pub(super) fn mask(&mut self, mask: &[u8]) {
        self.expr("bitwise", |n| {
            n.put_u32(1, R1);
            n.put_u32(2, R1);
            n.put_u32(3, u32::try_from(mask.len()).unwrap_or_default());
            n.nest(4, |n| n.put(abi::DATA_VALUE, mask));
            n.nest(5, |n| n.put(abi::DATA_VALUE, &vec![0; mask.len()]));
        });
    }

    pub(super) fn lookup(&mut self, set: &str, id: Option<u32>, inside: bool) {
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

    pub(super) fn anonymous(&mut self, inside: bool) {
        let id = self.ids.next().copied();
        self.lookup(ANONYMOUS_NAME, id, inside);
    }

    pub(super) fn verdict(&mut self, code: i32, chain: Option<&str>) {
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

    pub(super) fn reject(&mut self, kind: u32, code: u8) {
        self.expr("reject", |n| {
            n.put_u32(1, kind);
            n.put_u8(2, code);
        });
    }

    pub(super) fn update(&mut self, set: &str, time: std::time::Duration) {
        self.expr("dynset", |n| {
            n.put_str(1, set);
            n.put_u32(3, 1);
            n.put_u32(4, R1);
            n.put_u64(6, super::sets::millis(time));
        });
    }

    pub(super) fn ct_state(&mut self, bits: u32) {
        self.expr("ct", |n| {
            n.put_u32(1, R1);
            n.put_u32(2, 0);
        });
        self.mask(&bits.to_ne_bytes());
        self.compare(NEQ, &0u32.to_ne_bytes());
    }

    /// NFT_CT_PROTO_DST of the direction IP_CT_DIR_ORIGINAL.
    pub(super) fn asked(&mut self, register: u32) {
        self.expr("ct", |n| {
            n.put_u32(1, register);
            n.put_u32(2, 12);
            n.put_u8(3, 0);
        });
    }

    /// NFT_CT_DIRECTION
    pub(super) fn direction(&mut self, direction: u8) {
        self.expr("ct", |n| {
            n.put_u32(1, R1);
            n.put_u32(2, 1);
        });
        self.compare(EQ, &[direction]);
    }

    pub(super) fn send_on(&mut self, to: &Target) {
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
    pub(super) fn local(&mut self) {
        self.expr("fib", |n| {
            n.put_u32(1, R1);
            n.put_u32(2, 3);
            n.put_u32(3, 2);
        });
        self.compare(EQ, &2u32.to_ne_bytes());
    }

    /// Puts the register into the packet.
    pub(super) fn overwrite(&mut self, offset: u32, len: u32, checksum: bool) {
        self.expr("payload", |n| {
            n.put_u32(5, R1);
            n.put_u32(2, NETWORK);
            n.put_u32(3, offset);
            n.put_u32(4, len);
            // NFT_PAYLOAD_CSUM_INET, at IPv4's place of it (RFC 791 §3.1).
            n.put_u32(6, u32::from(checksum));
            n.put_u32(7, if checksum { 10 } else { 0 });
        });
    }
}
