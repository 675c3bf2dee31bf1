//! How a session stands in a vector, and how a vector becomes a session.

use spa_proto::{
    ClientSecret, InvitationSecret, NewKeys, Op, Request, Session, SessionError, SessionParts,
    Signer, danger,
};

use super::{Vector, list};
use crate::support::touch::Token;
use crate::support::{TS, World, counted, hex, unhex};

/// First byte of the usual ephemeral secret, of a new seed, and of a token's.
pub const E: u8 = 0x60;
pub const NEW: u8 = 0xb0;
pub const TOKEN: u8 = 0xd0;

impl Vector {
    /// The request's fields.
    pub fn requesting(self, request: &Request<'_>) -> Self {
        let word = |ip: Option<std::net::IpAddr>| ip.map_or("none".into(), |ip| ip.to_string());
        self.with("ts-ms", TS)
            .with("service", request.service)
            .with("ttl-s", request.ttl_s)
            .with("op", request.op.word())
            .with("want-ack", request.want_ack)
            .with("bind-src", word(request.bind_src))
            .with("for-addr", word(request.for_addr))
            .with("all", request.all)
            .with("ports", list(request.ports))
            .with("padding", list(request.padding))
    }

    /// The session's id and packets.
    pub fn made(mut self, session: &Session) -> Self {
        self = self.with("sid", hex(session.id().0));
        for (stage, (_, packet)) in session.packets().iter().enumerate() {
            self = self.with(&format!("packet-{stage}"), hex(packet));
        }
        self
    }

    /// A field of bytes.
    pub fn bytes<const N: usize>(&self, key: &str) -> [u8; N] {
        let bytes = unhex(self.get(key));
        bytes.try_into().unwrap_or_else(|_| panic!("{}: {key} is not {N} bytes", self.name))
    }

    /// A field of a number or another plain word.
    pub fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(&self, key: &str) -> T {
        self.get(key).parse().unwrap()
    }

    /// A field of numbers between commas.
    pub fn numbers<T: std::str::FromStr<Err: std::fmt::Debug>>(&self, key: &str) -> Vec<T> {
        let items = self.get(key).split(',').filter(|text| !text.is_empty());
        items.map(|text| text.parse().unwrap()).collect()
    }
}

/// The word of a refusal to make a session.
pub fn refusal(error: &SessionError) -> &'static str {
    match error {
        SessionError::Stages(_) => "refused stages",
        SessionError::Padding(_) => "refused padding",
        SessionError::ForAddr(_) => "refused address",
        SessionError::Close => "refused close",
        SessionError::NewKeys => "refused new-keys",
        SessionError::Kem => "refused kem",
        other => panic!("{other}"),
    }
}

/// The pair that a vector is about: from its own secrets or an invitation, with a token or without.
pub fn world_of(vector: &Vector) -> World {
    let server = vector.bytes("server-secret");
    let world = match vector.find("invitation") {
        Some(_) => {
            World::invited(server, &InvitationSecret::from_bytes(vector.bytes("invitation")))
        }
        None => World::of(server, vector.bytes("client-seed"), vector.bytes("psk")),
    };
    match vector.find("token-seed") {
        Some(_) => world.with_token(&Token::new(vector.bytes("token-seed"))),
        None => world,
    }
}

/// The session that a vector's fields ask for: by its `ephemeral`, or by its `random` bytes.
pub fn session_of(vector: &Vector) -> Result<Session, SessionError> {
    let address = |key: &str| {
        vector.find(key).filter(|text| *text != "none").map(|text| text.parse().unwrap())
    };
    let world = world_of(vector);
    let token = |key: &str| vector.find(key).map(|_| Token::new(vector.bytes(key)));
    let (old_token, new_token) = (token("token-seed"), token("new-token-seed"));
    let has_new = vector.find("new-seed").is_some();
    let seed = if has_new { vector.bytes("new-seed") } else { counted(NEW) };
    let disk = ClientSecret::from_bytes(seed);
    // Where the op names keys that the vector does not have, they are the usual ones.
    let new: NewKeys<'_> = match &new_token {
        Some(token) => world.successors(token.public_with(&disk), &disk, token),
        None => world.disk_successors(&disk),
    };
    let op = match vector.get("op") {
        "open" => Op::Open,
        "renew" => Op::Renew,
        "close" => Op::Close,
        "enrol" => Op::Enrol(new.public),
        "rekey" => Op::Rekey(new.public),
        other => panic!("{other}"),
    };
    let request = Request {
        service: vector.number("service"),
        ttl_s: vector.number("ttl-s"),
        op,
        want_ack: vector.number("want-ack"),
        bind_src: address("bind-src"),
        for_addr: address("for-addr"),
        all: vector.number("all"),
        ports: &vector.numbers::<u16>("ports"),
        padding: &vector.numbers::<usize>("padding"),
    };
    let own: &dyn Signer = &world.client;
    let signer = old_token.as_ref().map_or(own, |token| token);
    let parts = SessionParts { signer, ..world.parts() };
    let ts = vector.number("ts-ms");
    if vector.find("random").is_some() {
        return danger::session_with_random(&parts, &request, ts, vector.bytes("random"));
    }
    let e = vector.bytes("ephemeral");
    if vector.find("m").is_some() {
        danger::kem_session_with_ephemeral(&parts, &request, &new, ts, e)
    } else if has_new {
        danger::new_keys_session_with_ephemeral(&parts, &request, &new, ts, e)
    } else {
        danger::session_with_ephemeral(&parts, &request, ts, e)
    }
}
