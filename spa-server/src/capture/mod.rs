//! Getting knock packets without an open port.

use std::io;
use std::os::fd::AsFd;

use crate::datagram::Datagram;
use crate::ports::PortRange;

/// A source of datagrams that arrived for one of the knock ports. Readiness comes from its file
/// descriptor (level-triggered, for tokio's `AsyncFd`).
pub trait Capture: AsFd + Send {
    /// Name for the log, e.g. `ring`.
    fn name(&self) -> &'static str;

    /// Hands at most `limit` waiting datagrams to `each`; returns how many. Zero: nothing waits.
    /// Never blocks. Packets that are no whole UDP datagram for a knock port are skipped.
    fn drain(&mut self, limit: usize, each: &mut dyn FnMut(Datagram<'_>)) -> io::Result<usize>;

    /// Replaces the knock ports (port hopping, reload).
    fn set_ports(&mut self, ports: &[PortRange]) -> io::Result<()>;

    /// Datagrams lost since the last call because we were too slow.
    fn take_lost(&mut self) -> u64;
}
