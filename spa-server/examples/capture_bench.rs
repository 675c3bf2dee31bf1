//! Measures the captures against each other on one machine: delay of a single packet to an idle
//! server, and the receiving thread's CPU time per packet in a flood. Makes its own network
//! namespaces; needs root, iproute2, nft.
//!
//! `cargo run --release -p spa-server --example capture_bench [SINGLES [FLOOD]]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../tests/capture/netns.rs"]
mod netns;

use std::io::IoSlice;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use nix::sys::time::TimeValLike;
use spa_server::capture::pace::Pace;
use spa_server::capture::{self, Capture, Kind};
use spa_server::domain::ports::PortRange;

const KNOCK: u16 = 17_000;
const KINDS: [Kind; 3] = [Kind::Ring, Kind::Nflog { group: 77 }, Kind::Udp];
/// Frames per system call of the flood.
const BATCH: usize = 64;
const LOG: &str = "table inet knock { chain pre { type filter hook prerouting priority -310;
    udp dport 17000 log group 77; udp dport 17000 drop; }; }";
const DROP: &str = "table inet knock { chain pre { type filter hook prerouting priority -310;
    udp dport 17000 drop; }; }";

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse().expect("a number of packets"));
    let singles: u64 = arguments.next().unwrap_or(300);
    let flood: u64 = arguments.next().unwrap_or(500_000);
    println!("Single packets: microseconds from before send to after drain.");
    println!("capture      median     p95     max");
    for (kind, six) in cases() {
        let delays = idle(kind, six, singles);
        let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
        println!("{:<10} {:8.1} {:7.1} {:7.1}", name(kind, six), at(0.5), at(0.95), at(1.0));
    }
    println!(
        "Flood: nanoseconds of the receiving and the sending thread per packet; without and with \
         rests."
    );
    println!("capture   rests    user  system    both  sender  sent per s  received   lost");
    for (kind, six) in cases() {
        for paced in [false, true] {
            let Flood { user, system, sender, rate, received, lost } =
                flooded(kind, six, flood, paced);
            println!(
                "{:<9} {:5} {user:7.0} {system:7.0} {:7.0} {sender:7.0} {rate:11.0} {received:9} \
                 {lost:6}",
                name(kind, six),
                if paced { "yes" } else { "no" },
                user + system,
            );
        }
    }
}

fn cases() -> impl Iterator<Item = (Kind, bool)> {
    KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)])
}

fn name(kind: Kind, six: bool) -> String {
    let kind = match kind {
        Kind::Ring => "ring",
        Kind::Nflog { .. } => "nflog",
        Kind::Udp => "udp",
    };
    format!("{kind} {}", if six { "v6" } else { "v4" })
}

/// Two hosts, a capture on the server, and a connected socket of the client.
fn setting(kind: Kind, six: bool) -> (netns::Pair, Box<dyn Capture>, UdpSocket) {
    let pair = netns::Pair::new();
    match kind {
        Kind::Ring => pair.nft(DROP),
        Kind::Nflog { .. } => pair.nft(LOG),
        Kind::Udp => {}
    }
    let capture =
        pair.in_server(|| capture::open(kind, &[PortRange::one(KNOCK)], None)).unwrap().capture;
    let (from, to) = netns::ends(six, 40_000, KNOCK);
    let socket = pair.in_client(|| UdpSocket::bind(from)).unwrap();
    socket.connect(to).unwrap();
    (pair, capture, socket)
}

fn wait(capture: &dyn Capture, timeout: PollTimeout) -> bool {
    poll(&mut [PollFd::new(capture.as_fd(), PollFlags::POLLIN)], timeout).unwrap() > 0
}

/// Microseconds from before `send` to after `drain`, sorted.
fn idle(kind: Kind, six: bool, packets: u64) -> Vec<f64> {
    let (_pair, mut capture, socket) = setting(kind, six);
    let sent = Mutex::new(Instant::now());
    let answered = AtomicU64::new(0);
    let mut delays = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
            for number in 0..packets {
                // The load of this program: one packet after a random pause of 1 to 20 ms.
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                thread::sleep(Duration::from_micros(1000 + seed % 19_000));
                while answered.load(Ordering::Acquire) < number {
                    std::hint::spin_loop();
                }
                *sent.lock().unwrap() = Instant::now();
                socket.send(&[0; 150]).unwrap();
            }
        });
        while (delays.len() as u64) < packets {
            assert!(wait(&*capture, PollTimeout::from(5000_u16)), "a packet did not arrive");
            let mut seen = 0;
            capture.drain(64, &mut |_| seen += 1).unwrap();
            let now = Instant::now();
            if seen > 0 {
                delays.push((now - *sent.lock().unwrap()).as_secs_f64() * 1e6);
                answered.fetch_add(1, Ordering::Release);
            }
        }
    });
    delays.sort_by(f64::total_cmp);
    delays
}

struct Flood {
    user: f64,
    system: f64,
    sender: f64,
    rate: f64,
    received: u64,
    lost: u64,
}

/// Nanoseconds of this thread so far, in user mode and in the kernel.
fn cpu() -> (i64, i64) {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    (usage.user_time().num_nanoseconds(), usage.system_time().num_nanoseconds())
}

fn flooded(kind: Kind, six: bool, packets: u64, paced: bool) -> Flood {
    let (pair, mut capture, _socket) = setting(kind, six);
    // Whole frames in batches, as from a network card: an ordinary socket cannot send fast enough.
    let wire = pair.in_client(netns::wire);
    let (from, to) = netns::ends(six, 40_001, KNOCK);
    let packet = capture::packet::udp_packet(from, to, &[0; 150]).unwrap();
    let frame = netns::frame(netns::SERVER_MAC, &[], &packet);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let batch = vec![[IoSlice::new(&frame)]; BATCH];
            let to: [Option<SockaddrStorage>; BATCH] = [None; BATCH];
            let mut headers = MultiHeaders::preallocate(BATCH, None);
            let before = cpu();
            let start = Instant::now();
            let mut sent = 0;
            while sent < packets {
                let results =
                    sendmmsg(wire.as_raw_fd(), &mut headers, &batch, to, [], MsgFlags::empty())
                        .unwrap();
                sent += results.count() as u64;
            }
            let took = start.elapsed();
            let after = cpu();
            done.store(true, Ordering::Release);
            (
                sent as f64 / took.as_secs_f64(),
                (after.0 + after.1 - before.0 - before.1) as f64 / sent as f64,
            )
        });
        let before = cpu();
        let mut received = 0;
        let mut bytes = 0;
        let mut pace = Pace::new(Instant::now());
        loop {
            let last = done.load(Ordering::Acquire);
            if wait(&*capture, PollTimeout::from(10_u8)) {
                let before = received;
                while capture
                    .drain(64, &mut |d| {
                        received += 1;
                        bytes += d.payload.len();
                    })
                    .unwrap()
                    > 0
                {}
                if paced
                    && let Some(rest) =
                        pace.next_pause(Instant::now(), (received - before) as usize)
                {
                    thread::sleep(rest);
                }
            } else if last {
                break;
            }
        }
        let after = cpu();
        assert_eq!(bytes as u64, received * 150);
        let (rate, sender) = sender.join().unwrap();
        let each = |ns: i64| ns as f64 / received as f64;
        Flood {
            user: each(after.0 - before.0),
            system: each(after.1 - before.1),
            sender,
            rate,
            received,
            lost: capture.take_lost(),
        }
    })
}
