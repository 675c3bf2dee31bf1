//! The attacks, each as one function that goes on until [`Site::over`].

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use spa_proto::danger::remac;
use spa_proto::{Op, Request, random};
use spa_tests::Family;
use spa_tests::knocker::Sender;
use spa_tests::packet;
use spa_tests::raw::Forger;
use spa_tests::tap::{Tap, outside};

use super::{BAIT, MODEST, Site};

/// Knock ports of the tests' configuration.
const KNOCK_PORTS: [u16; 3] = [40001, 40002, 40003];
/// Copies of each datagram ahead of it, and behind it.
const COPIES: usize = 20;
/// Addresses that a forger draws from, beside the attacker's own.
const FORGED: u64 = 200;
/// A port without a service, where a packet makes an entry of conntrack.
const NO_SERVICE: u16 = 9;
/// Time of the stolen keys' sessions; tags live for a minute.
const FRESH: Duration = Duration::from_secs(5);

type Attack = Box<dyn Fn(&Site) + Sync>;

/// Name and attack; `most` is the greatest rate of a flood, in packets per second.
pub(crate) fn all(most: u64) -> Vec<(&'static str, Attack)> {
    let mut all: Vec<(&str, Attack)> = Vec::new();
    for rate in [MODEST, most] {
        all.push(("random bytes to the knock ports", Box::new(move |s| throw_noise(s, rate))));
        all.push(("garbage with the right tag", Box::new(move |s| throw_garbage(s, rate, false))));
        all.push(("garbage with the right mac", Box::new(move |s| throw_garbage(s, rate, true))));
        all.push(("baits touched in the client's name", Box::new(move |s| touch_baits(s, rate))));
        all.push(("entries of conntrack", Box::new(move |s| fill_conntrack(s, rate))));
    }
    all.push(("copies ahead of and behind each datagram", Box::new(copy_all)));
    all.push(("sessions and closes of an enrolled client", Box::new(knock_without_end)));
    all
}

/// Packets per second that the server reads when it gets more than it can.
pub(crate) fn measure_capacity(site: &Site) -> u64 {
    let read = || site.scene.server.status()["packets"]["all"].as_u64().unwrap();
    let before = read();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| throw_noise(site, 1_000_000));
        std::thread::sleep(Duration::from_secs(1));
        site.over.store(true, Ordering::Relaxed);
    });
    let took = begun.elapsed().as_secs_f64();
    ((read() - before) as f64 / took) as u64
}

/// Forged sources of networks that nobody has (RFC 2544, RFC 5180).
fn forged_source(family: Family, number: u64) -> SocketAddr {
    let low = (number % FORGED) as u8;
    let address: IpAddr = match family {
        Family::V4 => [198, 18, 0, low].into(),
        Family::V6 => [0x2001, 2, 0, 0, 0, 0, 0, u16::from(low)].into(),
    };
    SocketAddr::new(address, 2000 + (number % 50_000) as u16)
}

fn family_of(number: u64) -> Family {
    Family::BOTH[usize::from(number % 2 == 1)]
}

fn throw_noise(site: &Site, rate: u64) {
    site.over.store(false, Ordering::Relaxed);
    let forger = Forger::new(&site.net.router);
    site.flood(rate, |number| {
        let family = family_of(number);
        let port = KNOCK_PORTS[(number / 2 % 3) as usize];
        let noise: [u8; 200] = random().unwrap();
        let target = site.net.server.at(family, port);
        forger.udp(forged_source(family, number), target, &noise);
    });
}

fn throw_garbage(site: &Site, rate: u64, has_pair: bool) {
    let senders =
        Family::BOTH.map(|family| Sender::new(&site.net.stranger, &site.net.server, family));
    let mut session = site.stolen.session("ssh");
    let mut made = Instant::now();
    site.flood(rate, |number| {
        if made.elapsed() > FRESH {
            (session, made) = (site.stolen.session("ssh"), Instant::now());
        }
        let (port, packet) = &session.packets()[0];
        let mut garbage = packet.clone();
        let noise: [u8; 64] = random().unwrap();
        garbage[8..72].copy_from_slice(&noise);
        if has_pair {
            remac(site.stolen.parts().pair, &mut garbage);
        }
        senders[usize::from(number % 2 == 1)].send(*port, &garbage);
    });
}

fn touch_baits(site: &Site, rate: u64) {
    let forger = Forger::new(&site.net.router);
    site.flood(rate, |number| {
        let family = family_of(number);
        let source = SocketAddr::new(outside(family), 2000 + (number % 50_000) as u16);
        forger.send(&packet::tcp_syn(source, site.net.server.at(family, BAIT)));
    });
}

fn fill_conntrack(site: &Site, rate: u64) {
    let forger = Forger::new(&site.net.router);
    site.flood(rate, |number| {
        let family = family_of(number);
        forger.udp(forged_source(family, number), site.net.server.at(family, NO_SERVICE), b"x");
    });
}

fn copy_all(site: &Site) {
    let stranger = site.net.stranger.clone();
    let _tap = Tap::start(&site.net, move |forger, caught| {
        let thief = stranger.at(Family::of(caught.source.ip()), 4444);
        let copy = || forger.udp(thief, caught.target, &caught.payload);
        (0..COPIES).for_each(|_| copy());
        forger.udp(caught.source, caught.target, &caught.payload);
        (0..COPIES).for_each(|_| copy());
    });
    site.flood(1, |_| ());
}

/// As fast as it can: each session opens, and each is closed again, with its flows.
fn knock_without_end(site: &Site) {
    let senders =
        Family::BOTH.map(|family| Sender::new(&site.net.stranger, &site.net.server, family));
    site.flood(MODEST, |number| {
        let sender = &senders[usize::from(number / 2 % 2 == 1)];
        let op = if number % 2 == 0 { Op::Open } else { Op::Close };
        let bind_src = Some(sender.source());
        let session =
            site.stolen.session_with("cut", |request| Request { op, bind_src, ..request });
        sender.all(&session);
    });
}
