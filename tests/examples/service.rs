//! `service PORT`: a small real TCP service on both families. It greets, then sends back every
//! line.
#![allow(clippy::print_stdout)]

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::thread;

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    let port: u16 = port.ok_or_else(|| io::Error::other("usage: service PORT"))?;
    // An unspecified IPv6 listener takes IPv4 as well unless the host was told otherwise (ipv6(7),
    // bindv6only).
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
    println!("listening on port {port}");
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || serve(stream));
    }
    Ok(())
}

fn serve(stream: TcpStream) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    writer.write_all(b"welcome to the hidden service\n")?;
    for line in BufReader::new(stream).lines() {
        writer.write_all(format!("you said: {}\n", line?).as_bytes())?;
    }
    Ok(())
}
