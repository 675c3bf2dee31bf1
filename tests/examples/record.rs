//! `record DEVICE FILE`: writes the UDP packets of a device to a capture file until it is ended.
//!
//! For user namespaces with one user only, where `tcpdump` refuses to run because it cannot become
//! another user.

use std::fs::File;
use std::io::{self, Read, Write};

use spa_tests::packet::{Packet, UDP};
use spa_tests::{pcap, raw};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [device, path] = arguments.as_slice() else {
        return Err(io::Error::other("usage: record DEVICE FILE"));
    };
    let mut socket = raw::packet_socket(device)?;
    let mut file = File::create(path)?;
    file.write_all(&pcap::header())?;
    eprintln!("listening on {device}");
    let mut buffer = vec![0; 1 << 17];
    loop {
        let length = socket.read(&mut buffer)?;
        let frame = buffer.get(..length).unwrap_or_default();
        if Packet::of_frame(frame).is_some_and(|packet| packet.protocol == UDP) {
            // One write each, so that a kill never leaves half a packet.
            file.write_all(&pcap::record(frame))?;
        }
    }
}
