//! What the signature covers, wherever the packet comes from.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::net::IpAddr;

use spa_proto::{Body, Request, Session, SessionError, epoch_of};
use support::vectors::bodies::body_bytes;
use support::{PORTS, Refused, TS, World, counted, epoch, random};

fn verdict(world: &World, datagram: &[u8], port: u16) -> Result<u8, Refused> {
    world.see(epoch(), &PORTS, datagram, port).map(|seen| seen.stage)
}

/// The source stands in the sealed text and under the signature. Whether a packet came from there is
/// for the engine to compare: it verifies the same from anywhere.
#[test]
fn a_bound_request_tells_its_source() {
    let world = World::fresh();
    let read = |request: &Request<'_>| {
        let session = Session::new(&world.parts(), request, TS).unwrap();
        let (port, packet) = &session.packets()[0];
        let seen = world.see(epoch(), &PORTS, packet, *port);
        seen.map(|seen| seen.sealed.body.bind_src).map_err(|step| format!("{step:?}")).unwrap()
    };
    for text in ["192.0.2.1", "192.0.2.2", "2001:db8::1", "::192.0.2.1", "::ffff:192.0.2.9"] {
        let source: IpAddr = text.parse().unwrap();
        let request = Request { bind_src: Some(source), ..world.request() };
        assert_eq!(read(&request), Some(source.to_canonical()), "{text}");
    }
    assert_eq!(read(&world.request()), None);
    for text in ["::", "0.0.0.0", "ff02::1", "224.0.0.1", "255.255.255.255", "::ffff:0.0.0.0"] {
        let source: IpAddr = text.parse().unwrap();
        let request = Request { bind_src: Some(source), ..world.request() };
        let made = Session::new(&world.parts(), &request, TS).err();
        assert_eq!(made, Some(SessionError::ForAddr(source.to_canonical())), "{text}");
    }
}

/// Every bit of a signed source, changed by somebody who can seal.
#[test]
fn the_signature_covers_every_bit_of_the_source() {
    let world = World::fresh();
    let mut body = body_bytes();
    (body[13], body[15]) = (3, 16);
    let source = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let e = random();
    let good = world.signed_plaintext(e, body, &source);
    let sealed = |text: &[u8]| world.crafted(e, epoch(), 0, PORTS[0], text);
    assert_eq!(verdict(&world, &sealed(&good), PORTS[0]), Ok(0));
    for bit in 0..128 {
        let mut text = good.clone();
        text[80 + bit / 8] ^= 1 << (bit % 8);
        let verdict = verdict(&world, &sealed(&text), PORTS[0]).unwrap_err();
        assert!([Refused::Signature, Refused::Address].contains(&verdict), "bit {bit}");
    }
}

/// Each single bit of the body, changed after signing by somebody who can seal: the signature says
/// no where the decoding has not already.
#[test]
fn the_signature_covers_every_bit_of_the_body() {
    let world = World::fresh();
    let body = body_bytes();
    assert_eq!(epoch_of(u64::from_be_bytes(body[..8].try_into().unwrap())), epoch());
    let e = random();
    let good = world.signed_plaintext(e, body, &[]);
    assert_eq!(verdict(&world, &world.crafted(e, epoch(), 0, PORTS[0], &good), PORTS[0]), Ok(0));
    let mut by_signature = 0;
    for bit in 0..128 {
        let mut text = good.clone();
        text[bit / 8] ^= 1 << (bit % 8);
        let verdict =
            verdict(&world, &world.crafted(e, epoch(), 0, PORTS[0], &text), PORTS[0]).unwrap_err();
        assert!(verdict >= Refused::Op, "bit {bit}: {verdict:?}");
        by_signature += u32::from(verdict == Refused::Signature);
    }
    // ts within its minute, service, ttl, the other op that one bit reaches, one flag.
    assert!(by_signature >= 46, "{by_signature}");
}

#[test]
fn a_later_packet_must_say_what_the_first_said() {
    let world = World::fresh();
    let e = counted(9);
    let text = world.signed_plaintext(e, Body::encode(&seen_body(&world)), &[]);
    let open = |text: &[u8], stage: u8| {
        let packet = world.crafted(e, epoch(), stage, 7, text);
        world.open(epoch(), stage, &packet, 7).unwrap().1
    };
    let first = open(&text, 0);
    assert!(first.same_as(&open(&text, 1)));
    for at in (8..12).chain(16..80) {
        let mut other = text.clone();
        other[at] ^= 1;
        assert!(!first.same_as(&open(&other, 1)), "byte {at}");
    }
}

fn seen_body(world: &World) -> Body {
    let session = world.knock();
    world
        .see(epoch(), &PORTS, &session.packets()[0].1, PORTS[0])
        .map(|s| s.sealed.body)
        .ok()
        .unwrap()
}
