//! The session vectors of new keys and security keys, and how any session vector becomes a session.

use std::net::IpAddr;

use spa_proto::{
    ClientPublic, ClientSecret, InvitationSecret, NewKeys, Op, Request, Session, SessionError,
    SessionParts, Signer, danger,
};

use super::touch::Token;
use super::vectors::{Vector, list};
use super::{TS, World, counted, hex, unhex};

pub const E: u8 = 0x60;
pub const NEW: u8 = 0xb0;
pub const TOKEN: u8 = 0xd0;

/// The word of a refusal to make a session.
pub fn refusal(error: &SessionError) -> &'static str {
    match error {
        SessionError::Stages(_) => "refused stages",
        SessionError::Padding(_) => "refused padding",
        SessionError::ForAddr(_) => "refused for-addr",
        SessionError::NewKeys => "refused new-keys",
        other => panic!("{other}"),
    }
}

/// Who signs: the seed's own key, or the token with this seed.
enum By {
    Disk([u8; 32]),
    Token([u8; 32]),
}

/// Name, comment, the pair's fields, whether its token signs, the new keys, the request.
type Case<'a> = (&'a str, &'a str, Vector, bool, Option<&'a By>, Request<'a>);

/// Sessions with new keys and security keys; those for another address stand with the plain ones.
pub fn sessions() -> Vec<Vector> {
    let own = || Vector::new("session", "", "", "").secrets();
    let invited = || {
        let vector = Vector::new("session", "", "", "");
        vector.with("server-secret", hex(counted(0))).with("invitation", hex(counted(0x90)))
    };
    let plain = World::fixed().request();
    let bare = Request { service: 0, ttl_s: 0, ..plain.clone() };
    let enrol = |by: &By| Op::Enrol(new_public(by));
    let rekey = |by: &By| Op::Rekey(new_public(by));
    let (disk, token) = (By::Disk(counted(NEW)), By::Token(counted(TOKEN)));
    let bind: Option<IpAddr> = Some("2001:db8::7".parse().unwrap());
    let cases: Vec<Case<'_>> = vec![
        (
            "enrol",
            "An invitation makes a client.",
            invited(),
            false,
            Some(&disk),
            Request { op: enrol(&disk), ..bare.clone() },
        ),
        (
            "enrol-bound",
            "The same, bound to its source.",
            invited(),
            false,
            Some(&disk),
            Request { op: enrol(&disk), bind_src: bind, ..bare.clone() },
        ),
        (
            "enrol-security-key",
            "An invitation makes a client with a security key.",
            invited(),
            false,
            Some(&token),
            Request { op: enrol(&token), ..bare.clone() },
        ),
        (
            "rekey",
            "A client goes on with new keys.",
            own(),
            false,
            Some(&disk),
            Request { op: rekey(&disk), ..bare.clone() },
        ),
        (
            "rekey-security-keys",
            "From one security key to another: the longest extension.",
            own(),
            true,
            Some(&token),
            Request { op: rekey(&token), ..bare.clone() },
        ),
        ("security-key", "A security key signs; one touch.", own(), true, None, plain.clone()),
        (
            "security-key-for-addr",
            "A security key signs for another address.",
            own(),
            true,
            None,
            Request { for_addr: bind, ..plain.clone() },
        ),
        (
            "enrol-service",
            "An enrolment has no service.",
            invited(),
            false,
            Some(&disk),
            Request { op: enrol(&disk), service: 1, ..bare.clone() },
        ),
        (
            "enrol-ttl",
            "An enrolment has no ttl.",
            invited(),
            false,
            Some(&disk),
            Request { op: enrol(&disk), ttl_s: 1, ..bare.clone() },
        ),
        (
            "enrol-for-addr",
            "An enrolment opens for nobody.",
            invited(),
            false,
            Some(&disk),
            Request { op: enrol(&disk), for_addr: bind, ..bare.clone() },
        ),
        (
            "rekey-without-keys",
            "The op names keys that are not there.",
            own(),
            false,
            None,
            Request { op: rekey(&disk), ..bare.clone() },
        ),
        ("open-with-keys", "An op that brings no keys.", own(), false, Some(&disk), plain.clone()),
    ];
    cases
        .into_iter()
        .map(|(name, comment, vector, touched, new, request)| {
            one(name, comment, vector, touched, new, &request)
        })
        .collect()
}

fn new_public(by: &By) -> ClientPublic {
    match by {
        By::Disk(seed) => ClientSecret::from_bytes(*seed).public(),
        By::Token(seed) => Token::new(*seed).public_with(&ClientSecret::from_bytes(counted(NEW))),
    }
}

fn one(
    name: &str,
    comment: &str,
    mut vector: Vector,
    touched: bool,
    new: Option<&By>,
    request: &Request<'_>,
) -> Vector {
    vector.name = format!("session-{name}.txt");
    vector.comment = comment.into();
    vector = vector
        .with("ephemeral", hex(counted(E)))
        .with("ts-ms", TS)
        .with("service", request.service)
        .with("ttl-s", request.ttl_s)
        .with("op", request.op.word())
        .with("want-ack", request.want_ack)
        .with("bind-src", request.bind_src.map_or("none".into(), |ip| ip.to_string()))
        .with("for-addr", request.for_addr.map_or("none".into(), |ip| ip.to_string()))
        .with("ports", list(request.ports))
        .with("padding", list(request.padding));
    if touched {
        vector = vector.with("token-seed", hex(counted(TOKEN + 0x20))).with("touch", "0100000007");
    }
    if let Some(by) = new {
        vector = vector.with("new-seed", hex(counted(NEW)));
        if let By::Token(seed) = by {
            vector = vector.with("new-token-seed", hex(seed)).with("new-touch", "0100000007");
        }
    }
    match session_of(&vector) {
        Err(error) => vector.fields[1].1 = refusal(&error).into(),
        Ok(session) => {
            vector.fields[1].1 = "packets".into();
            vector = vector.with("sid", hex(session.id().0));
            if new.is_some() {
                vector = with_new_psk(vector, &session);
            }
            for (stage, (_, packet)) in session.packets().iter().enumerate() {
                vector = vector.with(&format!("packet-{stage}"), hex(packet));
            }
        }
    }
    vector
}

/// The psk that the server comes to, beside what the client would: both must be the same.
fn with_new_psk(vector: Vector, session: &Session) -> Vector {
    let world = world_of(&vector);
    let ports: Vec<u16> = session.packets().iter().map(|(port, _)| *port).collect();
    let bound: Option<IpAddr> = vector.find("bind-src").and_then(|text| text.parse().ok());
    let (port, packet) = &session.packets()[0];
    let source = bound.unwrap_or_else(super::localhost);
    let seen = world.see(super::epoch(), &ports, packet, *port, source);
    let successor = seen.unwrap_or_else(|step| panic!("refused at {step:?}")).successor.unwrap();
    let disk = ClientSecret::from_bytes(counted(NEW));
    let new = NewKeys { public: successor.public, secret: &disk, signer: &disk };
    assert_eq!(new.psk(&world.server_public, &world.pair), Some(successor.psk.clone()));
    vector.with("new-psk", hex(successor.psk.to_bytes()))
}

/// The pair that a vector is about: from its own secrets or an invitation, with a token or without.
pub fn world_of(vector: &Vector) -> World {
    let bytes = |key: &str| -> [u8; 32] { unhex(vector.get(key)).try_into().unwrap() };
    let world = match vector.find("invitation") {
        Some(_) => World::invited(
            bytes("server-secret"),
            &InvitationSecret::from_bytes(bytes("invitation")),
        ),
        None => World::of(bytes("server-secret"), bytes("client-seed"), bytes("psk")),
    };
    match vector.find("token-seed") {
        Some(_) => world.with_token(&Token::new(bytes("token-seed"))),
        None => world,
    }
}

/// The session that a vector's fields ask for.
pub fn session_of(vector: &Vector) -> Result<Session, SessionError> {
    let bytes = |key: &str| -> [u8; 32] { unhex(vector.get(key)).try_into().unwrap() };
    let address = |key: &str| {
        vector.find(key).filter(|text| *text != "none").map(|text| text.parse().unwrap())
    };
    fn numbers<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> Vec<T> {
        text.split(',').filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect()
    }
    let world = world_of(vector);
    let token = vector.find("token-seed").map(|_| Token::new(bytes("token-seed")));
    let new_disk = vector.find("new-seed").map(|_| ClientSecret::from_bytes(bytes("new-seed")));
    let new_token = vector.find("new-token-seed").map(|_| Token::new(bytes("new-token-seed")));
    let new = new_disk.as_ref().map(|disk| match &new_token {
        Some(token) => NewKeys { public: token.public_with(disk), secret: disk, signer: token },
        None => NewKeys { public: disk.public(), secret: disk, signer: disk },
    });
    // Where the op names keys that the vector does not have, they are the usual ones.
    let named = new.as_ref().map_or_else(|| new_public(&By::Disk(counted(NEW))), |new| new.public);
    let op = match vector.get("op") {
        "open" => Op::Open,
        "renew" => Op::Renew,
        "close" => Op::Close,
        "enrol" => Op::Enrol(named),
        "rekey" => Op::Rekey(named),
        other => panic!("{other}"),
    };
    let request = Request {
        service: vector.get("service").parse().unwrap(),
        ttl_s: vector.get("ttl-s").parse().unwrap(),
        op,
        want_ack: vector.get("want-ack").parse().unwrap(),
        bind_src: address("bind-src"),
        for_addr: address("for-addr"),
        ports: &numbers::<u16>(vector.get("ports")),
        padding: &numbers::<usize>(vector.get("padding")),
    };
    let signer: &dyn Signer = token.as_ref().map_or(&world.client as &dyn Signer, |token| token);
    let parts = SessionParts { signer, ..world.parts() };
    let (ts, e) = (vector.get("ts-ms").parse().unwrap(), bytes("ephemeral"));
    match &new {
        Some(new) => danger::new_keys_session_with_ephemeral(&parts, &request, new, ts, e),
        None => danger::session_with_ephemeral(&parts, &request, ts, e),
    }
}
