//! What the clients do, each with an address of its own in both families.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use spa_proto::{Ack, Op, Request, Session, Status};
use spa_tests::Family;
use spa_tests::daemon::{Client, Server};
use spa_tests::knocker::{Knocker, Sender};
use spa_tests::netns::{Host, Lan};
use spa_tests::probe::{TcpProbe, tcp_from};

use super::oracle::Oracle;
use super::{Dice, SERVICES};

/// How long an answer is waited for before the packets are sent again.
const PATIENCE: Duration = Duration::from_millis(600);
const RESENDS: usize = 3;
/// How long a connection to what must be open may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long what must be shut is tried.
const GLANCE: Duration = Duration::from_millis(60);
/// Used knocks that a client keeps, to be sent again.
const KEPT: usize = 6;

/// One client; each family is a row of the oracle's of its own.
pub(crate) struct User {
    at: usize,
    knocker: Knocker,
    family: Family,
    sender: Sender,
    host: Host,
    server: Host,
    old: Mutex<Vec<Session>>,
    /// Its services.
    may: Vec<usize>,
}

impl User {
    /// Enrols it, with a stanza unlike its neighbour's, and gives it an address.
    pub(crate) fn new(net: &Lan, server: &Server, at: usize) -> User {
        let family = Family::BOTH[at % 2];
        let address: IpAddr = match family {
            Family::V4 => [198, 51, 100, 100 + at as u8].into(),
            Family::V6 => [0x2001, 0xdb8, 0xc, 0, 0, 0, 1, at as u16].into(),
        };
        net.client.add_spare_address(address);
        let may: Vec<usize> = (0..SERVICES.len()).filter(|one| (at + one) % 3 != 2).collect();
        let from = format!("{address}/{}", if family == Family::V4 { 24 } else { 64 });
        let more: &[&str] = match at % 4 {
            0 => &["--max-ttl", "4s"],
            1 => &["--from", &from],
            2 => &["--ttl", "3s", "--max-grants", "4"],
            _ => &[],
        };
        let services = may.iter().flat_map(|one| ["--service", SERVICES[*one].0]);
        let arguments: Vec<&str> = services.chain(more.iter().copied()).collect();
        let client = Client::enrolled_with(&net.client, server, &format!("user{at}"), &arguments);
        let knocker = Knocker::of(&client);
        let sender = Sender::from(&net.client, address, &net.server);
        let (host, server) = (net.client.clone(), net.server.clone());
        User { at, knocker, family, sender, host, server, old: Mutex::default(), may }
    }

    /// A knock or a close until it is answered; what was told, and when it was made.
    pub(crate) fn ask(&self, service: usize, op: Op, bound: bool) -> (Option<Ack>, Instant) {
        let bind_src = bound.then(|| self.sender.source());
        let session = self.knocker.session_with(SERVICES[service].0, |request| Request {
            op,
            bind_src,
            ..request
        });
        let made = Instant::now();
        let ack = (0..RESENDS).find_map(|_| {
            self.sender.all(&session);
            self.knocker.lasting_ack(&self.sender, &session, PATIENCE)
        });
        // One that nobody has answered was perhaps not used, and would open.
        if ack.is_some_and(|ack| ack.status == Status::Granted) {
            let mut old = self.old.lock().unwrap();
            if old.len() == KEPT {
                old.remove(0);
            }
            old.push(session);
        }
        (ack, made)
    }

    /// Numbers of the services that it may open.
    pub(crate) fn services(&self) -> &[usize] {
        &self.may
    }

    fn look(&self, service: usize, patience: Duration) -> TcpProbe {
        let target = self.server.at(self.family, SERVICES[service].1);
        tcp_from(&self.host, SocketAddr::new(self.sender.source(), 0), target, patience)
    }
}

/// One thing that a user does, at random, and what must come of it.
pub(crate) fn run_user(user: &User, oracle: &Oracle, net: &Lan, dice: &mut Dice) {
    let service = *dice.pick(&user.may);
    match dice.below(10) {
        0..=3 => open(user, oracle, service, dice.below(2) == 0),
        4 => close(user, oracle, service),
        5 => repeat_old(user, net, dice),
        6..=8 => look_at_shut(user, oracle, dice.below(SERVICES.len() as u64) as usize),
        _ => look_as_stranger(user, oracle, net, service),
    }
}

fn open(user: &User, oracle: &Oracle, service: usize, bound: bool) {
    let moment = oracle.now();
    oracle.note_tried(user.at, service);
    oracle.note_unsure(user.at, service);
    let (ack, made) = user.ask(service, Op::Open, bound);
    match ack {
        Some(ack) if ack.status == Status::Granted => {
            oracle.note_granted(user.at, service, ack.ttl_s, made);
        }
        Some(ack) => {
            assert!(
                !oracle.was_calm(moment) || ack.status != Status::Denied,
                "user{}: {ack:?}",
                user.at
            );
        }
        None => assert!(!oracle.was_calm(moment), "user{} hears nothing", user.at),
    }
    if oracle.must_be_open(user.at, service, CONNECT / 2) {
        let seen = user.look(service, CONNECT);
        // Whatever happened meanwhile, and it may have ended while the machine was busy.
        if oracle.was_calm(moment) && oracle.must_be_open(user.at, service, Duration::ZERO) {
            assert_eq!(seen, TcpProbe::Open, "user{} at {}", user.at, SERVICES[service].0);
            oracle.note_seen(true);
        }
    }
}

fn close(user: &User, oracle: &Oracle, service: usize) {
    oracle.note_unsure(user.at, service);
    let (ack, _) = user.ask(service, Op::Close, true);
    if ack.is_some_and(|ack| ack.status == Status::Granted) {
        oracle.note_closed(user.at, service);
    }
}

/// Opens nothing, whoever sends it; what must be shut is looked at all the time.
fn repeat_old(user: &User, net: &Lan, dice: &mut Dice) {
    let old = user.old.lock().unwrap();
    if old.is_empty() {
        return;
    }
    let session = dice.pick(&old);
    user.sender.all(session);
    Sender::new(&net.stranger, &net.server, user.family).all(session);
}

fn look_at_shut(user: &User, oracle: &Oracle, service: usize) {
    let moment = oracle.now();
    if oracle.may_be_open(user.at, service) {
        return;
    }
    let seen = user.look(service, GLANCE);
    if oracle.had_rules(moment) {
        assert_ne!(seen, TcpProbe::Open, "user{} at {}", user.at, SERVICES[service].0);
        oracle.note_seen(false);
    }
}

fn look_as_stranger(user: &User, oracle: &Oracle, net: &Lan, service: usize) {
    let moment = oracle.now();
    let target = net.server.at(user.family, SERVICES[service].1);
    let seen = tcp_from(&net.stranger, user.family.any(0), target, GLANCE);
    if oracle.had_rules(moment) {
        assert_ne!(seen, TcpProbe::Open, "a stranger at {}", SERVICES[service].0);
        oracle.note_seen(false);
    }
}
