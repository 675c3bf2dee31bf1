//! A server with an open capture, and what arrives at it.
#![allow(unsafe_code)]

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use spa_server::capture::reply::Replier;
use spa_server::capture::{self, Capture, Kind, OpenedCapture};
use spa_server::domain::ports::PortRange;

use crate::netns::{Pair, ends};

/// First of the knock ports, which are this one to 17010.
pub(crate) const KNOCK: u16 = 17_000;

pub(crate) const KINDS: [Kind; 3] = [Kind::Ring, Kind::Nflog { group: 77 }, Kind::Udp];

/// What the firewall backend would put in place for capture `nflog`.
pub(crate) const RULES: &str =
    "table inet knock { chain pre { type filter hook prerouting priority -310;
    meta pkttype host udp dport { 17000-17010, 18000-18010 } log group 77; }; }";

/// How long a packet may take before the test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) type Seen = (SocketAddr, SocketAddr, Vec<u8>);

pub(crate) struct Host<'a> {
    pair: &'a Pair,
    pub(crate) capture: Box<dyn Capture>,
    pub(crate) replier: Replier,
    /// A knock port that shows that nothing came before it.
    sentinel: u16,
}

pub(crate) fn open(kind: Kind, ports: &str) -> io::Result<OpenedCapture> {
    capture::open(kind, &ranges(ports), None)
}

fn ranges(ports: &str) -> Vec<PortRange> {
    ports.split(',').map(|range| range.parse().unwrap()).collect()
}

impl<'a> Host<'a> {
    /// Opens a capture on the server; the thread stays outside.
    pub(crate) fn open(pair: &'a Pair, kind: Kind) -> Self {
        pair.in_server(|| Self::here(pair, kind, None))
    }

    /// Opens a capture from a thread inside the server.
    pub(crate) fn here(pair: &'a Pair, kind: Kind, interfaces: Option<Vec<String>>) -> Self {
        if matches!(kind, Kind::Nflog { .. }) {
            pair.nft(RULES);
        }
        let OpenedCapture { capture, replier } =
            capture::open(kind, &ranges("17000-17010"), interfaces).unwrap();
        Self { pair, capture, replier, sentinel: KNOCK + 1 }
    }

    /// Replaces the ports from a thread inside the server, where capture `udp` binds new sockets.
    pub(crate) fn set_ports(&mut self, ports: &str, sentinel: u16) {
        let pair = self.pair;
        pair.in_server(|| self.set_ports_here(ports, sentinel));
    }

    pub(crate) fn set_ports_here(&mut self, ports: &str, sentinel: u16) {
        self.capture.set_ports(&ranges(ports)).unwrap();
        self.sentinel = sentinel;
    }

    /// Waits for `count` datagrams.
    pub(crate) fn expect(&mut self, count: usize) -> Vec<Seen> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        while seen.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{}: {} of {count} datagrams arrived",
                self.capture.name(),
                seen.len()
            );
            wait(&*self.capture, left);
            self.capture
                .drain(count - seen.len(), &mut |d| {
                    seen.push((d.source, d.destination, d.payload.to_vec()))
                })
                .unwrap();
        }
        seen
    }

    /// Shows that nothing waits: the next datagrams to arrive are the ones sent here.
    pub(crate) fn expect_silence(&mut self) {
        for six in [false, true] {
            let (any, to) = ends(six, 0, self.sentinel);
            let socket = udp(self.pair, any);
            let from = socket.local_addr().unwrap();
            socket.send_to(&[0xee; 150], to).unwrap();
            assert_eq!(self.expect(1), [(from, to, vec![0xee; 150])]);
        }
        assert_eq!(self.capture.drain(9, &mut |d| panic!("{d:?}")).unwrap(), 0);
        assert!(!wait(&*self.capture, Duration::ZERO), "readable, but nothing waits");
    }
}

/// Waits until the capture is readable, and says whether it is.
pub(crate) fn wait(capture: &dyn Capture, patience: Duration) -> bool {
    let mut fds = [PollFd::new(capture.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::try_from(patience).unwrap()).unwrap() == 1
}

/// A socket of the client.
pub(crate) fn udp(pair: &Pair, address: SocketAddr) -> UdpSocket {
    let socket = pair.in_client(|| UdpSocket::bind(address)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Takes all capabilities from this thread. The C library's `setresuid` would take them from every
/// thread.
pub(crate) fn become_nobody() {
    // SAFETY: a system call with plain numbers.
    assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534) }, 0);
}

/// A socket that sees every IP packet of the calling thread's namespace, without link header.
pub(crate) fn tap() -> socket2::Socket {
    let every = socket2::Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
    let socket =
        socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::DGRAM, Some(every)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}
