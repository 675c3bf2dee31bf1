//! A server made of spa-proto and loopback sockets, and a client with a home of its own. The test
//! is the server's mind: it takes packets one by one and decides what to answer.
#![allow(dead_code)]

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use spa_keys::{Folder, HostLine, Sequence, Service, ServiceProto, TextForm, file};
use spa_proto::{
    Ack, ClientSecret, Context, MAX_PACKET, PairKeys, Psk, Reason, SealedBody, ServerSecret,
    ServerSession, Status, TagKey, epoch_of,
};

static COUNT: AtomicU32 = AtomicU32::new(0);
/// Far longer than anything here takes: reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

pub(crate) struct Got {
    pub(crate) to_ip: IpAddr,
    pub(crate) stage: usize,
    pub(crate) bytes: Vec<u8>,
    pub(crate) from: SocketAddr,
}

pub(crate) struct Fake {
    pub(crate) ports: Vec<u16>,
    pub(crate) line: HostLine,
    pub(crate) home: PathBuf,
    sockets: Vec<(IpAddr, Vec<UdpSocket>)>,
    packets: Receiver<Got>,
    pub(crate) secret: ServerSecret,
    client: ClientSecret,
}

/// Sockets on one port at every address; another port when one of them is taken.
fn on_one_port(ips: &[IpAddr]) -> Vec<UdpSocket> {
    for _ in 0..100 {
        let first = UdpSocket::bind((ips[0], 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let rest: Result<Vec<UdpSocket>, _> =
            ips[1..].iter().map(|ip| UdpSocket::bind((*ip, port))).collect();
        if let Ok(rest) = rest {
            return std::iter::once(first).chain(rest).collect();
        }
    }
    panic!("no port is free at {ips:?}");
}

impl Fake {
    /// A server with three stages at these addresses, and an enrolled client.
    pub(crate) fn new(ips: &[&str]) -> Self {
        let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        let (sender, packets) = channel();
        let mut sockets: Vec<(IpAddr, Vec<UdpSocket>)> =
            ips.iter().map(|ip| (*ip, Vec::new())).collect();
        let mut ports = Vec::new();
        for stage in 0..3 {
            for (place, socket) in on_one_port(&ips).into_iter().enumerate() {
                let (reader, sender, to_ip) =
                    (socket.try_clone().unwrap(), sender.clone(), ips[place]);
                thread::spawn(move || {
                    let mut buffer = [0; MAX_PACKET + 1];
                    while let Ok((len, from)) = reader.recv_from(&mut buffer) {
                        if sender
                            .send(Got { to_ip, stage, bytes: buffer[..len].to_vec(), from })
                            .is_err()
                        {
                            return;
                        }
                    }
                });
                if place == 0 {
                    ports.push(socket.local_addr().unwrap().port());
                }
                sockets[place].1.push(socket);
            }
        }
        let secret = ServerSecret::generate().unwrap();
        let client = ClientSecret::generate().unwrap();
        let line = HostLine {
            server: secret.public(),
            client_check: HostLine::check_of(&client.public()),
            psk: Psk::generate().unwrap(),
            name: "alice".into(),
            hosts: ips.iter().map(ToString::to_string).collect(),
            sequence: Sequence::Ports(ports.clone()),
            ack: true,
            kem: false,
            services: vec![Service { name: "vpn".into(), proto: ServiceProto::Udp, port: 51820 }],
        };
        let unique = format!(
            "spa-client-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let home = std::env::temp_dir().join(unique);
        let fake = Self { ports, line, home, sockets, packets, secret, client };
        file::private_folder(fake.folder().path()).unwrap();
        file::write_new(&fake.folder().identity(), fake.client.to_text().expose()).unwrap();
        fake.enrol();
        fake
    }

    pub(crate) fn folder(&self) -> Folder {
        Folder::at(self.home.join(".config/spa"))
    }

    /// Writes the line as it is now.
    pub(crate) fn enrol(&self) {
        self.folder().write_host("gate", &self.line, true).unwrap();
    }

    pub(crate) fn config(&self, text: &str) {
        std::fs::write(self.folder().config(), text).unwrap();
    }

    /// Adds a service `ssh` at the port of a listener.
    pub(crate) fn with_ssh(mut self, listener: &TcpListener) -> Self {
        let port = listener.local_addr().unwrap().port();
        self.line.services.push(Service { name: "ssh".into(), proto: ServiceProto::Tcp, port });
        self.enrol();
        self
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spa-client"));
        command.args(args).env_clear().env("HOME", &self.home).env("TZ", "UTC");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    /// The next packet, whichever stage and address.
    pub(crate) fn next(&self) -> Got {
        self.packets.recv_timeout(PATIENCE).expect("a packet")
    }

    pub(crate) fn nothing_more(&self) -> bool {
        self.packets.try_recv().is_err()
    }

    /// The three stages of one transmission, which come from one source.
    pub(crate) fn transmission(&self) -> Vec<Got> {
        let mut all: Vec<Got> = (0..3).map(|_| self.next()).collect();
        // Sockets are read by threads of their own, so the order of arrival is not that of sending.
        all.sort_by_key(|got| got.stage);
        let stages: Vec<usize> = all.iter().map(|got| got.stage).collect();
        assert_eq!(stages, [0, 1, 2]);
        assert!(all.iter().all(|got| got.from == all[0].from));
        all
    }

    /// Opens a packet as a server does.
    pub(crate) fn open(&self, got: &Got) -> (ServerSession, SealedBody) {
        let public = self.client.public();
        let context = Context::new(&self.secret.public(), &public);
        let tags = TagKey::derive(&self.line.psk, &context);
        let pair = PairKeys::of_server(&self.line.psk, &self.secret, &public, &context).unwrap();
        assert!(pair.mac_is_right(&got.bytes));
        let ephemeral = pair.ephemeral(&got.bytes).unwrap();
        let session = ServerSession::agree(&self.secret, &pair, &context, &ephemeral).unwrap();
        let stage = u8::try_from(got.stage).unwrap();
        // The minute may have turned since it was made, and it may be by another clock.
        let now = epoch_of(now_ms());
        let is_right = |epoch: &u64| got.bytes[..8] == tags.tag(*epoch, stage);
        let epoch = (now - 15..=now + 15).find(is_right).expect("a tag of these minutes");
        let body = session.open(&got.bytes, epoch, stage, self.ports[got.stage]).unwrap();
        assert!(session.verify(&public, &body));
        (session, body)
    }

    /// The bytes of an ack for a session.
    pub(crate) fn ack(
        &self,
        got: &Got,
        status: Status,
        reason: Reason,
        ttl_s: u16,
        server_ms: u64,
    ) -> Vec<u8> {
        let ack = Ack {
            status,
            reason,
            ttl_s,
            server_ms,
            observed: got.from,
            number: 0,
            provisional: false,
            rekey_wanted: false,
        };
        self.open(got).0.seal_ack(&ack, None)
    }

    /// Sends from the last stage's port of the address that the packet came to.
    pub(crate) fn send(&self, got: &Got, bytes: &[u8]) {
        let (_, sockets) = self.sockets.iter().find(|(ip, _)| *ip == got.to_ip).unwrap();
        sockets[2].send_to(bytes, got.from).unwrap();
    }

    /// Takes a transmission and answers it.
    pub(crate) fn answer(&self, status: Status, reason: Reason, ttl_s: u16) -> Vec<Got> {
        let all = self.transmission();
        self.send(&all[2], &self.ack(&all[2], status, reason, ttl_s, now_ms()));
        all
    }

    pub(crate) fn grant(&self, ttl_s: u16) -> Vec<Got> {
        self.answer(Status::Granted, Reason::None, ttl_s)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn end(child: Child) -> Ended {
    ended(child.wait_with_output().unwrap())
}

pub(crate) fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
