//! A server and a client on its cable, and flows between them that stay.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use spa_server::domain::ports::Protocol;
use spa_server::firewall::nftables::Nftables;
use spa_server::firewall::{Firewall, Rules};

use crate::namespace::{Host, ip, sh};

/// How long what must come may take: a first SYN that was lost is repeated after a second.
const LONG: Duration = Duration::from_secs(5);
/// How long an answer over the cable may take before it counts as silence.
pub const PATIENCE: Duration = Duration::from_millis(300);

/// Server's and client's addresses in both families.
pub const FAMILIES: [(&str, &str, &str); 2] =
    [("10.9.1.1", "10.9.1.2", "10.9.1.3"), ("fd09:1::1", "fd09:1::2", "fd09:1:0:0:7::3")];

/// A firewall that lives in the thread of its host.
#[derive(Clone, Default)]
pub struct Wall(Arc<Mutex<Option<Nftables>>>);

impl Wall {
    /// Does something with it; the first time it is made.
    pub fn with<T: Send + 'static>(
        &self,
        host: &Host,
        job: impl FnOnce(&mut Nftables) -> T + Send + 'static,
    ) -> T {
        let wall = self.0.clone();
        host.run(move || {
            let mut wall = wall.lock().unwrap();
            let firewall = wall.get_or_insert_with(|| Nftables::new().unwrap());
            let done = job(firewall);
            // As the broker does between two requests.
            while firewall.work_due().is_some() {
                firewall.continue_work().unwrap();
            }
            done
        })
    }

    /// Forgets the value, as a crash would.
    pub fn crash(&self) {
        self.0.lock().unwrap().take();
    }
}

pub struct Net {
    pub server: Host,
    pub client: Host,
    wall: Wall,
}

impl Net {
    /// With echoes on TCP 22 and 80 and UDP 5000 and 5001.
    pub fn new(rules: &Rules) -> Self {
        let (server, client) = (Host::new(), Host::new());
        server.cable(&client, 1);
        client.run(|| {
            sh("ip addr add 10.9.1.3/24 dev far1");
            sh("ip addr add 10.9.1.200/24 dev far1");
            sh("ip -6 addr add fd09:1:0:0:7::3/64 dev far1 nodad");
            sh("ip -6 addr add fd09:1::3/64 dev far1 nodad");
        });
        settled(&[&server, &client]);
        echoes(&server, &[22, 80], &[5000, 5001]);
        let net = Self { server, client, wall: Wall::default() };
        net.install(rules);
        net
    }

    pub fn install(&self, rules: &Rules) {
        let rules = rules.clone();
        self.with(move |firewall| firewall.install(&rules).unwrap());
    }

    pub fn with<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Nftables) -> T + Send + 'static,
    ) -> T {
        self.wall.with(&self.server, job)
    }

    pub fn crash(&self) {
        self.wall.crash();
    }

    /// A flow from the client's address `source`.
    pub fn flow(
        &self,
        protocol: Protocol,
        source: &str,
        server: &str,
        port: u16,
    ) -> Result<Flow, Seen> {
        flow(&self.client, protocol, source, server, port)
    }

    /// A flow that must get through.
    pub fn reach(&self, protocol: Protocol, source: &str, server: &str, port: u16) -> Flow {
        reach(&self.client, protocol, source, server, port)
    }
}

/// Waits until duplicate detection has ended: before, neighbours are not found in time.
pub fn settled(hosts: &[&Host]) {
    for host in hosts {
        let start = Instant::now();
        while !host.run(|| sh("ip -6 -o addr show tentative")).is_empty() {
            assert!(start.elapsed() < Duration::from_secs(10), "duplicate detection does not end");
        }
    }
}

/// What an attempt meets that does not get through.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Seen {
    Refused,
    Silent,
}

/// A flow that got through once.
#[derive(Debug)]
pub enum Flow {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Flow {
    /// Whether a message comes back now.
    pub fn alive(&mut self) -> bool {
        let mut buf = [0; 64];
        match self {
            Self::Tcp(stream) => {
                stream.write_all(b"still here").is_ok()
                    && stream
                        .read_exact(&mut buf[..10])
                        .map(|()| &buf[..10] == b"still here")
                        .unwrap_or(false)
            }
            Self::Udp(socket) => {
                let _ = socket.send(b"still here");
                matches!(socket.recv(&mut buf), Ok(10))
            }
        }
    }
}

/// Opens one that must get through, however busy this machine is.
pub fn reach(host: &Host, protocol: Protocol, source: &str, server: &str, port: u16) -> Flow {
    let start = Instant::now();
    loop {
        match flow(host, protocol, source, server, port) {
            Ok(flow) => return flow,
            Err(e) => {
                assert!(start.elapsed() < LONG, "{e:?}: {source} to {server} {protocol}/{port}")
            }
        }
    }
}

/// Opens one from a host.
pub fn flow(
    host: &Host,
    protocol: Protocol,
    source: &str,
    server: &str,
    port: u16,
) -> Result<Flow, Seen> {
    let (source, server) = (ip(source), SocketAddr::new(ip(server), port));
    host.run(
        move || if protocol == Protocol::Tcp { tcp(source, server) } else { udp(source, server) },
    )
}

fn seen(error: &std::io::Error) -> Seen {
    match error.kind() {
        ErrorKind::ConnectionRefused => Seen::Refused,
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Seen::Silent,
        _ => panic!("{error}"),
    }
}

fn tcp(source: IpAddr, server: SocketAddr) -> Result<Flow, Seen> {
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(server), socket2::Type::STREAM, None)
            .unwrap();
    socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    socket.connect_timeout(&server.into(), PATIENCE).map_err(|e| seen(&e))?;
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut flow = Flow::Tcp(socket.into());
    assert!(flow.alive(), "{server} does not echo");
    Ok(flow)
}

fn udp(source: IpAddr, server: SocketAddr) -> Result<Flow, Seen> {
    let socket = UdpSocket::bind((source, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(b"first").unwrap();
    socket.recv(&mut [0; 64]).map_err(|e| seen(&e))?;
    Ok(Flow::Udp(socket))
}

/// Echoes on every address of a host.
pub fn echoes(host: &Host, tcp: &[u16], udp: &[u16]) {
    let (tcp, udp) = (tcp.to_vec(), udp.to_vec());
    host.run(move || {
        for port in tcp {
            let listener = TcpListener::bind(("::", port)).unwrap();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    std::thread::spawn(move || {
                        let (mut from, mut to) = (&stream, &stream);
                        let _ = std::io::copy(&mut from, &mut to);
                    });
                }
            });
        }
        for port in udp {
            let echo = UdpSocket::bind(("::", port)).unwrap();
            std::thread::spawn(move || {
                let mut buf = [0; 64];
                while let Ok((length, from)) = echo.recv_from(&mut buf) {
                    let _ = echo.send_to(&buf[..length], from);
                }
            });
        }
    });
}
