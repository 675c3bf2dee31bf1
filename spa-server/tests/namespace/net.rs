//! A server and a client on a cable, and what a packet of the client meets.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Host, ip, sh};
use spa_server::firewall::nftables::Nftables;
use spa_server::firewall::{Firewall, Rules};

/// How long an answer over the cable may take before it counts as silence.
pub const PATIENCE: Duration = Duration::from_millis(300);

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Seen {
    Open,
    Refused,
    Silent,
}

use Seen::{Open, Refused, Silent};

/// A server with TCP services on 22 and 80 and an echo on UDP 5000, and a client on its cable.
pub struct Net {
    pub server: Host,
    pub client: Host,
    firewall: Arc<Mutex<Option<Nftables>>>,
}

/// Server's and client's addresses in both families.
pub const FAMILIES: [(&str, &str, &str); 2] =
    [("10.9.1.1", "10.9.1.2", "10.9.1.3"), ("fd09:1::1", "fd09:1::2", "fd09:1:0:0:7::3")];

impl Net {
    pub fn new(rules: &Rules) -> Self {
        let (server, client) = (Host::new(), Host::new());
        server.cable(&client, 1);
        client.run(|| {
            sh("ip addr add 10.9.1.3/24 dev far1");
            sh("ip -6 addr add fd09:1:0:0:7::3/64 dev far1 nodad");
        });
        server.run(|| {
            for port in [22, 80] {
                // One listener serves both families; a connection needs no accept to be made.
                let listener = TcpListener::bind(("::", port)).unwrap();
                std::mem::forget(listener);
            }
            let echo = UdpSocket::bind("[::]:5000").unwrap();
            std::thread::spawn(move || {
                let mut buf = [0; 64];
                while let Ok((length, from)) = echo.recv_from(&mut buf) {
                    let _ = echo.send_to(&buf[..length], from);
                }
            });
        });
        let net = Self { server, client, firewall: Arc::default() };
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
        let firewall = self.firewall.clone();
        self.server.run(move || {
            let mut firewall = firewall.lock().unwrap();
            job(firewall.get_or_insert_with(|| Nftables::new().unwrap()))
        })
    }

    /// What a TCP connection from `source` to the server meets.
    pub fn tcp(&self, source: &str, server: &str, port: u16) -> Seen {
        let (source, server) = (ip(source), SocketAddr::new(ip(server), port));
        self.client.run(move || connect(source, server).0)
    }

    /// What a datagram meets.
    pub fn udp(&self, source: &str, server: &str, port: u16) -> Seen {
        let (source, server) = (ip(source), SocketAddr::new(ip(server), port));
        self.client.run(move || {
            let socket = UdpSocket::bind((source, 0)).unwrap();
            socket.connect(server).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.send(b"knock knock").unwrap();
            match socket.recv(&mut [0; 64]) {
                Ok(_) => Open,
                Err(e) if e.kind() == ErrorKind::ConnectionRefused => Refused,
                Err(_) => Silent,
            }
        })
    }

    /// Whether an echo request is answered.
    pub fn ping(&self, server: &str) -> bool {
        let server = SocketAddr::new(ip(server), 0);
        self.client.run(move || {
            sh("echo 0 0 > /proc/sys/net/ipv4/ping_group_range");
            let (protocol, kind) = match server {
                SocketAddr::V4(_) => (socket2::Protocol::ICMPV4, 8),
                SocketAddr::V6(_) => (socket2::Protocol::ICMPV6, 128),
            };
            let socket = socket2::Socket::new(
                socket2::Domain::for_address(server),
                socket2::Type::DGRAM,
                Some(protocol),
            )
            .unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.connect(&server.into()).unwrap();
            socket.send(&[kind, 0, 0, 0, 0, 0, 0, 1]).unwrap();
            std::io::Read::read(&mut &socket, &mut [0; 64]).is_ok()
        })
    }
}

pub fn connect(source: IpAddr, server: SocketAddr) -> (Seen, Option<socket2::Socket>) {
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(server), socket2::Type::STREAM, None)
            .unwrap();
    socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    match socket.connect_timeout(&server.into(), PATIENCE) {
        Ok(()) => (Open, Some(socket)),
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => (Refused, None),
        Err(e) if e.kind() == ErrorKind::TimedOut => (Silent, None),
        Err(e) => panic!("{server}: {e}"),
    }
}
