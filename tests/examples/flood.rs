//! `flood TARGET[,TARGET…] RATE COUNT [forged]`: COUNT datagrams of 150 random bytes in turn to the
//! targets (`ADDRESS:PORT`), at RATE packets per second. With `forged` every packet claims another
//! IPv4 source from 198.18.0.0/15 (RFC 2544) or IPv6 source from 2001:2::/48 (RFC 5180); for that
//! it needs root. Prints what it reached.
//!
//! It refuses to start for targets outside the documentation ranges: it is for network namespaces
//! only.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use spa_tests::{Family, packet};

/// As long as a sealed knock with a little padding.
const LENGTH: usize = 150;
/// Packets leave in bursts of what is due at these moments.
const SLICE: Duration = Duration::from_millis(1);

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wrong = || io::Error::other("usage: flood TARGET[,TARGET…] RATE COUNT [forged]");
    let (targets, rate, count, forged) =
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [targets, rate, count] => (targets, rate, count, false),
            [targets, rate, count, "forged"] => (targets, rate, count, true),
            _ => return Err(wrong()),
        };
    let targets: Vec<SocketAddr> = targets
        .split(',')
        .map(|text| text.parse().map_err(|_| wrong()))
        .collect::<Result<_, _>>()?;
    if let Some(foreign) = targets.iter().find(|target| !is_documentation(target.ip())) {
        return Err(io::Error::other(format!("{foreign} is not in a documentation range")));
    }
    let (rate, count): (u64, u64) =
        (rate.parse().map_err(|_| wrong())?, count.parse().map_err(|_| wrong())?);
    let sender = Sender::new(forged)?;
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let start = Instant::now();
    let (mut tried, mut sent) = (0_u64, 0_u64);
    while tried < count {
        let due =
            u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX).saturating_mul(rate)
                / 1_000_000;
        if due <= tried {
            thread::sleep(SLICE);
            continue;
        }
        for target in targets
            .iter()
            .cycle()
            .skip(tried as usize % targets.len())
            .take((due.min(count) - tried) as usize)
        {
            // A full queue costs the flood a packet, as it would cost a real one.
            sent += u64::from(sender.send(*target, &mut noise).is_ok());
            tried += 1;
        }
    }
    println!("sent={sent} pps={:.0}", sent as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

enum Sender {
    Honest(UdpSocket, UdpSocket),
    Forged(Socket, Socket),
}

impl Sender {
    fn new(forged: bool) -> io::Result<Sender> {
        if !forged {
            return Ok(Sender::Honest(
                UdpSocket::bind(Family::V4.any(0))?,
                UdpSocket::bind(Family::V6.any(0))?,
            ));
        }
        // IPPROTO_RAW (netinet/in.h)
        let raw = |domain| Socket::new(domain, Type::RAW, Some(Protocol::from(255)));
        let (v4, v6) = (raw(Domain::IPV4)?, raw(Domain::IPV6)?);
        v4.set_header_included_v4(true)?;
        v6.set_header_included_v6(true)?;
        Ok(Sender::Forged(v4, v6))
    }

    fn send(&self, target: SocketAddr, noise: &mut Noise) -> io::Result<usize> {
        let mut payload = [0; LENGTH];
        for chunk in payload.chunks_mut(8) {
            chunk.iter_mut().zip(noise.next().to_be_bytes()).for_each(|(to, from)| *to = from);
        }
        let is_v4 = target.is_ipv4();
        match self {
            Sender::Honest(v4, v6) => (if is_v4 { v4 } else { v6 }).send_to(&payload, target),
            Sender::Forged(v4, v6) => {
                let random = noise.next();
                let source = SocketAddr::new(source(is_v4, random), (random >> 48) as u16 | 1024);
                let bytes = packet::udp(source, target, &payload);
                let target = SockAddr::from(SocketAddr::new(target.ip(), 0));
                (if is_v4 { v4 } else { v6 }).send_to(&bytes, &target)
            }
        }
    }
}

fn source(is_v4: bool, random: u64) -> IpAddr {
    if is_v4 {
        Ipv4Addr::from(0xc612_0000 | (random as u32 & 0x1_ffff)).into()
    } else {
        Ipv6Addr::from(0x2001_0002 << 96 | u128::from(random as u32) << 48 | u128::from(random))
            .into()
    }
}

/// RFC 5737 and RFC 3849.
fn is_documentation(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            matches!(address.octets(), [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _])
        }
        IpAddr::V6(address) => address.segments()[..2] == [0x2001, 0xdb8],
    }
}

/// xorshift64: fast noise; nothing here is secret.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
