//! A stranger who sends first packets of TCP connections without a pause, and counts the answers.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::namespace::{Host, ip, load, sh};
use crate::net::FAMILIES;

/// Sends until it is dropped.
pub struct Flood {
    client: u64,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// To this port of the host at the near end of the client's cable; `pause` between two packets.
    pub fn start(server: &Host, client: &Host, port: u16, pause: Duration) -> Self {
        Self::start_to(server, client, FAMILIES.map(|(server, ..)| server), port, pause)
    }

    /// The same to other addresses, which that host leads to.
    pub fn start_to(
        server: &Host,
        client: &Host,
        targets: [&str; 2],
        port: u16,
        pause: Duration,
    ) -> Self {
        let mac = |host: &Host, name: &'static str| {
            let text = host.run(move || sh(&format!("ip -o link show {name}")));
            let text = text.rsplit("link/ether ").next().unwrap().to_owned();
            let mut mac = [0; 6];
            for (byte, hex) in
                mac.iter_mut().zip(text.split_whitespace().next().unwrap().split(':'))
            {
                *byte = u8::from_str_radix(hex, 16).unwrap();
            }
            mac
        };
        let macs = [mac(server, "near1"), mac(client, "far1")];
        client.run(|| {
            load(
                "table inet ears { counter answers { }\nchain in { type filter hook input priority \
                 -300; tcp flags & (syn | ack) == syn | ack counter name answers; }\n}\n",
            );
        });
        let (sent, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, over) = (sent.clone(), stop.clone());
        let ends = [0, 1].map(|family| (ip(FAMILIES[family].1), ip(targets[family])));
        let socket = client.run(|| super::begins::packet_socket("far1"));
        let thread = std::thread::spawn(move || {
            for number in 0u64.. {
                for (from, to) in ends {
                    let own = u16::try_from(number % 60_000).unwrap() + 2000;
                    let _ = socket.send(&syn(macs, (from, own), (to, port)));
                }
                count.store(2 * number, Ordering::Relaxed);
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let next = Instant::now() + pause;
                while Instant::now() < next {
                    std::hint::spin_loop();
                }
            }
        });
        Self { client: 0, sent, stop, thread: Some(thread) }
    }

    /// Packets that were sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until so many more were sent.
    pub fn pass(&self, packets: u64) {
        let goal = self.sent() + packets;
        while self.sent() < goal {
            std::thread::yield_now();
        }
    }

    /// Answers to them since the last call.
    pub fn answers(&mut self, client: &Host) -> u64 {
        self.pass(100);
        let text = client.run(|| sh("nft list counter inet ears answers"));
        let mut words = text.split_whitespace().skip_while(|word| *word != "packets");
        let all: u64 = words.nth(1).unwrap().parse().unwrap();
        let new = all - self.client;
        self.client = all;
        new
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The Ethernet frame of a SYN.
fn syn([to_mac, from_mac]: [[u8; 6]; 2], from: (IpAddr, u16), to: (IpAddr, u16)) -> Vec<u8> {
    let mut frame = [to_mac, from_mac].concat();
    match (from.0, to.0) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            frame.extend([0x08, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
            frame.extend(source.octets());
            frame.extend(target.octets());
            let sum = !fold(frame[14..34].chunks(2).map(word).sum());
            frame[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
            frame.extend(source.octets());
            frame.extend(target.octets());
        }
        _ => panic!("two families"),
    }
    let transport = frame.len();
    frame.extend(from.1.to_be_bytes());
    frame.extend(to.1.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0x20, 0, 0, 0, 0, 0]);
    finish_checksum(&mut frame, transport);
    frame
}

fn word(pair: &[u8]) -> u32 {
    u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// Writes the checksum of TCP or UDP into a frame: a cable leaves it to a card that is not there.
pub fn finish_checksum(frame: &mut [u8], transport: usize) {
    let v4 = transport == 34;
    let end = if v4 { 14 + usize::from(frame[17]) } else { 54 + usize::from(frame[19]) };
    let protocol = if v4 { frame[23] } else { frame[20] };
    let at = transport + if protocol == 6 { 16 } else { 6 };
    frame[at..at + 2].fill(0);
    let addresses = if v4 { 26..34 } else { 22..54 };
    let pairs = frame[addresses].chunks(2).chain(frame[transport..end].chunks(2));
    let sum = pairs.map(word).sum::<u32>();
    let sum = !fold(sum + u32::from(protocol) + u32::try_from(end - transport).unwrap());
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}
