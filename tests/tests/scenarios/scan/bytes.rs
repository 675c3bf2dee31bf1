//! The very bytes of the answers: which port is hidden, and which is a knock port, must not be told
//! by any of them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};

use spa_tests::capture::Sniffer;
use spa_tests::knocker::{Knocker, Sender};
use spa_tests::packet::{self, ACK, FIN, ICMP, ICMPV6, PSH, Packet, RST, SYN, TCP, UDP, URG};
use spa_tests::raw::Forger;
use spa_tests::wait_until;

use super::*;

/// What goes out to see what comes back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Probe {
    /// A TCP segment with these flags and this many bytes of data.
    Tcp(u8, usize),
    /// The same with a wrong checksum: no host answers it, a careless firewall does.
    BadSum,
    /// A SYN with this type of service or traffic class, and over IPv6 with a flow label.
    Class(u8),
    /// A datagram with this many bytes.
    Udp(usize),
    /// The same with a class and a label.
    UdpClass(u8),
}

const PROBES: [Probe; 18] = [
    Probe::Tcp(SYN, 0),
    Probe::Tcp(SYN, 5),
    Probe::Tcp(SYN | 0xc0, 0),
    Probe::Tcp(ACK, 0),
    Probe::Tcp(ACK | PSH, 7),
    Probe::Tcp(FIN, 0),
    Probe::Tcp(0, 0),
    Probe::Tcp(FIN | PSH | URG, 0),
    Probe::Tcp(SYN | FIN, 0),
    Probe::Tcp(SYN | ACK, 0),
    Probe::Tcp(RST, 0),
    Probe::BadSum,
    Probe::Class(0xb8),
    Probe::Class(0xff),
    Probe::Class(0x01),
    Probe::UdpClass(0xb9),
    Probe::Udp(0),
    Probe::Udp(144),
];

/// An answer without what differs from one port or moment to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    /// TTL or hop limit.
    hops: u8,
    /// Type of service or traffic class.
    class: u8,
    /// IPv4: don't-fragment, and whether there is an identification.
    marks: [bool; 2],
    /// IPv6: whether there is a flow label, which is another for every flow.
    label: bool,
    protocol: u8,
    /// The transport segment with ports, checksums and numbers of identification set to zero.
    segment: Vec<u8>,
}

/// The answers that one host gets.
struct Ear<'a> {
    host: &'a Host,
    sniffer: Sniffer,
    forger: Forger,
}

impl<'a> Ear<'a> {
    fn new(host: &'a Host) -> Ear<'a> {
        Ear { host, sniffer: Sniffer::start(host, Host::DEVICE), forger: Forger::new(host) }
    }

    /// Sends the probes, each to its port of the server, and returns what came back to each.
    ///
    /// The last one must be answered: that ends the waiting for those which are not.
    fn answers(
        &self,
        server: &Host,
        family: Family,
        asked: &[(u16, Probe)],
    ) -> Vec<Option<Answer>> {
        static SOURCE: AtomicU16 = AtomicU16::new(2000);
        let sent: Vec<(SocketAddr, SocketAddr)> = asked
            .iter()
            .map(|(port, probe)| {
                // A source port of its own for each question tells the answers apart.
                let source =
                    self.host.at(family, SOURCE.fetch_add(1, Ordering::Relaxed) % 30_000 + 2000);
                let target = server.at(family, *port);
                self.forger.send(&build(*probe, source, target));
                (source, target)
            })
            .collect();
        let answer = |frames: &[Vec<u8>], (source, target): &(SocketAddr, SocketAddr)| {
            frames.iter().rev().find_map(|frame| Answer::read(frame, *source, *target))
        };
        let last = sent.last().expect("a question");
        // On a busy machine a packet may be lost, the question or its answer.
        let done = (0..RESENDS).any(|_| {
            let (_, probe) = asked.last().expect("a question");
            self.forger.send(&build(*probe, last.0, last.1));
            wait_until(PATIENCE, || answer(&self.sniffer.frames(), last).is_some())
        });
        assert!(done, "{family}: a closed port of {server:?} does not answer to {:?}", self.host);
        self.sniffer.catch_up(server, Host::DEVICE);
        let frames = self.sniffer.frames();
        sent.iter().map(|ends| answer(&frames, ends)).collect()
    }
}

fn build(probe: Probe, source: SocketAddr, target: SocketAddr) -> Vec<u8> {
    match probe {
        Probe::Tcp(flags, data) => packet::tcp(source, target, flags, &vec![0x2e; data]),
        Probe::Udp(length) => packet::udp(source, target, &vec![0x2e; length]),
        Probe::Class(class) => classed(packet::tcp_syn(source, target), class),
        Probe::UdpClass(class) => classed(packet::udp(source, target, &[0x2e; 20]), class),
        Probe::BadSum => {
            let mut bytes = packet::tcp_syn(source, target);
            let at = bytes.len() - 4;
            bytes[at] ^= 0x55;
            bytes
        }
    }
}

/// The kernel makes IPv4's checksum when it sends.
fn classed(mut bytes: Vec<u8>, class: u8) -> Vec<u8> {
    if bytes[0] >> 4 == 4 {
        bytes[1] = class;
    } else {
        bytes[..4].copy_from_slice(&[0x60 | class >> 4, class << 4 | 0x01, 0x23, 0x45]);
    }
    bytes
}

impl Answer {
    /// The answer in a frame, if it is one to a packet from `source` to `target`.
    fn read(frame: &[u8], source: SocketAddr, target: SocketAddr) -> Option<Answer> {
        let packet = Packet::of_frame(frame)?;
        if (packet.source, packet.target) != (target.ip(), source.ip()) {
            return None;
        }
        let ip = &frame[14..];
        let (hops, class, marks, label) = match Family::of(packet.source) {
            Family::V4 => (ip[8], ip[1], [ip[6] & 0x40 != 0, ip[4..6] != [0, 0]], false),
            Family::V6 => (
                ip[7],
                ip[0] << 4 | ip[1] >> 4,
                [false; 2],
                [ip[1] & 0x0f, ip[2], ip[3]] != [0, 0, 0],
            ),
        };
        let mut segment = packet.segment.clone();
        let ports = [target.port().to_be_bytes(), source.port().to_be_bytes()].concat();
        match packet.protocol {
            TCP | UDP if segment.get(..4)? == ports => {
                segment[..4].fill(0);
                let sum = if packet.protocol == TCP { 16..18 } else { 6..8 };
                segment[sum].fill(0);
            }
            ICMP | ICMPV6 => {
                // Type, code, checksum, four unused bytes, then the packet that is answered.
                let header = if packet.protocol == ICMP { 20 } else { 40 };
                let inner = segment.get_mut(8..)?;
                let asked = [source.port().to_be_bytes(), target.port().to_be_bytes()].concat();
                if inner.get(header..header + 4)? != asked {
                    return None;
                }
                inner[header..header + 4].fill(0);
                // UDP's checksum; behind TCP's ports stands a number that is always the same.
                inner.get_mut(header + 6..header + 8)?.fill(0);
                segment[2..4].fill(0);
            }
            _ => return None,
        }
        Some(Answer { hops, class, marks, label, protocol: packet.protocol, segment })
    }
}

/// How often a question is asked again before its answer counts.
const RESENDS: usize = 3;

/// A port where nothing listens and of which the configuration says nothing.
const CLOSED: u16 = 1;

/// Every port here is answered as a closed one is, to every kind of probe.
fn assert_closed(
    ear: &Ear<'_>,
    server: &Host,
    family: Family,
    tcp: &[u16],
    udp: &[u16],
    when: &str,
) {
    let mut asked = Vec::new();
    for probe in PROBES {
        let ports = if matches!(probe, Probe::Udp(_) | Probe::UdpClass(_)) { udp } else { tcp };
        asked.extend([CLOSED].iter().chain(ports).map(|port| (*port, probe)));
    }
    // What differs by chance, or was lost on a busy machine, is alike when it is asked again: the
    // kernel counts identifications through all values, and one of 65536 is zero.
    let mut unlike = find_unlike(ear, server, family, &asked);
    for _ in 0..RESENDS {
        asked = unlike.iter().flat_map(|(pair, _)| [(CLOSED, pair.1), *pair]).collect();
        if asked.is_empty() {
            return;
        }
        unlike = find_unlike(ear, server, family, &asked);
    }
    assert!(unlike.is_empty(), "{family} {when}: not like its neighbours: {unlike:?}");
}

/// Ports that answer unlike a closed one, each behind the closed one that was asked the same; a
/// closed one that is silent, or not, against what is known of the kernel.
fn find_unlike(
    ear: &Ear<'_>,
    server: &Host,
    family: Family,
    asked: &[(u16, Probe)],
) -> Vec<((u16, Probe), String)> {
    let mut all = asked.to_vec();
    all.push((CLOSED, Probe::Udp(9)));
    let answers = ear.answers(server, family, &all);
    let mut closed = &None;
    let mut unlike = Vec::new();
    for ((port, probe), answer) in asked.iter().zip(&answers) {
        let must = !matches!(probe, Probe::BadSum | Probe::Tcp(RST, _));
        if *port == CLOSED {
            closed = answer;
        }
        if answer != closed || closed.is_some() != must {
            unlike.push(((*port, *probe), format!("{answer:?}, closed {closed:?}")));
        }
    }
    unlike
}

#[test]
fn closed_ports_hidden_ports_and_knock_ports_answer_with_the_same_bytes() {
    need_namespaces!();
    // A hidden port has a service behind it, a knock port nothing, 40000 is nobody's.
    let tcp = [scene::SSH, scene::WEB, 40_000, 40_001, 40_002, 40_003];
    let udp = [51_820, 40_000, 40_001, 40_002, 40_003];
    for (mode, capture) in [("guard", "ring"), ("guard", "nflog"), ("standalone", "ring")] {
        let house = house(&config(mode, "closed", capture));
        let knocker = Knocker::of(&house.scene.client);
        both(|family| {
            let server = &house.net.server;
            let stranger = Ear::new(&house.net.stranger);
            let client = Ear::new(&house.net.client);
            let both_closed = |when: &str| {
                let when = format!("{mode} {capture} {when}");
                assert_closed(
                    &stranger,
                    server,
                    family,
                    &tcp,
                    &udp,
                    &format!("{when}, a stranger"),
                );
                assert_closed(&client, server, family, &tcp, &udp, &format!("{when}, the client"));
            };
            both_closed("before");
            let sender = Sender::new(&house.net.client, server, family);
            let session = knocker.session("ssh");
            sender.stage(&session, 0);
            both_closed("after one stage");
            sender.stage(&session, 1);
            both_closed("after two stages");
            sender.stage(&session, 2);
            assert!(sender.ack(&session, PATIENCE).is_some(), "{family}: no ack");
            let when = format!("{mode} {capture} while the client is in, a stranger");
            assert_closed(&stranger, server, family, &tcp, &udp, &when);
        });
    }
}

#[test]
fn a_stage_packet_is_answered_like_any_datagram_to_a_closed_port() {
    need_namespaces!();
    let house = house(&config("guard", "closed", "ring"));
    let knocker = Knocker::of(&house.scene.client);
    both(|family| {
        let (client, server) = (&house.net.client, &house.net.server);
        let ear = Ear::new(client);
        let session = knocker.session("ssh");
        let alike = Probe::Udp(session.packets()[0].1.len());
        let neighbour = ear.answers(server, family, &[(40_000, alike)]).remove(0).unwrap();
        for (number, (port, bytes)) in (0..).zip(session.packets()) {
            let (source, target) = (client.at(family, 1900 + number), server.at(family, *port));
            ear.forger.udp(source, target, bytes);
            let answer = || {
                ear.sniffer.frames().iter().find_map(|frame| Answer::read(frame, source, target))
            };
            assert!(
                wait_until(PATIENCE, || answer().is_some()),
                "{family} stage {number}: no answer"
            );
            let answer = answer().unwrap();
            // They differ in what they quote of the datagram.
            let header = answer.segment.len() - bytes.len();
            let bare = |answer: &Answer| Answer {
                segment: answer.segment[..header].to_vec(),
                ..answer.clone()
            };
            assert!(
                answer.segment.ends_with(bytes),
                "{family} stage {number}: not an answer to this"
            );
            assert_eq!(bare(&answer), bare(&neighbour), "{family} stage {number}");
            assert_eq!(answer.segment.len(), neighbour.segment.len(), "{family} stage {number}");
        }
    });
}
