//! CONFIRM, against a server that the test plays itself: which of the told addresses is named, and
//! when.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod fake;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use fake::{Fake, Got, end, now_ms};
use nix::sys::socket::{Backlog, listen};
use spa_proto::{Ack, Reason, ServerSession, Status};

const OWN: &str = "127.0.0.1";
const RELAY: &str = "127.0.0.9";
const RESEND: Duration = Duration::from_millis(600);

/// A session of provisional kind, as the server sees it.
struct Session<'a> {
    server: &'a Fake,
    stages: Vec<Got>,
    keys: ServerSession,
}

impl<'a> Session<'a> {
    fn of(server: &'a Fake) -> Self {
        let stages = server.transmission();
        let keys = server.open(&stages[0]).0;
        Self { server, stages, keys }
    }

    /// An answer with this number that tells this address.
    fn tell(&self, number: u8, address: &str) {
        let observed = SocketAddr::new(address.parse().unwrap(), self.stages[2].from.port());
        let ack = Ack {
            status: Status::Granted,
            reason: Reason::None,
            ttl_s: 60,
            server_ms: now_ms(),
            observed,
            number,
            provisional: number == 0,
            rekey_wanted: false,
        };
        self.server.send(&self.stages[2], &self.keys.seal_ack(&ack, None));
    }

    /// The next datagram, if it is a CONFIRM: its number and address.
    fn confirm(&self) -> Option<(u8, String)> {
        let got = self.server.next();
        assert_eq!((got.stage, got.from), (2, self.stages[2].from), "one socket, the last port");
        match self.keys.open_confirm(&got.bytes) {
            Some(confirm) => Some((confirm.number, confirm.address.to_string())),
            None => {
                assert_eq!(got.bytes, self.stages[2].bytes, "the last stage, the same bytes");
                None
            }
        }
    }

    /// Datagrams until the first CONFIRM with another number than this one; that one, and how many
    /// CONFIRMs and last stages came before.
    fn next_confirm(&self, number: u8) -> ((u8, String), usize, usize) {
        let (mut confirms, mut stages) = (0, 0);
        loop {
            match self.confirm() {
                Some(confirm) if confirm.0 != number => return (confirm, confirms, stages),
                Some(_) => confirms += 1,
                None => stages += 1,
            }
        }
    }
}

fn named(number: u8, address: &str) -> (u8, String) {
    (number, address.to_owned())
}

#[test]
fn each_told_address_is_named_in_its_turn() {
    let server = Fake::new(&[OWN]);
    let client = server.start(&["open", "vpn@gate", "--timeout", "60s"]);
    let session = Session::of(&server);
    session.tell(0, RELAY);
    let begun = Instant::now();
    assert_eq!(session.confirm(), Some(named(1, RELAY)));
    session.tell(0, OWN);
    session.tell(0, RELAY);
    // Sent three times more, each with the last stage, then the other one; of two that were named
    // as often the one that was told first.
    for (number, next) in [(1, named(2, OWN)), (2, named(3, RELAY)), (3, named(4, OWN))] {
        assert_eq!(session.next_confirm(number), (next, 3, 3), "{number}");
        assert!(begun.elapsed() >= RESEND * 4 * u32::from(number));
    }
    // An older number decides nothing.
    session.tell(3, RELAY);
    assert_eq!(session.confirm(), None);
    assert_eq!(session.confirm(), Some(named(4, OWN)));
    session.tell(4, OWN);
    let ended = end(client);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("seen this knock come from several addresses"), "{}", ended.err);
}

#[test]
fn after_eight_confirms_there_is_a_new_session() {
    let server = Fake::new(&[OWN]);
    let client = server.start(&["open", "vpn@gate", "--timeout", "60s"]);
    let session = Session::of(&server);
    session.tell(0, OWN);
    assert_eq!(session.confirm(), Some(named(1, OWN)));
    for number in 1..8 {
        assert_eq!(session.next_confirm(number), (named(number + 1, OWN), 3, 3));
    }
    for _ in 0..3 {
        assert_eq!((session.confirm(), session.confirm()), (None, Some(named(8, OWN))));
    }
    let fresh = Session::of(&server);
    assert_ne!(fresh.stages[0].bytes, session.stages[0].bytes);
    fresh.tell(0, OWN);
    assert_eq!(fresh.confirm(), Some(named(1, OWN)));
    fresh.tell(1, OWN);
    let ended = end(client);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
}

/// A port that takes no connection, and what fills its queue.
fn shut_service() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind((OWN, 0)).unwrap();
    // Who connects to a full queue hears nothing.
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let target = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&target, Duration::from_millis(300)) {
        queue.push(stream);
    }
    (listener, queue)
}

/// The server takes no CONFIRM of a session that it has forgotten: after 25 seconds there is a new
/// one, however many numbers are left.
#[test]
fn after_twenty_five_seconds_there_is_a_new_session() {
    let (listener, _queue) = shut_service();
    let server = Fake::new(&[OWN]).with_ssh(&listener);
    let mut client = server.start(&["open", "ssh@gate", "--timeout", "60s"]);
    let session = Session::of(&server);
    // Four round trips are how long the service is tried after each CONFIRM.
    std::thread::sleep(Duration::from_millis(500));
    session.tell(0, OWN);
    let begun = Instant::now();
    session.tell(0, RELAY);
    let (mut number, mut repeated) = (0, 0);
    let fresh = loop {
        let got = server.next();
        match session.keys.open_confirm(&got.bytes) {
            Some(confirm) if confirm.number == number => repeated += 1,
            Some(confirm) => {
                (number, repeated) = (confirm.number, 0);
                assert!(begun.elapsed() < Duration::from_secs(25), "CONFIRM {number}");
            }
            None if session.stages.iter().any(|stage| stage.bytes == got.bytes) => {}
            None => break got,
        }
        if repeated == 3 {
            session.tell(number, OWN);
            session.tell(0, RELAY);
        }
    };
    assert!((4..8).contains(&number) && begun.elapsed() >= Duration::from_secs(25), "{number}");
    assert_ne!(fresh.from, session.stages[0].from);
    client.kill().unwrap();
    client.wait().unwrap();
}

/// A relay that brings the client his answer while the service is slow has had his turn, and the
/// client's own address has the next one.
#[test]
fn a_service_that_stays_shut_gives_each_address_its_turn() {
    let (listener, queue) = shut_service();
    let server = Fake::new(&[OWN]).with_ssh(&listener);
    let client = server.start(&["open", "ssh@gate", "--timeout", "60s"]);
    let session = Session::of(&server);
    session.tell(0, OWN);
    assert_eq!(session.confirm(), Some(named(1, OWN)));
    session.tell(1, OWN);
    let begun = Instant::now();
    assert_eq!(session.confirm(), None, "who else was seen?");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    session.tell(0, RELAY);
    assert_eq!(session.confirm(), Some(named(2, RELAY)));
    session.tell(2, RELAY);
    assert_eq!(session.confirm(), None);
    session.tell(0, RELAY);
    let (third, ..) = session.next_confirm(2);
    assert_eq!(third, named(3, OWN));
    // The service is there again.
    for _ in &queue {
        drop(listener.accept().unwrap());
    }
    session.tell(3, OWN);
    let ended = end(client);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

#[test]
fn another_address_than_the_expected_one_is_never_confirmed() {
    let server = Fake::new(&[OWN]);
    server.config("[host.gate]\nbind-src = \"never\"\nexpect-address = [\"127.0.0.1\"]\n");
    let client = server.start(&["open", "vpn@gate", "--timeout", "3s"]);
    let session = Session::of(&server);
    session.tell(0, RELAY);
    // It closes what was opened for the relay, by sessions of their own.
    let close = server.transmission();
    assert!(session.keys.open_confirm(&close[2].bytes).is_none());
    server.send(&close[2], &server.ack(&close[2], Status::Granted, Reason::None, 0, now_ms()));
    assert_eq!(end(client).code, Some(1));
    assert!(server.nothing_more());
}
