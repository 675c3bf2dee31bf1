//! The kernel-side filter of the ring: a classic BPF program for packets that start at their IP
//! header.
//!
//! It lets through what may be a knock by its cheapest signs: sent to this host, UDP, whole, to a
//! knock port, of a knock's length. Everything else never costs us a copy. User space checks all of
//! it again, because only there are checksums known, and because packets of the last ports may
//! still be on their way when they change.
//!
//! Program per family, since each family has its own socket. VLAN needs no instruction: see
//! `ring.rs`.

use std::io;

use super::{MAX_PAYLOAD, MIN_PAYLOAD};
use crate::domain::ports::{PortRange, merge_ports};

/// Most ranges of ports one filter takes: a jump of classic BPF reaches 255 instructions, a range
/// takes two.
pub const MAX_RANGES: usize = 100;

/// Bytes of a packet that are captured: the whole of the common MTU.
pub const SNAP_LEN: u32 = 1500;

/// One instruction in the layout of the kernel's `struct sock_filter` (linux/filter.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation, addressing mode and size.
    pub code: u16,
    /// Instructions to skip when the comparison holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

// linux/bpf_common.h: class | size | mode, or class | operation | source.
/// Load a byte at a fixed offset.
pub(super) const LD_BYTE: u16 = 0x30;
/// Load two bytes at a fixed offset.
pub(super) const LD_HALF: u16 = 0x28;
/// Load two bytes at an offset from the index register.
pub(super) const LD_HALF_X: u16 = 0x48;
/// Load a constant into the index register.
pub(super) const LDX_CONST: u16 = 0x01;
/// Load the length of the IPv4 header at an offset into the index register.
pub(super) const LDX_IHL: u16 = 0xb1;
/// Compare the accumulator with the operand.
pub(super) const JUMP_IF_EQUAL: u16 = 0x15;
/// The same, for `>`.
pub(super) const JUMP_IF_GREATER: u16 = 0x25;
/// The same, for `>=`.
pub(super) const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
/// Test whether the accumulator and the operand share a bit.
pub(super) const JUMP_IF_ANY_BIT: u16 = 0x45;
/// End, and keep so many bytes of the packet; 0: drop it.
pub(super) const RETURN_LENGTH: u16 = 0x06;

/// Load offset of the packet type: `SKF_AD_OFF + SKF_AD_PKTTYPE` (linux/filter.h).
pub(super) const PACKET_TYPE: u32 = (-0x1000_i32 + 4) as u32;
/// `PACKET_HOST` (linux/if_packet.h): to this host's own link address; no broadcast, multicast or
/// promiscuous catch, and no frame of a VLAN that nobody here is a member of.
const PACKET_TO_US: u32 = 0;

/// Where a comparison goes.
#[derive(Clone, Copy)]
enum To {
    Next,
    Skip(u8),
    Accept,
    Drop,
}

#[derive(Default)]
struct Program(Vec<(u16, u32, To, To)>);

impl Program {
    fn push_load(&mut self, code: u16, k: u32) {
        self.0.push((code, k, To::Next, To::Next));
    }

    fn push_jump(&mut self, code: u16, k: u32, yes: To, no: To) {
        self.0.push((code, k, yes, no));
    }

    /// With the UDP header at X: length and port.
    fn push_udp_test(&mut self, ranges: &[PortRange]) {
        self.push_load(LD_HALF_X, 4);
        self.push_jump(JUMP_IF_GREATER_OR_EQUAL, 8 + MIN_PAYLOAD as u32, To::Next, To::Drop);
        self.push_jump(JUMP_IF_GREATER, 8 + MAX_PAYLOAD as u32, To::Drop, To::Next);
        self.push_load(LD_HALF_X, 2);
        // Sorted: a port below this range and above the last one is in none.
        for range in ranges {
            self.push_jump(JUMP_IF_GREATER_OR_EQUAL, range.first.into(), To::Next, To::Drop);
            self.push_jump(JUMP_IF_GREATER, range.last.into(), To::Next, To::Accept);
        }
    }

    /// Adds the two ends and resolves the jumps, which in classic BPF only lead forward.
    fn resolve_jumps(self) -> io::Result<Vec<Instruction>> {
        let drop = self.0.len();
        let resolve = |at: usize, to: To| match to {
            To::Next => Ok(0),
            To::Skip(count) => Ok(count),
            To::Drop => u8::try_from(drop - at - 1).map_err(|_| too_many()),
            To::Accept => u8::try_from(drop - at).map_err(|_| too_many()),
        };
        let mut out = Vec::with_capacity(drop + 2);
        for (at, (code, k, yes, no)) in self.0.into_iter().enumerate() {
            out.push(Instruction { code, k, jt: resolve(at, yes)?, jf: resolve(at, no)? });
        }
        out.push(Instruction { code: RETURN_LENGTH, jt: 0, jf: 0, k: 0 });
        out.push(Instruction { code: RETURN_LENGTH, jt: 0, jf: 0, k: SNAP_LEN });
        Ok(out)
    }
}

/// The program for IPv4.
///
/// # Errors
/// `InvalidInput` for more than [`MAX_RANGES`] ranges that do not touch.
pub fn compile_ipv4(ports: &[PortRange]) -> io::Result<Vec<Instruction>> {
    let ranges = merge_ranges(ports)?;
    let mut p = Program::default();
    p.push_load(LD_BYTE, PACKET_TYPE);
    p.push_jump(JUMP_IF_EQUAL, PACKET_TO_US, To::Next, To::Drop);
    p.push_load(LD_BYTE, 9);
    p.push_jump(JUMP_IF_EQUAL, 17, To::Next, To::Drop);
    p.push_load(LD_HALF, 6);
    p.push_jump(JUMP_IF_ANY_BIT, 0x3fff, To::Drop, To::Next);
    p.push_load(LDX_IHL, 0);
    p.push_udp_test(&ranges);
    p.resolve_jumps()
}

/// The program for IPv6. A packet with extension headers goes to user space when its length allows
/// a knock: classic BPF has no loops, and a chain walked only half way would be a way around the
/// filter either way.
///
/// # Errors
/// `InvalidInput` for more than [`MAX_RANGES`] ranges that do not touch.
pub fn compile_ipv6(ports: &[PortRange]) -> io::Result<Vec<Instruction>> {
    let ranges = merge_ranges(ports)?;
    let mut p = Program::default();
    p.push_load(LD_BYTE, PACKET_TYPE);
    p.push_jump(JUMP_IF_EQUAL, PACKET_TO_US, To::Next, To::Drop);
    p.push_load(LD_BYTE, 6);
    p.push_jump(JUMP_IF_EQUAL, 17, To::Skip(8), To::Next);
    p.push_jump(JUMP_IF_EQUAL, 0, To::Skip(5), To::Next);
    p.push_jump(JUMP_IF_EQUAL, 60, To::Skip(4), To::Next);
    p.push_jump(JUMP_IF_EQUAL, 43, To::Skip(3), To::Next);
    p.push_jump(JUMP_IF_EQUAL, 44, To::Next, To::Drop);
    // A fragment header may only be atomic: offset 0 and nothing more to come.
    p.push_load(LD_HALF, 42);
    p.push_jump(JUMP_IF_ANY_BIT, 0xfff9, To::Drop, To::Next);
    // Here with any extension: at least eight bytes of it, then a datagram of a knock's length.
    p.push_load(LD_HALF, 4);
    p.push_jump(JUMP_IF_GREATER_OR_EQUAL, 8 + 8 + MIN_PAYLOAD as u32, To::Accept, To::Drop);
    // Here with UDP right behind the IPv6 header.
    p.push_load(LDX_CONST, 40);
    p.push_udp_test(&ranges);
    p.resolve_jumps()
}

/// The ranges merged, if they are not too many. No range at all matches no packet.
pub(super) fn merge_ranges(ports: &[PortRange]) -> io::Result<Vec<PortRange>> {
    let merged = merge_ports(ports.iter().copied());
    if merged.len() > MAX_RANGES { Err(too_many()) } else { Ok(merged) }
}

fn too_many() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("more than {MAX_RANGES} separate ranges of knock ports"),
    )
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
