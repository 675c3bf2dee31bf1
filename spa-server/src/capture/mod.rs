//! Getting knock packets without an open port.
//!
//! - [`Kind::Ring`] sees what the network card hands to the IP stack, before every firewall hook of
//!   that interface. It needs `CAP_NET_RAW`.
//! - [`Kind::Nflog`] sees what a rule of our own table logs. It needs `CAP_NET_ADMIN`, and
//!   `CAP_NET_RAW` for acks.
//! - [`Kind::Udp`] sees what every firewall on the way lets through to a bound port. It needs
//!   nothing for ports above 1023.
//!
//! Rights are needed while opening only; drained and re-aimed (`set_ports`) a capture works without
//! them, and, but for `udp`, whose new sockets the broker binds, without a new descriptor.

use std::io;
use std::os::fd::AsFd;

use crate::domain::datagram::Datagram;
use crate::domain::ports::PortRange;

mod back;
mod checksum;
pub mod filter;
pub mod headers;
pub mod host_addresses;
mod interfaces;
pub(crate) mod netlink;
pub mod nflog;
pub mod pace;
pub mod packet;
pub mod reply;
pub mod ring;
pub mod udp;

/// Shortest payload that can be a stage packet (docs/protocol.md).
pub const MIN_PAYLOAD: usize = 144;
/// Longest one: what fits the IPv6 minimum MTU of 1280 bytes (RFC 8200 section 5) behind 48 bytes
/// of headers.
pub const MAX_PAYLOAD: usize = 1232;

/// A source of datagrams that arrived for one of the knock ports. Readiness comes from its file
/// descriptor (level-triggered, for tokio's `AsyncFd`).
pub trait Capture: AsFd + Send {
    /// Name for the log, e.g. `ring`.
    fn name(&self) -> &'static str;

    /// Takes at most `limit` waiting packets from the kernel and hands their datagrams to `each`;
    /// returns how many it took. Zero: nothing waits. Never blocks. Packets that are no whole
    /// UDP datagram for a knock port count as taken and are skipped, so that a flood of them
    /// cannot keep a call from returning.
    fn drain(&mut self, limit: usize, each: &mut dyn FnMut(Datagram<'_>)) -> io::Result<usize>;

    /// Replaces the knock ports (port hopping, reload).
    fn set_ports(&mut self, ports: &[PortRange]) -> io::Result<()>;

    /// New sockets come from here from now on: this process may make none any more. Only capture
    /// `udp` needs any.
    fn bind_by(&mut self, _binder: udp::Binder) {}

    /// Tries again to get ports that another program has.
    fn retry_ports(&mut self) {}

    /// Sentences about knock ports at which nothing is heard.
    fn missing_ports(&self) -> Vec<String> {
        Vec::new()
    }

    /// Datagrams lost since the last call because we were too slow.
    fn take_lost(&mut self) -> u64;
}

/// The ways to get packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An `AF_PACKET` memory-mapped ring.
    Ring,
    /// The NFLOG group of a rule in our own table.
    Nflog {
        /// Group number of the rule's `log group`.
        group: u16,
    },
    /// Bound UDP sockets.
    Udp,
}

/// A capture and the way to answer what it captures.
pub struct OpenedCapture {
    /// Where datagrams come from.
    pub capture: Box<dyn Capture>,
    /// Where acks go.
    pub replier: reply::Replier,
}

/// Opens a capture for `ports` on the named interfaces, or on all, with the means to send acks.
/// Interfaces may come and go later; for a bridge, bond or VLAN the name is that of the upper
/// device.
///
/// # Errors
/// What the kernel refused and what to do about it: missing capabilities, a taken port or NFLOG
/// group, too many ports, or interface names with [`Kind::Udp`], which cannot tell interfaces
/// apart.
pub fn open(
    kind: Kind,
    ports: &[PortRange],
    interfaces: Option<Vec<String>>,
) -> io::Result<OpenedCapture> {
    let (capture, replier): (Box<dyn Capture>, _) = match kind {
        Kind::Ring => {
            (Box::new(ring::RingCapture::open(ports, interfaces)?), reply::Replier::raw_or_back()?)
        }
        Kind::Nflog { group } => (
            Box::new(nflog::NflogCapture::open(group, ports, interfaces)?),
            reply::Replier::open_raw()?,
        ),
        Kind::Udp if interfaces.is_some() => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "capture udp listens on all interfaces: leave the interfaces out, or use capture \
                 ring",
            ));
        }
        Kind::Udp => {
            let capture = udp::UdpCapture::open(ports)?;
            let replier = capture.replier();
            (Box::new(capture), replier)
        }
    };
    Ok(OpenedCapture { capture, replier })
}

/// The knock ports as a sorted list for one test per packet.
#[derive(Debug, Default)]
struct PortSet(Vec<PortRange>);

impl PortSet {
    fn new(ports: &[PortRange]) -> io::Result<Self> {
        filter::merge_ranges(ports).map(Self)
    }

    fn contains(&self, port: u16) -> bool {
        let at = self.0.partition_point(|range| range.last < port);
        self.0.get(at).is_some_and(|range| range.contains(port))
    }
}

/// Turns "operation not permitted" into a sentence about the missing capability.
fn name_missing_capability(error: io::Error, what: &str, capability: &str) -> io::Error {
    if error.kind() == io::ErrorKind::PermissionDenied {
        let hint = format!(
            "{what} needs {capability}: start as root or with AmbientCapabilities={capability} in \
             the systemd unit, \
             or set [capture] mode = \"udp\", which needs no rights"
        );
        io::Error::new(io::ErrorKind::PermissionDenied, hint)
    } else {
        io::Error::new(error.kind(), format!("{what}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn port_set() {
        let set = PortSet::new(&["7".parse().unwrap(), "20-30".parse().unwrap()]).unwrap();
        let inside: Vec<u16> = (0..=u16::MAX).filter(|p| set.contains(*p)).collect();
        assert_eq!(inside, [7].into_iter().chain(20..=30).collect::<Vec<u16>>());
        assert!(!PortSet::default().contains(0));
    }

    #[test]
    fn missing_rights_are_explained() {
        let text = name_missing_capability(
            io::Error::from_raw_os_error(libc::EPERM),
            "capture ring",
            "CAP_NET_RAW",
        )
        .to_string();
        assert!(
            text.contains("needs CAP_NET_RAW") && text.contains("[capture] mode = \"udp\""),
            "{text}"
        );
    }
}
