//! The vectors of ENROL and REKEY with an ML-KEM key: what the client sends, and what the server
//! makes of it with the random bytes `m`.

use spa_proto::{
    Ack, Body, ClientSecret, Flags, KemCiphertext, KemPublic, KemRandom, Op, Psk, Reason, Request,
    ServerSession, Signer, Status, danger,
};

use super::acks::{example_ack, example_keys};
use super::session_fields::{E, NEW, TOKEN, session_of, world_of};
use super::{Vector, edited};
use crate::support::touch::Token;
use crate::support::{
    PORTS, Refused, TS, World, counted, epoch, hex, new_keys_refused, open_refused, unhex,
};

/// First byte of `m`.
const M: u8 = 0xa0;

/// Sessions that lead to a psk, and packets that lead to none.
pub fn vectors() -> Vec<Vector> {
    let mut out = accepted();
    out.extend(refused());
    out
}

fn base(name: &str, comment: &str, expect: &str, invited: bool) -> Vector {
    let vector = Vector::new("kem", name, comment, expect);
    let vector = if invited {
        vector.with("server-secret", hex(counted(0))).with("invitation", hex(counted(0x90)))
    } else {
        vector.secrets()
    };
    vector.with("ephemeral", hex(counted(E)))
}

fn answer() -> Ack {
    Ack { ttl_s: 0, provisional: false, ..example_ack() }
}

/// A REKEY or ENROL without service and ttl, over the first ports of `ports`.
fn request<'a>(op: Op, ports: &'a [u16]) -> Request<'a> {
    Request { op, service: 0, ttl_s: 0, ports, ..World::fixed().request() }
}

fn accepted() -> Vec<Vector> {
    let disk = ClientSecret::from_bytes(counted(NEW)).public();
    let token = Token::new(counted(TOKEN)).public_with(&ClientSecret::from_bytes(counted(NEW)));
    let ports: Vec<u16> = (1..=8).map(|n| n * 1000).collect();
    let bound = Some("2001:db8::7".parse().unwrap());
    let eight = Request { bind_src: bound, ..request(Op::Rekey(token), &ports) };
    vec![
        one(base("rekey", "REKEY in three stages.", "", false), &request(Op::Rekey(disk), &PORTS)),
        one(
            base("enrol", "ENROL in two stages, the fewest.", "", true),
            &request(Op::Enrol(disk), &ports[..2]),
        ),
        one(
            base("rekey-bound", "REKEY to a security key, bound, in eight stages.", "", false)
                .with("new-token-seed", hex(counted(TOKEN)))
                .with("new-touch", "0100000007"),
            &eight,
        ),
    ]
}

fn one(vector: Vector, request: &Request<'_>) -> Vector {
    let keys = request.ports.len() == 8;
    let mut vector =
        vector.requesting(request).with("new-seed", hex(counted(NEW))).with("m", hex(counted(M)));
    let session = session_of(&vector).unwrap();
    vector = vector.made(&session);
    let (psk, ciphertext) = server_answer(&vector).unwrap_or_else(|step| panic!("{step:?}"));
    let world = world_of(&vector);
    let server = world.server_session(counted(E));
    let told = keys.then(example_keys);
    let ack = server.seal_answer(&answer(), told.as_ref(), Some(&ciphertext));
    vector.fields[1].1 = "granted".into();
    vector
        .with("ct", hex(ciphertext.bytes()))
        .with("new-psk", hex(psk.to_bytes()))
        .with("ack", hex(ack))
}

/// What a server with the vector's `m` makes of its packets, in the order of the specification.
pub fn server_answer(vector: &Vector) -> Result<(Psk, KemCiphertext), Refused> {
    let world = world_of(vector);
    let ports = vector.numbers::<u16>("ports");
    let stages = u8::try_from(ports.len()).unwrap();
    let server = ServerSession::agree(
        &world.server,
        &world.server_pair()?,
        &world.context,
        &world.big_e(vector.bytes("ephemeral")),
    )
    .ok_or(Refused::Point)?;
    let mut fragments = Vec::new();
    let mut first = None;
    for (stage, port) in (0..stages).zip(ports) {
        let packet = unhex(vector.get(&format!("packet-{stage}")));
        if !world.pair.mac_is_right(&packet) {
            return Err(Refused::Mac);
        }
        let opened = server.open_with_kem(&packet, epoch(), stage, port, stages);
        let (sealed, fragment) = opened.map_err(open_refused)?;
        if !server.verify(&world.client_public, &sealed) {
            return Err(Refused::Signature);
        }
        fragments.extend(fragment);
        first.get_or_insert(sealed);
    }
    let joined = KemPublic::join(&fragments).ok_or(Refused::Kem)?;
    let random = KemRandom::from_bytes(vector.bytes("m"));
    let sealed = first.ok_or(Refused::Kem)?;
    let (old, psk) = (&world.client_public, &world.psk);
    server
        .successor_by_kem(&world.server, old, psk, &sealed, &joined, &random)
        .map(|(successor, ciphertext)| (successor.psk, ciphertext))
        .map_err(new_keys_refused)
}

/// The psk that the client comes to by this ciphertext.
pub fn client_psk(vector: &Vector, world: &World, ciphertext: &KemCiphertext) -> Psk {
    let disk = ClientSecret::from_bytes(vector.bytes("new-seed"));
    let token = vector.find("new-token-seed").map(|_| Token::new(vector.bytes("new-token-seed")));
    let new = match &token {
        Some(token) => world.successors(token.public_with(&disk), &disk, token),
        None => world.disk_successors(&disk),
    };
    new.psk_by_kem(ciphertext)
}

/// A REKEY in two stages, made by hand around this key: `ek` is what the proof is about, `sent` what
/// the stages carry, `change` what is done to each plaintext at the end.
fn by_hand(
    name: &str,
    comment: &str,
    step: &str,
    (ek, sent): (&KemPublic, &[u8]),
    flags: Flags,
    change: impl Fn(usize, &mut Vec<u8>),
) -> Vector {
    let world = World::fixed();
    let disk = ClientSecret::from_bytes(counted(NEW));
    let new = world.disk_successors(&disk);
    let op = Op::Rekey(new.public);
    let body = Body { ts_ms: TS, service: 0, ttl_s: 0, op, flags, bind_src: None, for_addr: None }
        .encode();
    let big_e = world.big_e(counted(E));
    let (parts, proved) = (world.parts(), Some(ek));
    let blob = danger::new_keys_signed_data(&parts, &new, &big_e, &body, None, proved).unwrap();
    let proof = disk.sign(&blob).unwrap().bytes;
    let ext = [&new.public.to_bytes()[..], &danger::share(&new), &proof].concat();
    let text = world.signed_plaintext(counted(E), body, &ext);
    let mut vector = base(name, comment, &format!("refused {step}"), false)
        .with("ports", "40001,40002")
        .with("new-seed", hex(counted(NEW)))
        .with("m", hex(counted(M)));
    for (stage, piece) in sent.chunks(592).enumerate() {
        let mut plain = [&text[..], piece].concat();
        plain.resize(1232 - 64, 0);
        change(stage, &mut plain);
        let at = u8::try_from(stage).unwrap();
        let packet = world.crafted(counted(E), epoch(), at, PORTS[stage], &plain);
        vector = vector.with(&format!("packet-{stage}"), hex(packet));
    }
    vector
}

fn refused() -> Vec<Vector> {
    let disk = ClientSecret::from_bytes(counted(NEW));
    let world = World::fixed();
    let ek = danger::kem_public(&world.disk_successors(&disk));
    let good = ek.bytes().to_vec();
    let kem = Flags { want_ack: true, kem: true, ..Flags::default() };
    let other = danger::kem_public(&world.disk_successors(&ClientSecret::from_bytes(counted(1))));
    let proved = |sent: &[u8]| danger::kem_public_of(sent).unwrap();
    let none = |_: usize, _: &mut Vec<u8>| ();
    let mut out = Vec::new();
    // Each coefficient is 12 bits and must be below q = 3329 (FIPS 203 section 7.2).
    for (name, at, bytes) in
        [("q", 0, [0x01, 0x0d]), ("last-q", 1150, [0x10, 0xd0]), ("largest", 576, [0xff, 0xff])]
    {
        let bad = edited(&good, |key| {
            let kept = [key[at], key[at + 1]];
            match name {
                // The first of two coefficients: all of the first byte, half of the second.
                "q" => (key[at], key[at + 1]) = (bytes[0], kept[1] & 0xf0 | bytes[1]),
                // The second of two: half of the first byte, all of the second.
                "last-q" => (key[at], key[at + 1]) = (kept[0] & 0x0f | bytes[0], bytes[1]),
                _ => (key[at], key[at + 1]) = (bytes[0], bytes[1]),
            }
        });
        let name = format!("coefficient-{name}");
        let comment = "A coefficient that is not below q.";
        out.push(by_hand(&name, comment, "kem", (&proved(&bad), &bad), kem, none));
    }
    let flipped = edited(&good, |key| key[1183] ^= 1);
    let mut add = |name: &str, comment: &str, step: &str, sent: &[u8]| {
        out.push(by_hand(name, comment, step, (&ek, sent), kem, none));
    };
    add("flipped", "One bit of the key after the proof.", "proof", &flipped);
    add("other-key", "Another key than the proved one.", "proof", other.bytes());
    let swapped = [&good[592..], &good[..592]].concat();
    add("swapped", "The pieces in the wrong order.", "proof", &swapped);
    let mixed = [&good[..592], &other.bytes()[592..]].concat();
    add("mixed", "Pieces of two keys.", "proof", &mixed);
    let unproved = (&other, &good[..]);
    out.push(by_hand("proved-other", "Another key is proved.", "proof", unproved, kem, none));
    let behind = |_: usize, plain: &mut Vec<u8>| *plain.last_mut().unwrap() = 1;
    let comment = "The last byte of padding is not zero.";
    out.push(by_hand("padding", comment, "padding", (&ek, &good), kem, behind));
    let first = |_: usize, plain: &mut Vec<u8>| plain[240 + 592] = 1;
    let comment = "The first byte behind the piece is not zero.";
    out.push(by_hand("padding-first", comment, "padding", (&ek, &good), kem, first));
    let cut = |_: usize, plain: &mut Vec<u8>| plain.truncate(240 + 591);
    let comment = "The packet ends within the piece.";
    out.push(by_hand("cut", comment, "ext", (&ek, &good), kem, cut));
    let unsaid = Flags { want_ack: true, ..Flags::default() };
    let comment = "A piece that no flag announces is padding that is not zero.";
    out.push(by_hand("unsaid", comment, "padding", (&ek, &good), unsaid, none));
    let one = edited(&good, |key| key.truncate(592));
    let mut alone = by_hand("one-stage", "One stage.", "flags", (&ek, &one), kem, none);
    alone.fields.iter_mut().find(|(key, _)| key == "ports").unwrap().1 = "40001".into();
    out.push(alone);
    assert_eq!((answer().status, answer().reason), (Status::Granted, Reason::None));
    out
}
