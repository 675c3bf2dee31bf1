//! The packet vectors: what a server meets, ordered by the step that refuses it.

use spa_proto::{Request, SessionParts, danger};

use super::bodies::{V4, V6, body_bytes};
use super::session_fields::E;
use super::{Vector, edited, list};
use crate::support::{PORTS, TS, World, counted, epoch, hex, small_order_points, unhex};

/// What a packet vector varies.
pub struct Packets {
    pub world: World,
    pub out: Vec<Vector>,
}

impl Packets {
    pub fn add(&mut self, name: &str, comment: &str, expect: &str, datagram: &[u8]) {
        self.add_to(name, comment, expect, datagram, PORTS[0]);
    }

    pub fn add_to(&mut self, name: &str, comment: &str, expect: &str, datagram: &[u8], port: u16) {
        let vector = Vector::new("packet", name, comment, expect)
            .secrets()
            .with("epoch", epoch())
            .with("ports", list(PORTS))
            .with("to-port", port)
            .with("datagram", hex(datagram));
        self.out.push(vector);
    }

    pub fn request(&self, change: impl FnOnce(&mut Request<'_>)) -> Vec<Vec<u8>> {
        self.request_at(TS, change)
    }

    pub fn request_at(&self, ts: u64, change: impl FnOnce(&mut Request<'_>)) -> Vec<Vec<u8>> {
        let mut request = self.world.request();
        change(&mut request);
        let made =
            danger::session_with_ephemeral(&self.world.parts(), &request, ts, counted(E)).unwrap();
        made.packets().iter().map(|(_, packet)| packet.clone()).collect()
    }

    /// Stage 0 around a body that says anything, truly signed.
    pub fn saying(&self, body: [u8; 16], tail: &[u8]) -> Vec<u8> {
        self.around(&self.world.signed_plaintext(counted(E), body, tail))
    }

    pub fn around(&self, text: &[u8]) -> Vec<u8> {
        self.world.crafted(counted(E), epoch(), 0, PORTS[0], text)
    }
}

/// Every packet vector.
pub fn vectors() -> Vec<Vector> {
    let mut p = Packets { world: World::fixed(), out: Vec::new() };
    accepted_packets(&mut p);
    refused_by_the_gate(&mut p);
    refused_by_the_seal(&mut p);
    refused_inside(&mut p);
    refused_by_the_signature(&mut p);
    bound(&mut p);
    super::packets_ext::packets(&mut p);
    p.out
}

fn accepted_packets(p: &mut Packets) {
    let plain = p.request(|_| ());
    for (stage, packet) in plain.iter().enumerate() {
        let name = format!("stage-{stage}");
        p.add_to(&name, "A packet of the worked example.", "accepted", packet, PORTS[stage]);
    }
    let padded = p.request(|r| r.padding = &[1]);
    p.add("padded-1", "One byte of padding.", "accepted", &padded[0]);
    let padded = p.request(|r| r.padding = &[896]);
    p.add("padded-max", "1232 bytes, the most.", "accepted", &padded[0]);
    let first = p.request_at(epoch() * 60_000, |_| ());
    p.add("first-ms", "The first millisecond of the epoch.", "accepted", &first[0]);
    let last = p.request_at(epoch() * 60_000 + 59_999, |_| ());
    p.add("last-ms", "The last millisecond of the epoch.", "accepted", &last[0]);
}

fn refused_by_the_gate(p: &mut Packets) {
    let plain = p.request(|_| ());
    let good = &plain[0];
    p.add("empty", "Nothing.", "refused length", &[]);
    p.add("ack-sized", "60 bytes.", "refused length", &good[..60]);
    let least = p.around(&p.world.signed_plaintext(counted(E), body_bytes(), &[]));
    p.add("short", "One byte less than the least.", "refused length", &least[..143]);
    let long = edited(&p.request(|r| r.padding = &[896])[0], |b| b.push(0));
    p.add("long", "One byte more than the most.", "refused length", &long);
    p.add("zeros", "A stranger's packet.", "refused tag", &[0; 144]);
    let before = p.request_at(TS - 60_000, |_| ());
    p.add("epoch-before", "Valid one minute earlier.", "refused tag", &before[0]);
    let after = p.request_at(TS + 60_000, |_| ());
    p.add("epoch-after", "Valid one minute later.", "refused tag", &after[0]);
    let stranger = World::of(counted(0), counted(0x20), counted(0x41));
    let text = vec![0; 80];
    let foreign = stranger.crafted(counted(E), epoch(), 0, PORTS[0], &text);
    p.add("other-psk", "Another psk gives another tag.", "refused tag", &foreign);
    let grafted = edited(&foreign, |b| b[..8].copy_from_slice(&good[..8]));
    p.add(
        "tag-grafted",
        "A stranger's packet behind a tag that was seen.",
        "refused mac",
        &grafted,
    );
    p.add_to("other-stage-port", "Stage 0 at the port of stage 1.", "refused port", good, PORTS[1]);
    p.add_to("no-stage-port", "Stage 0 at a port of no stage.", "refused port", good, 22);
    for (name, at) in
        [("mac", 8), ("point", 16), ("body", 48), ("signature", 64), ("authenticator", 335)]
    {
        let bad = edited(good, |b| b[at] ^= 1);
        p.add(&format!("flipped-{name}"), "One bit changed on the way.", "refused mac", &bad);
    }
    let longer = edited(good, |b| b.push(0));
    p.add("appended", "A byte appended.", "refused mac", &longer);
    let shorter = edited(&p.request(|r| r.padding = &[1])[0], |b| {
        b.pop();
    });
    p.add("truncated", "A padded packet without its last byte.", "refused mac", &shorter);
    for (name, server, client) in [("client", 0, 0x21), ("server", 1, 0x20), ("both", 1, 0x21)] {
        let thief = World::of(counted(server), counted(client), counted(0x40));
        let parts = SessionParts { pair: &thief.pair, ..p.world.parts() };
        let text = p.world.signed_plaintext(counted(E), body_bytes(), &[]);
        let bad = danger::stage_packet(&parts, counted(E), epoch(), 0, PORTS[0], &text).unwrap();
        let comment = "The psk was stolen; the Diffie-Hellman is of other keys.";
        p.add(&format!("psk-alone-{name}"), comment, "refused mac", &bad);
    }
    let swapped = edited(good, |b| b[8..].copy_from_slice(&plain[1][8..]));
    p.add("stage-swapped", "Stage 1's packet behind stage 0's tag.", "refused mac", &swapped);
}

/// From here on the sender holds the gate keys: each packet's mac is right.
fn refused_by_the_seal(p: &mut Packets) {
    let plain = p.request(|_| ());
    for (i, point) in small_order_points().iter().enumerate() {
        let bad = edited(&plain[0], |b| danger::replace_ephemeral(&p.world.pair, b, point));
        let comment = "The ephemeral key is a small-order point; the mac is right.";
        p.add(&format!("small-order-{i}"), comment, "refused point", &bad);
    }
    let twin = edited(&plain[0], |b| {
        let mut big_e = p.world.pair.ephemeral(b).unwrap();
        big_e[31] ^= 0x80;
        danger::replace_ephemeral(&p.world.pair, b, &big_e);
    });
    let comment = "The other encoding of the same curve point; the mac is right.";
    p.add("point-twin", comment, "refused aead", &twin);
    for (name, at) in [("body", 48), ("signature", 64), ("authenticator", 335)] {
        let bad = edited(&plain[0], |b| {
            b[at] ^= 1;
            danger::remac(&p.world.pair, b);
        });
        p.add(&format!("remac-{name}"), "One bit changed; the mac is right.", "refused aead", &bad);
    }
    let tag = p.world.tag.tag(epoch(), 0);
    let mut retagged = |name: &str, comment: &str, packet: &[u8]| {
        let bad = edited(packet, |b| {
            b[..8].copy_from_slice(&tag);
            danger::remac(&p.world.pair, b);
        });
        p.add(name, comment, "refused aead", &bad);
    };
    retagged(
        "sealed-for-stage",
        "Sealed as stage 1, tagged as stage 0; the mac is right.",
        &plain[1],
    );
    let epoch_after = World::fixed().crafted(counted(E), epoch() + 1, 0, PORTS[0], &[0; 80]);
    retagged("sealed-for-epoch", "Sealed for the next epoch; the mac is right.", &epoch_after);
    let port = World::fixed().crafted(counted(E), epoch(), 0, PORTS[0] + 1, &[0; 80]);
    retagged("sealed-for-port", "Sealed for another port; the mac is right.", &port);
    let elsewhere = World::of(counted(1), counted(0x20), counted(0x40)).server_public;
    let parts = SessionParts { server: &elsewhere, ..p.world.parts() };
    let text = p.world.signed_plaintext(counted(E), body_bytes(), &[]);
    let bad = danger::stage_packet(&parts, counted(E), epoch(), 0, PORTS[0], &text).unwrap();
    p.add("other-server", "E agreed with another server's key.", "refused aead", &bad);
}

/// From here on the seal is right too: only the client itself can have made it.
fn refused_inside(p: &mut Packets) {
    let body = body_bytes();
    let padding = p.saying(body, &[1, 0, 0, 0]);
    p.add("padding-first", "The first byte of padding is not zero.", "refused padding", &padding);
    let padding = p.saying(body, &[0, 0, 0, 1]);
    p.add("padding-last", "The last byte of padding is not zero.", "refused padding", &padding);
    for (name, at, value, step) in [
        ("op-5", 12, 5, "op"),
        ("op-255", 12, 255, "op"),
        ("flag-all-of-open", 13, 0x20, "flags"),
        ("flag-kem-of-open", 13, 0x40, "flags"),
        ("flag-top", 13, 0x80, "flags"),
        ("flag-new-key-of-open", 13, 0x10, "flags"),
        ("ext-64", 15, 64, "ext"),
        ("ext-256", 14, 1, "ext"),
    ] {
        let mut bad = body;
        bad[at] = value;
        let packet = p.saying(bad, &[0; 64]);
        p.add(
            name,
            "Not of this version, though signed and sealed.",
            &format!("refused {step}"),
            &packet,
        );
    }
    for (name, ts) in [
        ("ts-before", epoch() * 60_000 - 1),
        ("ts-after", (epoch() + 1) * 60_000),
        ("ts-zero", 0),
        ("ts-max", u64::MAX),
    ] {
        let mut bad = body;
        bad[..8].copy_from_slice(&ts.to_be_bytes());
        let comment = "The time stamp is not in the tag's epoch.";
        let packet = p.saying(bad, &[]);
        p.add(name, comment, "refused epoch", &packet);
    }
}

fn refused_by_the_signature(p: &mut Packets) {
    let body = body_bytes();
    let text = p.world.signed_plaintext(counted(E), body, &[]);
    let mut refused = |name: &str, comment: &str, text: &[u8]| {
        let packet = p.around(text);
        p.add(name, comment, "refused signature", &packet);
    };
    refused("sig-flipped-r", "One bit of R.", &edited(&text, |t| t[16] ^= 1));
    refused("sig-flipped-s", "One bit of S.", &edited(&text, |t| t[48] ^= 1));
    refused("sig-zeros", "No signature at all.", &edited(&text, |t| t[16..80].fill(0)));
    refused(
        "sig-malleated",
        "S plus the group's order: same equation, refused (RFC 8032 5.1.7).",
        &edited(&text, |t| add_order(&mut t[48..80])),
    );
    let world = World::fixed();
    let elsewhere = world.signed_plaintext(counted(E + 1), body, &[]);
    refused("sig-other-session", "A signature from another session.", &elsewhere);
    let mut later = body;
    later[10..12].copy_from_slice(&3600u16.to_be_bytes());
    let other = [&later[..], &text[16..]].concat();
    refused("sig-other-body", "Half an hour was signed, one hour is asked for.", &other);
    let thief = World::of(counted(0), counted(0x22), counted(0x40));
    let blob = danger::signed_data(&world.context, &world.big_e(counted(E)), &body, &[]);
    let signature = spa_proto::Signer::sign(&thief.client, &blob).unwrap().bytes;
    let stolen = [&body[..], &signature].concat();
    refused("sig-other-key", "psk and X25519 stolen, signed with another key.", &stolen);
}

/// Bound to a source. It verifies from wherever it comes: where it counts is the engine's.
fn bound(p: &mut Packets) {
    for (name, address) in [("v4", "203.0.113.7"), ("v6", "2001:db8::7")] {
        let made = p.request(|r| r.bind_src = Some(address.parse().unwrap()));
        p.add(&format!("bound-{name}"), "Bound to its source.", "accepted", &made[0]);
        let last = p.out.pop().unwrap().with("bind-src", address);
        p.out.push(last);
    }
    let mut said = body_bytes();
    (said[13], said[15]) = (3, 16);
    for (name, text) in [
        ("zeros", "::"),
        ("unspecified", "::ffff:0.0.0.0"),
        ("multicast-v6", "ff02::1"),
        ("multicast-v4", "::ffff:224.0.0.1"),
        ("broadcast", "::ffff:255.255.255.255"),
    ] {
        let address: std::net::Ipv6Addr = text.parse().unwrap();
        let packet = p.saying(said, &address.octets());
        p.add(&format!("bound-to-{name}"), "No host has it.", "refused address", &packet);
    }
    let text = p.world.signed_plaintext(counted(E), said, &V4);
    let moved = p.around(&edited(&text, |t| t[95] ^= 1));
    p.add("bound-moved", "One source was signed, another stands there.", SIGNATURE, &moved);
    let swapped = p.around(&edited(&text, |t| t[80..96].copy_from_slice(&V6)));
    p.add("bound-other-family", "The IPv6 source of the same client.", SIGNATURE, &swapped);
    let dropped = p.around(&edited(&text, |t| {
        (t[13], t[15]) = (1, 0);
        t[80..].fill(0);
    }));
    p.add("bound-dropped", "A source was signed and is gone.", SIGNATURE, &dropped);
    let as_other = p.around(&edited(&text, |t| t[13] = 5));
    p.add("bound-as-for-addr", "A source was signed as such.", SIGNATURE, &as_other);
    let mut unsaid = said;
    unsaid[13] = 1;
    let packet = p.saying(unsaid, &V4);
    p.add("bound-unsaid", "A source that no flag asks for.", "refused ext", &packet);
}

/// Verdict on what somebody else than the signer wrote.
const SIGNATURE: &str = "refused signature";

/// Adds the order of Ed25519's group, 2^252 + 27742317777372353535851937790883648493,
/// little-endian.
fn add_order(scalar: &mut [u8]) {
    let order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0u16;
    for (byte, order) in scalar.iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
}
