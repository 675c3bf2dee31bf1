//! Listening on a wire, and proving that nothing was said on it.

use std::io::Read;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

use crate::netns::Host;
use crate::packet::Packet;
use crate::raw::{device_socket, link_address};
use crate::wait_until;

/// EtherType for local experiments (IEEE 802, 0x88b5): no IP stack answers or filters it.
const MARKER_TYPE: [u8; 2] = [0x88, 0xb5];

/// How long a marker frame may be on its way before the sniffer counts as deaf.
const PATIENCE: Duration = Duration::from_secs(10);

static MARKER: AtomicU64 = AtomicU64::new(1);

/// Keeps every frame, both directions, that passes one device.
#[derive(Debug)]
pub struct Sniffer {
    frames: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sniffer {
    /// Listens from now on: the socket is bound when this returns.
    pub fn start(host: &Host, device: &str) -> Sniffer {
        let mut socket = device_socket(host, device);
        // A flood must not push an answer out of the buffer unseen.
        setsockopt(&socket, RcvBufForce, &(64 << 20)).expect("SO_RCVBUFFORCE");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let frames = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&frames), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 17];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok(length) = socket.read(&mut buffer) {
                    shared.lock().expect("frames").push(buffer[..length].to_vec());
                }
            }
        });
        Sniffer { frames, stop, thread: Some(thread) }
    }

    /// All frames so far.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        self.frames.lock().expect("frames").clone()
    }

    /// The IP packets so far that an address has sent. ARP, neighbour discovery and group
    /// membership are left out: they answer the network, not a knock.
    pub fn sent_by(&self, address: IpAddr) -> Vec<Packet> {
        self.frames()
            .iter()
            .filter_map(|frame| Packet::of_frame(frame))
            .filter(|packet| packet.source == address && !packet.is_housekeeping())
            .collect()
    }

    /// Returns when everything that `speaker` sent before this call has arrived here.
    ///
    /// It sends a broadcast marker frame from the speaker's device, which travels behind all
    /// earlier frames, and waits for it. Speaker and sniffer must be on one link (or the same
    /// device). Panics when the marker does not arrive: such a sniffer proves nothing.
    pub fn catch_up(&self, speaker: &Host, device: &str) {
        let number = MARKER.fetch_add(1, Ordering::Relaxed);
        let source = speaker
            .run(|| link_address(device))
            .and_then(|address| address.addr())
            .unwrap_or([2; 6]);
        let mut frame = [0xff; 6].to_vec();
        frame.extend(source);
        frame.extend(MARKER_TYPE);
        frame.extend(std::process::id().to_be_bytes());
        frame.extend(number.to_be_bytes());
        // Ethernet's shortest frame without its checksum.
        frame.resize(60, 0);
        crate::raw::send_frame(speaker, device, &frame);
        let mut seen = 0;
        let arrived = wait_until(PATIENCE, || {
            let frames = self.frames.lock().expect("frames");
            let found = frames[seen..].contains(&frame);
            seen = frames.len();
            found
        });
        assert!(
            arrived,
            "the sniffer is deaf: no marker from {speaker:?} on {device} within {PATIENCE:?}"
        );
    }

    /// Panics if the speaker has sent any IP packet from any of its addresses since the start,
    /// after proving with a marker that the sniffer would have seen it.
    ///
    /// Call it when the speaker has had its chance: after its log or counters say that it has
    /// handled what it was sent.
    pub fn assert_silent(&self, speaker: &Host, device: &str) {
        self.catch_up(speaker, device);
        for family in crate::Family::BOTH {
            let said = self.sent_by(speaker.address(family));
            assert!(said.is_empty(), "{speaker:?} was not silent: {said:?}");
        }
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
