//! `replay FILE ADDRESS…`: reads a capture of `tcpdump -w` and sends every UDP datagram in it that
//! went to one of these addresses again: the same bytes to the same ports in the same order, from
//! this host and the same source port.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;

use spa_tests::Family;
use spa_tests::packet::Packet;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or_else(|| io::Error::other("usage: replay FILE ADDRESS…"))?;
    let addresses = arguments
        .map(|address| {
            address.parse().map_err(|error| io::Error::other(format!("{address}: {error}")))
        })
        .collect::<io::Result<Vec<IpAddr>>>()?;
    let mut sockets = BTreeMap::new();
    let mut sent = 0;
    for frame in spa_tests::pcap::frames(Path::new(&file)).map_err(io::Error::other)? {
        let Some(packet) = Packet::of_frame(&frame) else { continue };
        let (Some((source, target)), Some(payload)) = (packet.ends(), packet.udp_payload()) else {
            continue;
        };
        if !addresses.contains(&target.ip()) {
            continue;
        }
        let key = (source.is_ipv4(), source.port());
        let socket = match sockets.entry(key) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(UdpSocket::bind(Family::of(source.ip()).any(source.port()))?)
            }
        };
        socket.send_to(payload, target)?;
        println!("{} bytes to {target}", payload.len());
        sent += 1;
    }
    // A test that replays nothing would prove nothing.
    if sent == 0 {
        Err(io::Error::other("no datagram to these addresses in the capture"))
    } else {
        Ok(())
    }
}
