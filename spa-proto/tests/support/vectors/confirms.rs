//! The vectors of CONFIRM. Each is read beside a session of three stages that has ended.

use std::net::{IpAddr, Ipv6Addr};

use spa_proto::{Confirm, Session, danger};

use super::bodies::{V4, V6};
use super::session_fields::E;
use super::{Vector, edited};
use crate::support::{PORTS, TS, World, counted, epoch, hex};

/// Stage of a CONFIRM's tag: the last one.
const LAST: u8 = 2;

/// Where the vectors go, and the session that is confirmed.
struct Confirms {
    world: World,
    session: Session,
    out: Vec<Vector>,
}

impl Confirms {
    fn add(&mut self, name: &str, comment: &str, expect: &str, datagram: &[u8]) {
        self.out.push(
            Vector::new("confirm", name, comment, expect)
                .secrets()
                .with("ephemeral", hex(counted(E)))
                .with("epoch", epoch())
                .with("stages", PORTS.len())
                .with("datagram", hex(datagram)),
        );
    }

    fn make(&self, number: u8, address: IpAddr, padding: usize) -> Vec<u8> {
        self.session.make_confirm(&self.world.pair, &Confirm { number, address }, padding)
    }

    fn good(&mut self, name: &str, comment: &str, number: u8, address: IpAddr, padding: usize) {
        let datagram = self.make(number, address, padding);
        self.add(name, comment, "confirmed", &datagram);
        let last = self.out.pop().unwrap();
        let last = last.with("number", number).with("address", address.to_canonical());
        self.out.push(last.with("padding", padding));
    }

    /// A datagram around any plaintext: only a holder of the session's keys makes it.
    fn around(&self, plain: &[u8]) -> Vec<u8> {
        let parts = self.world.parts();
        danger::confirm_packet(&parts, counted(E), epoch(), LAST, plain).unwrap()
    }

    fn bad_plain(&mut self, name: &str, comment: &str, plain: &[u8]) {
        let datagram = self.around(plain);
        self.add(name, comment, "refused inside", &datagram);
    }
}

/// What a CONFIRM seals, in the shortest datagram.
fn plaintext(number: u8, address: [u8; 16]) -> Vec<u8> {
    let mut plain = vec![0; 260];
    plain[0] = number;
    plain[8..24].copy_from_slice(&address);
    plain
}

/// CONFIRMs, most of them refused.
pub fn vectors() -> Vec<Vector> {
    let world = World::fixed();
    let made =
        danger::session_with_ephemeral(&world.parts(), &world.request(), TS, counted(E)).unwrap();
    let mut c = Confirms { world, session: made, out: Vec::new() };
    accepted(&mut c);
    by_the_gate(&mut c);
    by_the_seal(&mut c);
    inside(&mut c);
    c.out
}

fn accepted(c: &mut Confirms) {
    let (v4, v6) = (IpAddr::from([203, 0, 113, 7]), IpAddr::from(V6));
    c.good("v4", "The worked example.", 1, v4, 0);
    c.good("v6", "An IPv6 address.", 2, v6, 0);
    c.good("last", "The last number.", 8, v4, 0);
    c.good("padded", "One byte more.", 1, v4, 1);
    c.good("longest", "1232 bytes.", 1, v6, 896);
    let mapped = IpAddr::V6(Ipv6Addr::from(V4));
    c.good("mapped", "A v4-mapped address is the IPv4 address.", 1, mapped, 0);
}

fn by_the_gate(c: &mut Confirms) {
    let good = c.make(1, IpAddr::from(V6), 0);
    c.add("empty", "Nothing.", "refused length", &[]);
    let short = c.around(&plaintext(1, V6)[..259]);
    c.add("short", "335 bytes: a client's datagrams have 336.", "refused length", &short);
    let long = c.around(&[plaintext(1, V6), vec![0; 897]].concat());
    c.add("long", "1233 bytes.", "refused length", &long);
    let least = c.around(&[]);
    c.add("nothing-sealed", "76 bytes.", "refused length", &least);
    let (parts, plain) = (c.world.parts(), plaintext(1, V6));
    let earlier = danger::confirm_packet(&parts, counted(E), epoch() - 1, LAST, &plain).unwrap();
    let first = danger::confirm_packet(&parts, counted(E), epoch(), 0, &plain).unwrap();
    let behind = danger::confirm_packet(&parts, counted(E), epoch(), 3, &plain).unwrap();
    c.add("other-epoch", "The tag of another minute.", "refused tag", &earlier);
    c.add("first-stage", "The tag of the first stage.", "refused tag", &first);
    c.add("stage-behind", "The tag of a stage that is not there.", "refused tag", &behind);
    let tag = edited(&good, |b| b[0] ^= 1);
    c.add("flipped-tag", "One bit changed.", "refused tag", &tag);
    for (name, at) in [("mac", 8), ("point", 16), ("nonce", 48), ("number", 60), ("end", 335)] {
        let bad = edited(&good, |b| b[at] ^= 1);
        c.add(&format!("flipped-{name}"), "One bit changed.", "refused mac", &bad);
    }
    let thief = World::of(counted(0), counted(0x21), counted(0x40));
    let stolen = edited(&good, |b| danger::remac(&thief.pair, b));
    c.add("psk-alone", "The mac of who has the psk alone.", "refused mac", &stolen);
}

fn by_the_seal(c: &mut Confirms) {
    let good = c.make(1, IpAddr::from(V6), 0);
    let (parts, plain) = (c.world.parts(), plaintext(1, V6));
    let other = danger::confirm_packet(&parts, counted(E + 1), epoch(), LAST, &plain).unwrap();
    c.add("other-session", "Of another session.", "refused session", &other);
    let grafted = edited(&other, |b| {
        danger::replace_ephemeral(&c.world.pair, b, &c.world.big_e(counted(E)));
    });
    c.add("other-key", "Sealed by another session's key.", "refused inside", &grafted);
    let twin = edited(&good, |b| {
        let mut big_e = c.world.big_e(counted(E));
        big_e[31] ^= 0x80;
        danger::replace_ephemeral(&c.world.pair, b, &big_e);
    });
    c.add("point-twin", "The other encoding of the same point.", "refused session", &twin);
    for (name, at) in [("nonce", 48), ("number", 60), ("address", 68), ("padding", 100)] {
        let bad = edited(&good, |b| {
            b[at] ^= 1;
            danger::remac(&c.world.pair, b);
        });
        let comment = "One bit changed; the mac is right.";
        c.add(&format!("remac-{name}"), comment, "refused inside", &bad);
    }
    let stage = c.session.packets()[usize::from(LAST)].1.clone();
    c.add("stage", "The last stage's packet is no CONFIRM.", "refused inside", &stage);
    let as_ack = {
        let session = c.world.server_session(counted(E));
        let sealed = danger::seal_ack_plaintext(&session, &plaintext(1, V6));
        edited(&good, |b| {
            b[48..].copy_from_slice(&sealed);
            danger::replace_ephemeral(&c.world.pair, b, &c.world.big_e(counted(E)));
        })
    };
    c.add("sealed-as-ack", "Sealed by the answers' key.", "refused inside", &as_ack);
}

fn inside(c: &mut Confirms) {
    for number in [0, 9, 128, 255] {
        let name = format!("number-{number}");
        c.bad_plain(&name, "No CONFIRM has this number.", &plaintext(number, V6));
    }
    for (name, text) in [
        ("unspecified-v4", "::ffff:0.0.0.0"),
        ("unspecified-v6", "::"),
        ("multicast-v4", "::ffff:224.0.0.1"),
        ("multicast-v6", "ff02::1"),
        ("broadcast", "::ffff:255.255.255.255"),
    ] {
        let octets = text.parse::<Ipv6Addr>().unwrap().octets();
        let comment = "No host has this address.";
        c.bad_plain(&format!("address-{name}"), comment, &plaintext(1, octets));
    }
    for at in [1, 7, 24, 259] {
        let plain = edited(&plaintext(1, V6), |plain| plain[at] = 1);
        c.bad_plain(&format!("not-zero-{at}"), "A byte that must be zero.", &plain);
    }
}
