//! The worked examples of `docs/protocol.md` and `docs/formats.md`: the text between
//! `<!-- worked: NAME -->` and `<!-- end -->`.

use std::fmt::Write;
use std::path::PathBuf;

use spa_proto::danger;
use spa_proto::{
    ClientSecret, Confirm, HopKey, HopPlan, InvitationSecret, Op, Request, Session, service_id,
};

use super::vectors::acks::{example_ack, example_keys};
use super::vectors::bodies::body_bytes;
use super::vectors::list;
use super::vectors::session_fields::E;
use super::{TS, World, counted, epoch, hex};

/// The pages, each with the names of its examples; it must hold each exactly once.
pub fn pages() -> [(PathBuf, &'static [&'static str]); 2] {
    let page = |name: &str| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    [
        (page("protocol.md"), &PROTOCOL),
        (page("formats.md"), &["text-keys", "locked-key", "host-line", "invitation"]),
    ]
}

/// The document with every worked example made anew.
pub fn rewritten(old: &str) -> String {
    let mut new = String::new();
    let mut rest = old;
    while let Some((before, after)) = rest.split_once("<!-- worked: ") {
        let (name, after) = after.split_once(" -->").expect("an open marker");
        let (_, after) = after.split_once("<!-- end -->").expect("an example without an end");
        write!(new, "{before}<!-- worked: {name} -->\n```text\n{}```\n<!-- end -->", example(name))
            .unwrap();
        rest = after;
    }
    new + rest
}

const PROTOCOL: [&str; 10] = [
    "keys", "hedge", "session", "packet", "confirm", "ack", "ack-keys", "service", "hop",
    "new-keys",
];

fn example(name: &str) -> String {
    match name {
        "keys" => keys(),
        "hedge" => hedge(),
        "session" => session(),
        "packet" => packets(),
        "confirm" => confirm(),
        "ack" => ack(),
        "ack-keys" => ack_keys(),
        "service" => services(),
        "hop" => hop(),
        "new-keys" => new_keys(),
        other => super::formats::example(other)
            .unwrap_or_else(|| panic!("no worked example is called {name}")),
    }
}

/// `name = hex`, 32 bytes a line.
fn lines(out: &mut String, name: &str, bytes: &[u8]) {
    let chunks: Vec<String> = bytes.chunks(32).map(hex).collect();
    writeln!(out, "{name:<10}= {}", chunks.join(&format!("\n{:12}", ""))).unwrap();
}

fn keys() -> String {
    let world = World::fixed();
    let mut out = String::new();
    lines(&mut out, "sk_S", &counted(0));
    lines(&mut out, "seed_C", &counted(0x20));
    lines(&mut out, "psk", &counted(0x40));
    for (name, bytes) in danger::trace_pair(&world.server, &world.client, &world.psk).unwrap() {
        lines(&mut out, name, &bytes);
    }
    out
}

/// The session of the worked example.
fn knock(world: &World) -> Session {
    danger::session_with_ephemeral(&world.parts(), &world.request(), TS, counted(E)).unwrap()
}

fn hedge() -> String {
    let world = World::fixed();
    let made =
        danger::session_with_random(&world.parts(), &world.request(), TS, counted(0x10)).unwrap();
    let mut out = String::new();
    lines(&mut out, "random", &counted(0x10));
    lines(&mut out, "w", &danger::hedged_words(&world.request(), &body_bytes()));
    lines(&mut out, "E", &world.pair.ephemeral(&made.packets()[0].1).unwrap());
    out
}

fn session() -> String {
    let world = World::fixed();
    let mut out =
        format!("ts        = {TS}  (2026-01-01T00:00:12.345Z)\nepoch     = {}\n", epoch());
    lines(&mut out, "e", &counted(E));
    let (server, client) = (&world.server_public, &world.client_public);
    let traced = danger::trace_session(server, client, &world.pair, counted(E)).unwrap();
    for (name, bytes) in &traced {
        lines(&mut out, name, bytes);
    }
    let body = body_bytes();
    let text = world.signed_plaintext(counted(E), body, &[]);
    lines(&mut out, "body", &body);
    lines(&mut out, "message", &[&world.context.0[..], &traced[2].1, &body].concat());
    let big_e = world.big_e(counted(E));
    lines(&mut out, "signed", &danger::signed_data(&world.context, &big_e, &body, &[]));
    lines(&mut out, "sig", &text[16..80]);
    out
}

/// What lies around the seal of a stage packet or a CONFIRM.
fn wrapping(out: &mut String, world: &World, packet: &[u8]) {
    let big_e = world.pair.ephemeral(packet).unwrap();
    let masked = packet[16..48].iter().zip(big_e);
    let mask: Vec<u8> = masked.map(|(masked, byte)| masked ^ byte).collect();
    lines(out, "sample", &packet[packet.len() - 16..]);
    lines(out, "mask", &mask);
    lines(out, "tag", &packet[..8]);
    lines(out, "mac", &packet[8..16]);
    lines(out, "packet", packet);
}

fn packets() -> String {
    let world = World::fixed();
    let mut out = String::new();
    for (stage, (port, packet)) in (0u8..).zip(knock(&world).packets()) {
        let key = danger::trace_box_key(&world.parts(), counted(E), epoch(), stage, *port);
        writeln!(out, "stage {stage}, to port {port}").unwrap();
        lines(&mut out, "k_box", &key.unwrap());
        wrapping(&mut out, &world, packet);
    }
    out
}

fn confirm() -> String {
    let world = World::fixed();
    let address = example_ack().observed.ip();
    let packet = knock(&world).make_confirm(&world.pair, &Confirm { number: 1, address }, 0);
    let mut out = format!("number 1, address {address}, to the port of stage 2\n");
    lines(&mut out, "nonce", &packet[48..60]);
    wrapping(&mut out, &world, &packet);
    out
}

fn new_keys() -> String {
    let invitation = InvitationSecret::from_bytes(counted(0x90));
    let world = World::invited(counted(0), &invitation);
    let disk = ClientSecret::from_bytes(counted(0xb0));
    let new = world.disk_successors(&disk);
    let mut out = String::new();
    lines(&mut out, "I", &counted(0x90));
    lines(&mut out, "seed_I", invitation.client().to_bytes().as_slice());
    lines(&mut out, "psk", invitation.psk().to_bytes().as_slice());
    lines(&mut out, "ctx", &world.context.0);
    lines(&mut out, "seed'", &counted(0xb0));
    lines(&mut out, "pk'", &new.public.sign);
    lines(&mut out, "X'", &new.public.dh);
    for (name, bytes) in danger::trace_new_keys(&world.parts(), &new, counted(0x70)).unwrap() {
        lines(&mut out, name, &bytes);
    }
    let request = Request { op: Op::Enrol(new.public), service: 0, ttl_s: 0, ..world.request() };
    let session =
        danger::new_keys_session_with_ephemeral(&world.parts(), &request, &new, TS, counted(0x70))
            .unwrap();
    let (port, packet) = &session.packets()[0];
    let ports: Vec<u16> = session.packets().iter().map(|(port, _)| *port).collect();
    let seen = world.see(epoch(), &ports, packet, *port);
    let body = seen.map(|seen| seen.sealed.body.encode()).unwrap_or_else(|step| panic!("{step:?}"));
    let big_e = world.pair.ephemeral(packet).unwrap();
    let blob =
        danger::new_keys_signed_data(&world.parts(), &new, &big_e, &body, None, None).unwrap();
    let proof = spa_proto::Signer::sign(&disk, &blob).unwrap().bytes;
    let ext = [&new.public.to_bytes()[..], &danger::share(&new), &proof].concat();
    let signed = danger::signed_data(&world.context, &big_e, &body, &ext);
    lines(&mut out, "e", &counted(0x70));
    lines(&mut out, "body", &body);
    lines(&mut out, "signed'", &blob);
    lines(&mut out, "proof", &proof);
    lines(&mut out, "sig", &spa_proto::Signer::sign(&world.client, &signed).unwrap().bytes);
    lines(&mut out, "packet", packet);
    out
}

fn ack() -> String {
    let session = World::fixed().server_session(counted(E));
    let ack = session.seal_ack(&example_ack(), None);
    let mut out = format!(
        "granted provisionally, for 1800 s once confirmed, server's clock {},\n\
         seen from 203.0.113.7:51820\n",
        TS + 55
    );
    lines(&mut out, "plaintext", &danger::ack_plaintext(&example_ack(), false));
    lines(&mut out, "nonce", &ack[..12]);
    lines(&mut out, "ack", &ack);
    out
}

fn ack_keys() -> String {
    let session = World::fixed().server_session(counted(E));
    let keys = example_keys();
    let ack = session.seal_ack(&example_ack(), Some(&keys));
    let mut out = String::new();
    lines(&mut out, "pk_S", &keys.public.0);
    lines(&mut out, "k_hop", &*keys.hop.as_ref().unwrap().to_bytes());
    lines(&mut out, "nonce", &ack[..12]);
    lines(&mut out, "ack", &ack);
    out
}

fn services() -> String {
    ["ssh", "all", "web"]
        .map(|name| format!("{name:<10}= {0} (0x{0:04x})\n", service_id(name)))
        .concat()
}

fn hop() -> String {
    let key = HopKey::of_server(&World::fixed().server);
    let plan = HopPlan::new(40_000, 49_999, 3, vec![(41_000, 41_999), (42_222, 42_222)]).unwrap();
    let at = HopPlan::epoch_of(TS);
    let mut out = String::new();
    lines(&mut out, "k_hop", &*key.to_bytes());
    for hop_epoch in [at, at + 1] {
        writeln!(out, "hop epoch {hop_epoch}: ports {}", list(plan.ports(&key, hop_epoch)))
            .unwrap();
    }
    out
}
