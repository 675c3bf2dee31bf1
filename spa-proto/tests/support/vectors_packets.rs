//! The packet vectors: what a server meets, ordered by the step that refuses it.

use std::net::{Ipv4Addr, Ipv6Addr};

use spa_proto::{Request, SessionParts, danger};

use super::vectors::{Vector, body_bytes, edited, list};
use super::{PORTS, TS, World, counted, epoch, hex, small_order_points, unhex};

/// What a packet vector varies.
pub struct Packets {
    pub world: World,
    pub out: Vec<Vector>,
}

impl Packets {
    pub fn add(&mut self, name: &str, comment: &str, expect: &str, datagram: &[u8]) {
        self.add_from(name, comment, expect, datagram, PORTS[0], "203.0.113.7");
    }

    pub fn add_from(
        &mut self,
        name: &str,
        comment: &str,
        expect: &str,
        datagram: &[u8],
        port: u16,
        source: &str,
    ) {
        let vector = Vector::new("packet", name, comment, expect)
            .secrets()
            .with("epoch", epoch())
            .with("ports", list(PORTS))
            .with("to-port", port)
            .with("source", source)
            .with("datagram", hex(datagram));
        self.out.push(vector);
    }

    pub fn request(&self, change: impl FnOnce(&mut Request<'_>)) -> Vec<Vec<u8>> {
        self.request_at(TS, change)
    }

    pub fn request_at(&self, ts: u64, change: impl FnOnce(&mut Request<'_>)) -> Vec<Vec<u8>> {
        let mut request = self.world.request();
        change(&mut request);
        let made = danger::session_with_ephemeral(&self.world.parts(), &request, ts, counted(0x60))
            .unwrap();
        made.packets().iter().map(|(_, packet)| packet.clone()).collect()
    }

    /// Stage 0 around a body that says anything, truly signed.
    pub fn saying(&self, body: [u8; 16], tail: &[u8]) -> Vec<u8> {
        self.bound(body, [0; 16], tail)
    }

    pub fn bound(&self, body: [u8; 16], src16: [u8; 16], tail: &[u8]) -> Vec<u8> {
        let text = self.world.signed_plaintext(counted(0x60), body, src16, tail);
        self.around(&text)
    }

    pub fn around(&self, text: &[u8]) -> Vec<u8> {
        self.world.crafted(counted(0x60), epoch(), 0, PORTS[0], text)
    }
}

/// Every packet vector.
pub fn packets() -> Vec<Vector> {
    let mut p = Packets { world: World::fixed(), out: Vec::new() };
    accepted_packets(&mut p);
    refused_by_the_gate(&mut p);
    refused_by_the_seal(&mut p);
    refused_inside(&mut p);
    refused_by_the_signature(&mut p);
    super::vectors_ext::packets(&mut p);
    p.out
}

fn accepted_packets(p: &mut Packets) {
    let plain = p.request(|_| ());
    for (stage, packet) in plain.iter().enumerate() {
        let name = format!("stage-{stage}");
        p.add_from(
            &name,
            "A packet of the worked example.",
            "accepted",
            packet,
            PORTS[stage],
            "203.0.113.7",
        );
    }
    let padded = p.request(|r| r.padding = &[1]);
    p.add("padded-1", "One byte of padding.", "accepted", &padded[0]);
    let padded = p.request(|r| r.padding = &[944]);
    p.add("padded-max", "1232 bytes, the most.", "accepted", &padded[0]);
    let v4 = p.request(|r| r.bind_src = Some("203.0.113.7".parse().unwrap()));
    p.add("bound-v4", "Bound to its IPv4 source.", "accepted", &v4[0]);
    let mapped = "The same source as a v4-mapped address, as a dual-stack socket reports it.";
    p.add_from("bound-v4-mapped", mapped, "accepted", &v4[0], PORTS[0], "::ffff:203.0.113.7");
    let v6 = p.request(|r| r.bind_src = Some("2001:db8::7".parse().unwrap()));
    p.add_from(
        "bound-v6",
        "Bound to its IPv6 source.",
        "accepted",
        &v6[0],
        PORTS[0],
        "2001:db8::7",
    );
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
    let least = p.around(&p.world.signed_plaintext(counted(0x60), body_bytes(), [0; 16], &[]));
    p.add("short", "One byte less than the least.", "refused length", &least[..143]);
    let long = edited(&p.request(|r| r.padding = &[944])[0], |b| b.push(0));
    p.add("long", "One byte more than the most.", "refused length", &long);
    p.add("zeros", "A stranger's packet.", "refused tag", &[0; 144]);
    let before = p.request_at(TS - 60_000, |_| ());
    p.add("epoch-before", "Valid one minute earlier.", "refused tag", &before[0]);
    let after = p.request_at(TS + 60_000, |_| ());
    p.add("epoch-after", "Valid one minute later.", "refused tag", &after[0]);
    let stranger = World::of(counted(0), counted(0x20), counted(0x41));
    let text = vec![0; 80];
    let foreign = stranger.crafted(counted(0x60), epoch(), 0, PORTS[0], &text);
    p.add("other-psk", "Another psk gives another tag.", "refused tag", &foreign);
    let grafted = edited(&foreign, |b| b[..8].copy_from_slice(&good[..8]));
    p.add(
        "tag-grafted",
        "A stranger's packet behind a tag that was seen.",
        "refused mac",
        &grafted,
    );
    p.add_from(
        "other-stage-port",
        "Stage 0 at the port of stage 1.",
        "refused port",
        good,
        PORTS[1],
        "192.0.2.1",
    );
    p.add_from(
        "no-stage-port",
        "Stage 0 at a port of no stage.",
        "refused port",
        good,
        22,
        "192.0.2.1",
    );
    for (name, at) in
        [("mac", 8), ("point", 16), ("body", 48), ("signature", 64), ("authenticator", 287)]
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
    let swapped = edited(good, |b| b[8..].copy_from_slice(&plain[1][8..]));
    p.add("stage-swapped", "Stage 1's packet behind stage 0's tag.", "refused mac", &swapped);
}

/// From here on the sender holds the gate keys: each packet's mac is right.
fn refused_by_the_seal(p: &mut Packets) {
    let plain = p.request(|_| ());
    for (i, point) in small_order_points().iter().enumerate() {
        let bad = edited(&plain[0], |b| danger::replace_ephemeral(&p.world.gate, b, point));
        let comment = "The ephemeral key is a small-order point; the mac is right.";
        p.add(&format!("small-order-{i}"), comment, "refused point", &bad);
    }
    let twin = edited(&plain[0], |b| {
        let mut big_e = p.world.gate.ephemeral(b).unwrap();
        big_e[31] ^= 0x80;
        danger::replace_ephemeral(&p.world.gate, b, &big_e);
    });
    let comment = "The other encoding of the same curve point; the mac is right.";
    p.add("point-twin", comment, "refused aead", &twin);
    for (name, at) in [("body", 48), ("signature", 64), ("authenticator", 287)] {
        let bad = edited(&plain[0], |b| {
            b[at] ^= 1;
            danger::remac(&p.world.gate, b);
        });
        p.add(&format!("remac-{name}"), "One bit changed; the mac is right.", "refused aead", &bad);
    }
    let tag = p.world.gate.tag(epoch(), 0);
    let mut retagged = |name: &str, comment: &str, packet: &[u8]| {
        let bad = edited(packet, |b| {
            b[..8].copy_from_slice(&tag);
            danger::remac(&p.world.gate, b);
        });
        p.add(name, comment, "refused aead", &bad);
    };
    retagged(
        "sealed-for-stage",
        "Sealed as stage 1, tagged as stage 0; the mac is right.",
        &plain[1],
    );
    let epoch_after = World::fixed().crafted(counted(0x60), epoch() + 1, 0, PORTS[0], &[0; 80]);
    retagged("sealed-for-epoch", "Sealed for the next epoch; the mac is right.", &epoch_after);
    let port = World::fixed().crafted(counted(0x60), epoch(), 0, PORTS[0] + 1, &[0; 80]);
    retagged("sealed-for-port", "Sealed for another port; the mac is right.", &port);
    let other_server = World::of(counted(1), counted(0x20), counted(0x40));
    let other_client = World::of(counted(0), counted(0x21), counted(0x40));
    for (name, comment, server, pair) in [
        (
            "other-server",
            "Sealed to another server's key.",
            &other_server.server_public,
            &other_server.pair,
        ),
        (
            "other-client-dh",
            "Sealed with another client's X25519.",
            &p.world.server_public,
            &other_client.pair,
        ),
    ] {
        let parts = SessionParts { server, pair, ..p.world.parts() };
        let text = World::fixed().signed_plaintext(counted(0x60), body_bytes(), [0; 16], &[]);
        let bad = danger::stage_packet(&parts, counted(0x60), epoch(), 0, PORTS[0], &text).unwrap();
        p.out.push(
            Vector::new("packet", name, comment, "refused aead")
                .secrets()
                .with("epoch", epoch())
                .with("ports", list(PORTS))
                .with("to-port", PORTS[0])
                .with("source", "203.0.113.7")
                .with("datagram", hex(bad)),
        );
    }
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
        ("flag-reserved", 13, 0x20, "flags"),
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
    let text = p.world.signed_plaintext(counted(0x60), body, [0; 16], &[]);
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
    let elsewhere = p.world.signed_plaintext(counted(0x61), body, [0; 16], &[]);
    let mut refused = |name: &str, comment: &str, text: &[u8]| {
        let packet = p.around(text);
        p.add(name, comment, "refused signature", &packet);
    };
    refused("sig-other-session", "A signature from another session.", &elsewhere);
    let mut later = body;
    later[10..12].copy_from_slice(&3600u16.to_be_bytes());
    let other = [&later[..], &text[16..]].concat();
    refused("sig-other-body", "Half an hour was signed, one hour is asked for.", &other);
    let thief = World::of(counted(0), counted(0x22), counted(0x40));
    let signature = {
        let traced = danger::trace_session(
            &World::fixed().server_public,
            &World::fixed().client_public,
            &World::fixed().pair,
            counted(0x60),
        );
        let big_e: [u8; 32] = traced.unwrap()[0].1.clone().try_into().unwrap();
        let blob = danger::signed_data(&World::fixed().context, &big_e, &body, &[0; 16], &[]);
        spa_proto::Signer::sign(&thief.client, &blob).unwrap().bytes
    };
    refused(
        "sig-other-key",
        "psk and X25519 stolen, signed with another key.",
        &[&body[..], &signature].concat(),
    );
    let mut flagged = body;
    flagged[13] = 3;
    let zeros = p.bound(flagged, [0; 16], &[]);
    p.add("bound-to-zeros", "Says that it is bound, signs no source.", "refused signature", &zeros);
    let source = Ipv4Addr::new(203, 0, 113, 7).to_ipv6_mapped().octets();
    let unsaid = p.bound(body, source, &[]);
    p.add("bound-unsaid", "Signs its source, does not say so.", "refused signature", &unsaid);
    let right = p.bound(flagged, source, &[]);
    for (name, from) in [
        ("relayed-v4", "203.0.113.8"),
        ("relayed-v6", "2001:db8::7"),
        ("relayed-compat", "::203.0.113.7"),
    ] {
        p.add_from(
            name,
            "Bound to 203.0.113.7, seen from elsewhere.",
            "refused signature",
            &right,
            PORTS[0],
            from,
        );
    }
    let v6 = p.bound(flagged, Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).octets(), &[]);
    p.add_from(
        "relayed-neighbour",
        "A neighbour in the same /64.",
        "refused signature",
        &v6,
        PORTS[0],
        "2001:db8::8",
    );
}

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
