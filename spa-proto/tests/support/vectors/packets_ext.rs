//! The packet vectors of requests with an extension: for another address, with new keys, signed by
//! a security key.

use spa_proto::{Body, ClientPublic, ClientSecret, Flags, NewKeys, Op, Signer, Touch, danger};

use super::bodies::body_bytes;
use super::packets::Packets;
use super::session_fields::{E, NEW, TOKEN};
use super::{Vector, edited};
use crate::support::touch::Token;
use crate::support::{PORTS, TS, World, counted, epoch, hex, small_order_points};

/// Packets with an extension, most of them refused.
pub fn packets(p: &mut Packets) {
    for_another_address(p);
    with_new_keys(p);
    by_a_security_key(p);
}

/// The worked example's body with this flags byte and extension length.
fn body(flags: u8, ext_len: u8) -> [u8; 16] {
    let mut bytes = body_bytes();
    (bytes[13], bytes[15]) = (flags, ext_len);
    bytes
}

fn for_another_address(p: &mut Packets) {
    let least = p.saying(body_bytes(), &[]);
    p.add("least", "144 bytes: no room for an extension, and none is needed.", "accepted", &least);
    for (name, address) in [("v4", "198.51.100.9"), ("v6", "2001:db8::9")] {
        let made = p.request(|r| r.for_addr = Some(address.parse().unwrap()));
        p.add(&format!("for-addr-{name}"), "For another address.", "accepted", &made[0]);
    }
    let mapped: std::net::Ipv6Addr = "::ffff:198.51.100.9".parse().unwrap();
    for (name, text) in [
        ("unspecified-v6", "::"),
        ("unspecified-v4", "::ffff:0.0.0.0"),
        ("multicast-v6", "ff02::1"),
        ("multicast-v4", "::ffff:224.0.0.1"),
        ("broadcast", "::ffff:255.255.255.255"),
    ] {
        let address: std::net::Ipv6Addr = text.parse().unwrap();
        let packet = p.saying(body(5, 16), &address.octets());
        p.add(&format!("for-addr-{name}"), "No single host has it.", "refused address", &packet);
    }
    let tail = [mapped.octets(), [0; 16]].concat();
    for (name, comment, flags, len, step) in [
        ("unsaid", "An extension that the flags do not ask for.", 1, 16, "ext"),
        ("missing", "The flag, and no extension.", 5, 0, "ext"),
        ("short", "15 bytes of an address.", 5, 15, "ext"),
        ("long", "17 bytes of an address.", 5, 17, "ext"),
    ] {
        let packet = p.saying(body(flags, len), &tail);
        p.add(&format!("for-addr-{name}"), comment, &format!("refused {step}"), &packet);
    }
    let cut = p.saying(body(5, 16), &mapped.octets()[..15]);
    p.add("for-addr-cut", "The packet ends within its extension.", "refused ext", &cut);
    let padded = p.saying(body(5, 16), &[mapped.octets(), [1; 16]].concat());
    p.add("for-addr-padding", "Not zero behind the extension.", "refused padding", &padded);
    let text = p.world.signed_plaintext(counted(E), body(5, 16), &mapped.octets());
    let other = p.around(&edited(&text, |t| t[95] ^= 1));
    p.add(
        "for-addr-other",
        "One address was signed, another is asked for.",
        "refused signature",
        &other,
    );
    let dropped = p.around(&edited(&text, |t| {
        (t[13], t[15]) = (1, 0);
        t[80..].fill(0);
    }));
    p.add("for-addr-dropped", "An address was signed and is gone.", "refused signature", &dropped);
}

/// Body and extension of a REKEY, made right and then changed: `proof` sees the extension before
/// the client signs.
fn rekey(
    world: &World,
    new: &NewKeys<'_>,
    e: u8,
    op: u8,
    proof: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let flags = Flags { want_ack: true, ..Flags::default() };
    let named = Op::Rekey(new.public);
    let mut body =
        Body { ts_ms: TS, service: 0, ttl_s: 0, op: named, flags, bind_src: None, for_addr: None }
            .encode();
    body[12] = op;
    let big_e = world.big_e(counted(e));
    let blob =
        danger::new_keys_signed_data(&world.parts(), new, &big_e, &body, None, None).unwrap();
    let signature = new.signer.sign(&blob).unwrap().bytes;
    let mut ext = [&new.public.to_bytes()[..], &danger::share(new), &signature].concat();
    proof(&mut ext);
    world.signed_plaintext(counted(e), body, &ext)
}

fn with_new_keys(p: &mut Packets) {
    let disk = ClientSecret::from_bytes(counted(NEW));
    let victim = ClientSecret::from_bytes(counted(0xc0)).public();
    let world = World::fixed();
    let new = world.disk_successors(&disk);
    let mut add = |name: &str, comment: &str, expect: &str, text: Vec<u8>| {
        let packet = p.around(&text);
        p.add(&format!("new-keys-{name}"), comment, expect, &packet);
    };
    add("enrol", "The proof is right.", "accepted", rekey(&world, &new, E, 3, |_| ()));
    add("rekey", "The proof is right.", "accepted", rekey(&world, &new, E, 4, |_| ()));
    add(
        "proof-flipped",
        "One bit of the proof.",
        "refused proof",
        rekey(&world, &new, E, 4, |x| x[100] ^= 1),
    );
    add(
        "proof-zeros",
        "No proof.",
        "refused proof",
        rekey(&world, &new, E, 4, |x| x[96..].fill(0)),
    );
    let other = rekey(&world, &new, E + 1, 4, |_| ())[176..240].to_vec();
    let replayed = rekey(&world, &new, E, 4, |x| x[96..].copy_from_slice(&other));
    add("proof-other-session", "The proof of another session.", "refused proof", replayed);
    let enrol = rekey(&world, &new, E, 3, |_| ())[176..240].to_vec();
    let moved = rekey(&world, &new, E, 4, |x| x[96..].copy_from_slice(&enrol));
    add("proof-other-op", "An ENROL's proof in a REKEY.", "refused proof", moved);
    let pair = World::of(counted(0), counted(0x21), counted(0x40));
    let moved = rekey(&pair, &new, E, 4, |_| ())[176..240].to_vec();
    let moved = rekey(&world, &new, E, 4, |x| x[96..].copy_from_slice(&moved));
    add("proof-other-pair", "The proof made for another client's pair.", "refused proof", moved);
    let shared = rekey(&world, &new, E, 4, |x| x[64] ^= 1);
    add("share-other", "A share that the new key has not proved.", "refused proof", shared);
    let shared = edited(&rekey(&world, &new, E, 4, |_| ()), |t| t[144] ^= 1);
    add("share-after", "The share was changed after signing.", "refused signature", shared);
    let by_old = world.successors(new.public, &disk, &world.client);
    add(
        "proof-by-old",
        "The old key proves the new one.",
        "refused proof",
        rekey(&world, &by_old, E, 4, |_| ()),
    );
    let public = ClientPublic { dh: victim.dh, ..new.public };
    let taken = world.successors(public, &disk, &disk);
    add(
        "victims-dh",
        "Somebody else's X25519 key.",
        "refused proof",
        rekey(&world, &taken, E, 4, |_| ()),
    );
    let public = ClientPublic { sign: victim.sign, ..new.public };
    let taken = world.successors(public, &disk, &disk);
    add(
        "victims-sign",
        "Somebody else's signing key.",
        "refused proof",
        rekey(&world, &taken, E, 4, |_| ()),
    );
    let same = world.disk_successors(&world.client);
    add(
        "same",
        "The new keys are the old ones.",
        "refused same",
        rekey(&world, &same, E, 4, |_| ()),
    );
    add(
        "other-after",
        "The keys were changed after signing.",
        "refused signature",
        edited(&rekey(&world, &new, E, 4, |_| ()), |t| t[81] ^= 1),
    );
    for (at, point) in small_order_points().into_iter().enumerate() {
        let public = ClientPublic { dh: point, ..new.public };
        let step = if public.is_canonical() { "point" } else { "keys" };
        let small = world.successors(public, &disk, &disk);
        let text = rekey(&world, &small, E, 4, |_| ());
        add(
            &format!("small-order-{at}"),
            "A small-order X25519 key.",
            &format!("refused {step}"),
            text,
        );
    }
    let mut y = [0xff; 32];
    y[0] = 0xee;
    let text = rekey(&world, &new, E, 4, |x| x[..32].copy_from_slice(&y));
    add("sign-not-canonical", "y = p + 1: the other encoding of 1.", "refused keys", text);
    for (name, at, value, step) in [
        ("service", 9, 1, "unused"),
        ("ttl", 11, 1, "unused"),
        ("for-addr", 13, 5, "flags"),
        ("ext-64", 15, 64, "ext"),
        ("ext-0", 15, 0, "ext"),
        ("ext-128", 15, 128, "ext"),
        ("ext-165", 15, 165, "ext"),
        ("security-key", 13, 0x11, "ext"),
    ] {
        let text = edited(&rekey(&world, &new, E, 4, |_| ()), |t| t[at] = value);
        add(
            &format!("misplaced-{name}"),
            "Not what a REKEY may say.",
            &format!("refused {step}"),
            text,
        );
    }
}

fn by_a_security_key(p: &mut Packets) {
    let token = Token::new(counted(TOKEN));
    let world = World::fixed().with_token(&token);
    let blob = |world: &World, body: &[u8; 16]| {
        danger::signed_data(&world.context, &world.big_e(counted(E)), body, &[])
    };
    let said = body(9, 5);
    let touched = |world: &World, touch: Touch| {
        let data = danger::security_key_data(touch, &blob(world, &said));
        let signature = token.inner.sign(&data).unwrap().bytes;
        let mut tail = vec![touch.flags];
        tail.extend(touch.counter.to_be_bytes());
        [&said[..], &signature, &tail].concat()
    };
    let right = touched(&world, Touch { flags: 1, counter: 7 });
    let mut add = |name: &str, comment: &str, expect: &str, text: &[u8], with: &World| {
        let packet = with.crafted(counted(E), epoch(), 0, PORTS[0], text);
        p.add(&format!("touch-{name}"), comment, expect, &packet);
        let last = p.out.last_mut().unwrap();
        if with.client_public == world.client_public {
            *last = std::mem::replace(last, Vector::new("", "", "", ""))
                .with("token-seed", hex(counted(TOKEN)));
        }
    };
    add("right", "Touched.", "accepted", &right, &world);
    let verified = touched(&world, Touch { flags: 0x1d, counter: u32::MAX });
    add(
        "verified",
        "Touched, with PIN; a passkey that is backed up.",
        "accepted",
        &verified,
        &world,
    );
    for (name, flags) in [
        ("absent", 0),
        ("only-verified", 4),
        ("attested", 0x41),
        ("extended", 0x81),
        ("reserved", 3),
    ] {
        let text = touched(&world, Touch { flags, counter: 7 });
        add(name, "Flags that no such signature has.", "refused touch", &text, &world);
    }
    add(
        "counter",
        "The counter was changed after signing.",
        "refused signature",
        &edited(&right, |t| t[84] ^= 1),
        &world,
    );
    add(
        "verified-after",
        "The flags were changed after signing.",
        "refused signature",
        &edited(&right, |t| t[80] = 5),
        &world,
    );
    let cut = edited(&right, |t| t.truncate(84));
    add("cut", "The packet ends within the counter.", "refused ext", &cut, &world);
    let plain = body(1, 0);
    let untouched = [&plain[..], &token.inner.sign(&blob(&world, &plain)).unwrap().bytes].concat();
    add("none", "The token's key signs without a touch.", "refused signature", &untouched, &world);
    let own = World::fixed();
    let signature = own
        .client
        .sign(&danger::security_key_data(Touch { flags: 1, counter: 7 }, &blob(&own, &said)));
    let claimed = [&said[..], &signature.unwrap().bytes, &[1, 0, 0, 0, 7]].concat();
    add(
        "claimed",
        "A plain client's key signs as a token does.",
        "refused signature",
        &claimed,
        &own,
    );
    let application = edited(&right, |t| {
        let data = danger::security_key_data(Touch { flags: 1, counter: 7 }, &blob(&world, &said));
        let web = [
            ring::digest::digest(&ring::digest::SHA256, b"https://example.org").as_ref(),
            &data[32..],
        ]
        .concat();
        t[16..80].copy_from_slice(&token.inner.sign(&web).unwrap().bytes);
    });
    add("application", "Touched for a web site.", "refused signature", &application, &world);
}
