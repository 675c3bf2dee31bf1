//! What one core does with strangers' packets and with knocks, and what memory clients cost: one
//! line of `key=value` per number of clients. `make bench` runs it; without arguments it measures
//! 1, 1 000, 100 000 and 1 000 000 clients, each in a process of its own so that memory is counted
//! from zero.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spa_proto::{
    ClientPublic, ClientSecret, Context, KeyKind, Op, PairKeys, Psk, Request, ServerSecret,
    Session, SessionParts, TagKey, service_id,
};
use spa_server::domain::datagram::Datagram;
use spa_server::domain::grant::Scope;
use spa_server::engine::{
    Action, Claim, Engine, Freshness, Now, Ports, RegisteredClient, Registry, Sequence,
    ServiceTerms, Settings, Stanza, live_epochs,
};

const PORTS: [u16; 3] = [7001, 7002, 7003];
/// 5 s into a tag epoch: two epochs are live.
const NOW_MS: u64 = 1_795_435_205_000;
/// Knocks that are timed.
const KNOCKS: usize = 2000;
/// Packets per timed round.
const PACKETS: u32 = 2_000_000;

fn main() {
    let counts: Vec<String> = std::env::args().skip(1).collect();
    match counts.as_slice() {
        [one] => measure(one.parse().expect("a number of clients")),
        _ => {
            for count in ["1", "1000", "10000", "100000", "1000000"] {
                let status =
                    Command::new(std::env::current_exe().unwrap()).arg(count).status().unwrap();
                assert!(status.success());
            }
        }
    }
}

/// xorshift64*: fast, and the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn bytes(&mut self) -> [u8; 32] {
        let mut out = [0; 32];
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes());
        }
        out
    }
}

/// Real keys for those that knock, random bytes for the rest: to the tables they are the same.
struct People {
    clients: usize,
    every: usize,
}

impl People {
    fn knocks(&self, index: usize) -> bool {
        index.is_multiple_of(self.every) && index / self.every < KNOCKS
    }

    fn secret(index: usize) -> (ClientSecret, Psk) {
        let mut random = Random(index as u64 + 1);
        (ClientSecret::from_bytes(random.bytes()), Psk::from_bytes(random.bytes()))
    }

    fn enrolled(&self) -> impl Iterator<Item = RegisteredClient> + '_ {
        (0..self.clients).map(|index| {
            let mut random = Random(index as u64 + 0x5eed);
            let (public, psk) = if self.knocks(index) {
                let (secret, psk) = Self::secret(index);
                (secret.public(), psk)
            } else {
                (
                    ClientPublic {
                        sign: random.bytes(),
                        dh: random.bytes(),
                        kind: KeyKind::Ed25519,
                    },
                    Psk::from_bytes(random.bytes()),
                )
            };
            let stanza = Stanza { services: vec!["ssh".into()], ..Stanza::default() };
            RegisteredClient {
                name: format!("client-{index}"),
                public,
                psk,
                stanza,
                since_ms: None,
                kem: None,
            }
        })
    }
}

/// A line of `/proc/self/status`, in bytes.
fn memory(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn measure(clients: usize) {
    let people = People { clients, every: (clients / KNOCKS).max(1) };
    let now = Now { mono: Duration::from_secs(1000), unix_ms: NOW_MS };
    let settings = Settings {
        sequence: Sequence::new(
            Ports::Fixed(PORTS.to_vec()),
            Duration::from_secs(30),
            Duration::from_millis(200),
        ),
        window_past: Duration::from_secs(30),
        window_future: Duration::from_secs(10),
        ack: true,
        pair_age: None,
        provisional: Duration::from_secs(10),
        mark_sequence: false,
    };
    let service = ServiceTerms {
        name: "ssh".into(),
        scope: Scope::Ports(Arc::from(["tcp/22".parse().unwrap()])),
        ttl: Duration::from_secs(600),
        max_ttl: Duration::from_secs(600),
    };
    let server = ServerSecret::from_bytes([7; 32]);
    let before = memory("VmRSS");
    let start = Instant::now();
    let registry =
        Arc::new(Registry::new(server.clone(), vec![service], people.enrolled()).unwrap());
    let registry_ms = ms(start.elapsed());
    let mut engine = Engine::new(
        Arc::clone(&registry),
        settings.clone(),
        Freshness::unknown(0, Duration::ZERO, Duration::ZERO),
        now,
    );
    let start = Instant::now();
    engine.build_tables(now);
    let (first, last) = live_epochs(clients, &settings, NOW_MS);
    let tables = last - first + 1;
    let table_ms = ms(start.elapsed()) / tables as f64;
    let (after, peak) = (memory("VmRSS") - before, memory("VmHWM") - before);

    let stranger_ns = strangers(&mut engine, now, 144);
    let short_ns = strangers(&mut engine, now, 143);
    let sessions = sessions(&people, &server);
    let wrong_mac_ns = wrong_mac(&mut engine, now, &sessions);
    let (knock_us, replay_ns) = knocks(&mut engine, now, &sessions);
    println!(
        "engine clients={clients} tables={tables} registry_ms={registry_ms:.1} \
         table_ms={table_ms:.1} \
         rss_mb={:.1} rss_per_client={:.0} peak_mb={:.1} peak_per_client={:.0} stranger_ns={stranger_ns:.1} \
         short_ns={short_ns:.1} wrong_mac_ns={wrong_mac_ns:.0} replay_ns={replay_ns:.0} knock_us={knock_us:.1} \
         knocks_per_s={:.0}",
        after / 1e6,
        after / clients as f64,
        peak / 1e6,
        peak / clients as f64,
        1e6 / knock_us
    );
}

fn destination(port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 1], port))
}

/// Nanoseconds for a packet with a random tag: the best of five rounds, because the machine is
/// shared.
fn strangers(engine: &mut Engine, now: Now, length: usize) -> f64 {
    let mut random = Random(0xbad_cafe);
    let mut packet = vec![0x5a; length];
    let mut round = || {
        let start = Instant::now();
        for _ in 0..PACKETS {
            let tag = random.next();
            packet[..8].copy_from_slice(&tag.to_be_bytes());
            let source = SocketAddr::from(((tag as u32).to_be_bytes(), 4000));
            engine.handle(
                now,
                Datagram { source, destination: destination(7001), payload: &packet, link: None },
            );
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(PACKETS)
    };
    let best = (0..5).map(|_| round()).fold(f64::INFINITY, f64::min);
    assert!(engine.poll().is_none());
    best
}

fn sessions(people: &People, server: &ServerSecret) -> Vec<Session> {
    let server = server.public();
    let one = |nth: usize| {
        let index = (nth % people.clients.div_ceil(people.every).min(KNOCKS)) * people.every;
        let (secret, psk) = People::secret(index);
        let context = Context::new(&server, &secret.public());
        let tag = TagKey::derive(&psk, &context);
        let pair = PairKeys::of_client(&psk, &secret, &server, &context).unwrap();
        let parts = SessionParts {
            server: &server,
            context: &context,
            tag: &tag,
            pair: &pair,
            signer: &secret,
            hedge: &secret.hedge_key(),
        };
        let request = Request {
            service: service_id("ssh"),
            ttl_s: 0,
            op: Op::Open,
            want_ack: true,
            bind_src: None,
            for_addr: None,
            all: false,
            ports: &PORTS,
            padding: &[],
        };
        // A millisecond apart: what one client's full used-set evicts must be older than what
        // comes.
        Session::new(&parts, &request, NOW_MS - (KNOCKS - nth) as u64).unwrap()
    };
    (0..KNOCKS).map(one).collect()
}

/// Nanoseconds for a packet with a live tag and a wrong mac: the dearest that one without keys can
/// send.
fn wrong_mac(engine: &mut Engine, now: Now, sessions: &[Session]) -> f64 {
    let bad: Vec<Vec<u8>> = sessions
        .iter()
        .map(|session| {
            let mut bytes = session.packets()[0].1.clone();
            bytes[100] ^= 1;
            bytes
        })
        .collect();
    let source = SocketAddr::from(([192, 0, 2, 1], 4000));
    let mut round = || {
        let start = Instant::now();
        for payload in &bad {
            engine.handle(
                now,
                Datagram { source, destination: destination(PORTS[0]), payload, link: None },
            );
        }
        start.elapsed().as_secs_f64() * 1e9 / bad.len() as f64
    };
    (0..5).map(|_| round()).fold(f64::INFINITY, f64::min)
}

/// Microseconds for a whole knock of three stages by a client that has not knocked before (with one
/// client: that has), store and firewall answering at once; and nanoseconds for each packet of a
/// replay of it.
fn knocks(engine: &mut Engine, now: Now, sessions: &[Session]) -> (f64, f64) {
    let mut opened = 0;
    let start = Instant::now();
    for (nth, session) in (0u32..).zip(sessions) {
        // A budget's tokens grow meanwhile: with one client it would end otherwise.
        let now = Now { mono: now.mono + Duration::from_millis(50) * nth, ..now };
        let source = SocketAddr::from((0x0a00_0000u32.wrapping_add(nth).to_be_bytes(), 4000));
        for (port, payload) in session.packets() {
            engine.handle(
                now,
                Datagram { source, destination: destination(*port), payload, link: None },
            );
            while let Some(action) = engine.poll() {
                match action {
                    Action::Claim { session, .. } => {
                        engine.apply_claim(now, session, Claim::Fresh);
                    }
                    Action::Open { session, .. } => {
                        opened += 1;
                        engine.apply_open_outcome(now, session, Ok(()));
                    }
                    _ => {}
                }
            }
        }
    }
    let knock_us = start.elapsed().as_secs_f64() * 1e6 / sessions.len() as f64;
    assert_eq!(opened, sessions.len());
    let source = SocketAddr::from(([198, 51, 100, 1], 4000));
    let start = Instant::now();
    for session in sessions {
        for (port, payload) in session.packets() {
            engine.handle(
                now,
                Datagram { source, destination: destination(*port), payload, link: None },
            );
            while engine.poll().is_some() {}
        }
    }
    (knock_us, start.elapsed().as_secs_f64() * 1e9 / (3 * sessions.len()) as f64)
}
