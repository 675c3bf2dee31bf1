//! Capture `ring`: an `AF_PACKET` memory-mapped ring per address family (packet(7), `TPACKET_V2`).
//!
//! Three choices, each with its reason:
//! - Sockets for `ETH_P_IP` and `ETH_P_IPV6` instead of one for `ETH_P_ALL`. The kernel serves them
//!   where it serves its own IP stack: after bridges, bonds and VLAN devices have taken their
//!   packets, never for packets we send. A packet of a VLAN is therefore seen once, on the VLAN's
//!   device, with its tag gone; one of a VLAN without a device here is marked as another host's,
//!   and the filter drops it. `ETH_P_ALL` would see the first twice and every packet that leaves.
//!   Both rings stand behind one epoll descriptor.
//! - Version 2 instead of 3. Version 3 wakes us when a block of packets is full or its timeout (1
//!   ms at the least) has passed: an idle server would answer late. Version 2 wakes for each
//!   packet, and a busy reader, who does not sleep, pays nothing for that.
//! - The filter is set, and the ring made, before the socket is bound to a protocol: no stranger's
//!   packet gets in unfiltered.
//!
//! netfilter sees the same packets later, and its verdict does not matter here. XDP, tc and
//! nftables' `ingress` chains come first and can hide packets; and so do prerouting chains below a
//! bridge that hands its packets to them (`bridge-nf-call-iptables`).

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use socket2::{Domain, SockFilter, Socket, Type};

use super::filter::{self, Instruction};
use super::headers::{self, Checksum};
use super::interfaces::Interfaces;
use super::{Capture, PortSet, name_missing_capability};
use crate::domain::datagram::{Datagram, LinkAddress};
use crate::domain::ports::PortRange;

/// Bytes of a frame: 80 of headers (`struct tpacket2_hdr`, `struct sockaddr_ll` and 16 of reserve,
/// each aligned to 16) and [`filter::SNAP_LEN`], rounded up to 16.
const FRAME_BYTES: usize = 1584;
/// Bytes of a block, a multiple of the page size of every architecture; frames do not cross blocks.
const BLOCK_BYTES: usize = 64 * 1024;
const FRAMES_PER_BLOCK: usize = BLOCK_BYTES / FRAME_BYTES;
/// Blocks per family: 2 050 frames in 3.3 MB. At 800 000 packets per second that bridges 2.5 ms.
const BLOCK_COUNT: usize = 50;
const FRAME_COUNT: usize = BLOCK_COUNT * FRAMES_PER_BLOCK;

// Offsets in `struct tpacket2_hdr` (linux/if_packet.h): 0 status u32 | 4 length u32 | 8 captured
// u32 | 12 link offset u16 | 14 network offset u16 | 16 time 2 * u32 | 24 VLAN 2 * u16; at 32
// `struct sockaddr_ll`: 0 family u16 | 2 protocol u16 | 4 interface i32 | 8 hardware type u16 | 10
// packet type u8 | 11 length of the hardware address u8 | 12 the address of who sent it.
const LENGTH_OFFSET: usize = 4;
const CAPTURED_OFFSET: usize = 8;
const NETWORK_OFFSET: usize = 14;
const INTERFACE_OFFSET: usize = 32 + 4;
const HARDWARE_OFFSET: usize = 32 + 11;
/// Bytes of the status word, which belongs to both sides and is left out of the views of a frame.
const STATUS_BYTES: usize = 4;

/// Both rings.
pub struct RingCapture {
    epoll: Epoll,
    rings: [Ring; 2],
    /// The ring that goes first next time: a flood in one family must not starve the other.
    first: usize,
    ports: PortSet,
    interfaces: Interfaces,
}

impl RingCapture {
    /// Captures datagrams for `ports` on the named interfaces, or on all.
    ///
    /// # Errors
    /// Missing `CAP_NET_RAW`, no memory for the rings, or too many port ranges.
    pub fn open(ports: &[PortRange], interfaces: Option<Vec<String>>) -> io::Result<Self> {
        let failed = |e| name_missing_capability(e, "capture ring", "CAP_NET_RAW");
        let ports_set = PortSet::new(ports)?;
        let interfaces = Interfaces::new(interfaces).map_err(failed)?;
        let rings = [
            Ring::map_ring(libc::ETH_P_IP as u16, &filter::compile_ipv4(ports)?).map_err(failed)?,
            Ring::map_ring(libc::ETH_P_IPV6 as u16, &filter::compile_ipv6(ports)?)
                .map_err(failed)?,
        ];
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for ring in &rings {
            epoll.add(&ring.socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        }
        Ok(Self { epoll, rings, first: 0, ports: ports_set, interfaces })
    }
}

impl AsFd for RingCapture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl Capture for RingCapture {
    fn name(&self) -> &'static str {
        "ring"
    }

    fn drain(&mut self, limit: usize, each: &mut dyn FnMut(Datagram<'_>)) -> io::Result<usize> {
        self.interfaces.apply_changes();
        self.first = 1 - self.first;
        let [ip4, ip6] = &mut self.rings;
        let order = if self.first == 0 { [ip4, ip6] } else { [ip6, ip4] };
        let mut taken = 0;
        for ring in order {
            while taken < limit {
                let Some(frame) = ring.current_frame() else { break };
                taken += 1;
                if let Some(datagram) = frame.parse_datagram(&self.interfaces)
                    && self.ports.contains(datagram.destination.port())
                {
                    each(datagram);
                }
                ring.release_frame();
            }
        }
        Ok(taken)
    }

    fn set_ports(&mut self, ports: &[PortRange]) -> io::Result<()> {
        let set = PortSet::new(ports)?;
        let programs = [filter::compile_ipv4(ports)?, filter::compile_ipv6(ports)?];
        for (ring, program) in self.rings.iter().zip(&programs) {
            attach_filter(&ring.socket, program)?;
        }
        self.ports = set;
        Ok(())
    }

    fn take_lost(&mut self) -> u64 {
        self.rings.iter().map(|ring| ring.take_lost().unwrap_or(0)).sum()
    }
}

/// A packet in the ring, ours until it is released.
struct Frame<'a> {
    status: u32,
    /// The frame without its status word.
    bytes: &'a [u8],
}

impl<'a> Frame<'a> {
    /// `None` for a packet that is cut, refused, or of an interface that does not count.
    fn parse_datagram(&self, interfaces: &Interfaces) -> Option<Datagram<'a>> {
        let captured = u32::from_ne_bytes(self.read_field(CAPTURED_OFFSET)?);
        if u32::from_ne_bytes(self.read_field(LENGTH_OFFSET)?) != captured {
            return None;
        }
        let interface = u32::from_ne_bytes(self.read_field(INTERFACE_OFFSET)?);
        if !interfaces.admits_interface(interface) {
            return None;
        }
        let start = usize::from(u16::from_ne_bytes(self.read_field(NETWORK_OFFSET)?))
            .checked_sub(STATUS_BYTES)?;
        let packet = self.bytes.get(start..)?.get(..usize::try_from(captured).ok()?)?;
        // CSUMNOTREADY: sent by this machine (veth, loopback), its checksum left to a card it never
        // met.
        let trusted = libc::TP_STATUS_CSUM_VALID | libc::TP_STATUS_CSUMNOTREADY;
        let checksum =
            if self.status & trusted != 0 { Checksum::Trusted } else { Checksum::Verify };
        let datagram = headers::parse_packet(packet, checksum, interface).ok()?;
        Some(Datagram { link: self.link_address(interface), ..datagram })
    }

    fn link_address(&self, interface: u32) -> Option<LinkAddress> {
        let [length] = self.read_field(HARDWARE_OFFSET)?;
        let address: [u8; 8] = self.read_field(HARDWARE_OFFSET + 1)?;
        (usize::from(length) <= address.len()).then_some(LinkAddress { interface, address, length })
    }

    fn read_field<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.bytes.get(offset.checked_sub(STATUS_BYTES)?..)?.first_chunk().copied()
    }
}

/// One socket with its mapped ring.
struct Ring {
    socket: Socket,
    map: NonNull<u8>,
    /// Index of the frame that the kernel fills next; less than [`FRAME_COUNT`].
    head: usize,
}

// SAFETY: the mapping belongs to this value alone and is reached only through it; nothing in it is
// bound to a thread.
unsafe impl Send for Ring {}

impl Ring {
    fn map_ring(protocol: u16, program: &[Instruction]) -> io::Result<Self> {
        // Protocol 0: receives nothing until it is bound.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking().cloexec(), None)?;
        attach_filter(&socket, program)?;
        set_packet_option(
            &socket,
            libc::PACKET_VERSION,
            &(libc::tpacket_versions::TPACKET_V2 as libc::c_int),
        )?;
        let request = libc::tpacket_req {
            tp_block_size: BLOCK_BYTES as u32,
            tp_block_nr: BLOCK_COUNT as u32,
            tp_frame_size: FRAME_BYTES as u32,
            tp_frame_nr: FRAME_COUNT as u32,
        };
        set_packet_option(&socket, libc::PACKET_RX_RING, &request)?;
        // SAFETY: a fresh shared mapping of exactly the ring's size, at an address the kernel
        // chooses.
        let map = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                BLOCK_BYTES * BLOCK_COUNT,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let map = NonNull::new(map.cast()).ok_or(io::ErrorKind::InvalidData)?;
        let ring = Self { socket, map, head: 0 };
        bind_protocol(&ring.socket, protocol)?;
        Ok(ring)
    }

    /// Start of the current frame.
    fn frame_start(&self) -> NonNull<u8> {
        let offset =
            self.head / FRAMES_PER_BLOCK * BLOCK_BYTES + self.head % FRAMES_PER_BLOCK * FRAME_BYTES;
        // SAFETY: head < FRAMES, so the whole frame lies within the BLOCK * BLOCKS bytes of the
        // mapping.
        unsafe { self.map.add(offset) }
    }

    fn status_word(&self) -> &AtomicU32 {
        // SAFETY: a mapped word, aligned because frames and blocks are multiples of 16, alive as
        // long as self; the kernel changes it too, so it is only ever reached as an atomic.
        unsafe { AtomicU32::from_ptr(self.frame_start().as_ptr().cast()) }
    }

    /// The waiting packet, if there is one.
    fn current_frame(&self) -> Option<Frame<'_>> {
        // Acquire: pairs with the kernel's write barrier, so the frame is read after it was
        // written.
        let status = self.status_word().load(Ordering::Acquire);
        if status & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: within the mapping as above; while the status says USER the kernel leaves the
        // frame alone, and `release`, which gives it back, needs this borrow to have ended.
        let bytes = unsafe {
            std::slice::from_raw_parts(
                self.frame_start().as_ptr().add(STATUS_BYTES),
                FRAME_BYTES - STATUS_BYTES,
            )
        };
        Some(Frame { status, bytes })
    }

    /// Gives the current frame back to the kernel.
    fn release_frame(&mut self) {
        self.status_word().store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.head = (self.head + 1) % FRAME_COUNT;
    }

    /// Packets that found the ring full since the last call; the kernel resets its count.
    fn take_lost(&self) -> io::Result<u64> {
        let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of_val(&stats) as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes of the structure it expects for version
        // 2.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &raw mut length,
            )
        };
        if result == 0 { Ok(stats.tp_drops.into()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: unmaps what `open` mapped; every borrow of it has ended with self.
        unsafe { libc::munmap(self.map.as_ptr().cast(), BLOCK_BYTES * BLOCK_COUNT) };
    }
}

fn attach_filter(socket: &Socket, program: &[Instruction]) -> io::Result<()> {
    let program: Vec<_> =
        program.iter().map(|i| SockFilter::new(i.code, i.jt, i.jf, i.k)).collect();
    socket.attach_filter(&program)
}

fn set_packet_option<T: Copy>(socket: &Socket, option: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a plain value and checks the size against
    // the option.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Starts reception: packets of `protocol` from every interface.
fn bind_protocol(socket: &Socket, protocol: u16) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: 0,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the address is a whole `sockaddr_ll` and its size is told.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
