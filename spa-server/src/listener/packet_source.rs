//! Packets, as the capture has them, and the pace at which they are taken.

use std::io;

use tokio::time::{Instant, sleep_until};

use super::Clock;
use super::readable::Readable;
use super::table_builds::TABLE_LEAD_TIME;
use crate::capture::Capture;
use crate::capture::host_addresses::HostAddresses;
use crate::capture::pace::Pace;
use crate::domain::datagram::Datagram;
use crate::domain::ports::PortRange;
use crate::engine::{Engine, Settings};
use crate::log::{self, Level};

/// Datagrams taken before others get their turn.
const MAX_DATAGRAMS_PER_TURN: usize = 4096;
/// Datagrams that are handled as of one moment.
const DATAGRAMS_PER_MOMENT: usize = 32;

/// The knock ports of this moment, and of the near future.
pub(super) fn knock_ports(settings: &Settings, unix_ms: u64) -> Vec<PortRange> {
    let ahead = settings.window_future + TABLE_LEAD_TIME;
    settings.sequence.live_ports(unix_ms, settings.past_reach(), ahead)
}

/// The capture at work.
pub(super) struct PacketSource {
    capture: Readable<Box<dyn Capture>>,
    addresses: HostAddresses,
    /// Tells a flood from knocks.
    pace: Pace,
    /// In a flood: packets gather until then.
    resting: Option<Instant>,
    lost: u64,
    /// Sentences about knock ports at which nothing is heard.
    missing_ports: Vec<String>,
}

impl PacketSource {
    /// Takes packets of this capture that are for these addresses.
    pub(super) fn new(capture: Box<dyn Capture>, addresses: HostAddresses) -> io::Result<Self> {
        let pace = Pace::new(std::time::Instant::now());
        Ok(Self {
            capture: Readable::register(capture)?,
            addresses,
            pace,
            resting: None,
            lost: 0,
            missing_ports: Vec::new(),
        })
    }

    /// Waits for packets, in a flood no less than a rest.
    pub(super) async fn wait_for_packets(&mut self) -> io::Result<()> {
        if let Some(until) = self.resting {
            sleep_until(until).await;
            self.resting = None;
        }
        self.capture.wait_readable().await
    }

    /// Hands waiting datagrams to the engine.
    pub(super) fn take_packets(&mut self, engine: &mut Engine, clock: Clock) {
        let mut taken = 0;
        let Self { capture, addresses, .. } = self;
        let outcome = capture.take_waiting(|capture| {
            // To the end, so that readiness is over and a flood is seen whole; bounded, so that
            // others get their turn.
            while taken < MAX_DATAGRAMS_PER_TURN {
                // The time anew for every few: a packet that came while others were looked at is
                // not from the future.
                let now = clock.now();
                addresses.follow_changes();
                let taking = &mut |datagram: Datagram<'_>| {
                    // No capture is sure of both ends. A packet for another host would be answered
                    // in that one's name.
                    if addresses.admit_ends(&datagram) {
                        engine.handle(now, datagram);
                    } else {
                        engine.count_wrong_address();
                    }
                };
                match capture.drain(DATAGRAMS_PER_MOMENT, taking)? {
                    0 => return Ok(0),
                    more => taken += more,
                }
            }
            Ok(taken)
        });
        if let Err(error) = outcome {
            log::event(Level::Error, "capture").with("error", error).emit();
        }
        let instant = Instant::now();
        self.resting = self.pace.next_pause(instant.into_std(), taken).map(|rest| instant + rest);
    }

    /// Moves the capture to these knock ports.
    pub(super) fn set_ports(&mut self, ports: &[PortRange]) -> io::Result<()> {
        self.capture.get_mut().set_ports(ports)
    }

    /// Counts packets that the kernel had no room for.
    pub(super) fn count_lost(&mut self) {
        let lost = self.capture.get_mut().take_lost();
        if lost > 0 && self.lost == 0 {
            log::event(Level::Warn, "capture-overrun").number("packets", lost).emit();
        }
        self.lost = self.lost.saturating_add(lost);
    }

    /// Tries to get knock ports that another program has, and tells when their number changes.
    pub(super) fn retry_ports(&mut self) {
        let capture = self.capture.get_mut();
        capture.retry_ports();
        let missing = capture.missing_ports();
        for port in missing.iter().filter(|port| !self.missing_ports.contains(port)) {
            log::event(Level::Error, "knock-port-taken").with("port", port).emit();
        }
        if missing.is_empty() && !self.missing_ports.is_empty() {
            log::event(Level::Info, "knock-ports-free").emit();
        }
        self.missing_ports = missing;
    }

    /// Sentences about knock ports at which nothing is heard.
    pub(super) fn missing_ports(&self) -> &[String] {
        &self.missing_ports
    }

    /// Packets lost since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Name of the capture.
    pub(super) fn name(&self) -> &'static str {
        self.capture.get_ref().name()
    }
}
