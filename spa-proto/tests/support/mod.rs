//! What the tests share: one pair with fixed keys, and a server that takes a datagram through every
//! step that this crate has, in the order of the specification.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub mod document;
pub mod formats;
pub mod touch;
pub mod vectors;

use spa_proto::danger;
use spa_proto::{
    BodyError, ClientPublic, ClientSecret, Context, HedgeKey, InvitationSecret, MAX_PACKET,
    MIN_PACKET, NewKeys, NewKeysError, Op, OpenError, PairKeys, Psk, Request, SealedBody,
    ServerPublic, ServerSecret, ServerSession, Session, SessionParts, Signer, Successor, TagKey,
    TagTable, TagTableBuilder, epoch_of,
};

/// 2026-01-01T00:00:12.345Z.
pub const TS: u64 = 1_767_225_612_345;
/// The ports of [`World::request`].
pub const PORTS: [u16; 3] = [40_001, 40_002, 40_003];

/// `first`, `first + 1`, …: easy to recognise in a dump, and to type.
pub fn counted(first: u8) -> [u8; 32] {
    std::array::from_fn(|i| first.wrapping_add(u8::try_from(i).unwrap()))
}

pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "odd number of hex digits: {text}");
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// One client and one server, with what each keeps for the other.
pub struct World {
    pub server: ServerSecret,
    pub server_public: ServerPublic,
    pub client: ClientSecret,
    pub client_public: ClientPublic,
    pub psk: Psk,
    pub context: Context,
    pub tag: TagKey,
    pub pair: PairKeys,
    pub hedge: HedgeKey,
}

/// Where a datagram is refused, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    Length,
    Tag,
    Port,
    Mac,
    Point,
    Aead,
    Op,
    Flags,
    Ext,
    Unused,
    Padding,
    Address,
    Keys,
    Touch,
    Epoch,
    Signature,
    Same,
    Proof,
    Kem,
}

impl Refused {
    pub fn word(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// A packet that passed everything.
pub struct Seen {
    pub session: ServerSession,
    pub stage: u8,
    pub sealed: SealedBody,
    /// What the new keys lead to, of a request that brings some.
    pub successor: Option<Successor>,
}

impl World {
    /// The pair of the specification's worked example.
    pub fn fixed() -> Self {
        Self::of(counted(0), counted(0x20), counted(0x40))
    }

    pub fn fresh() -> Self {
        Self::of(random(), random(), random())
    }

    pub fn of(server: [u8; 32], client: [u8; 32], psk: [u8; 32]) -> Self {
        let (server, client) = (ServerSecret::from_bytes(server), ClientSecret::from_bytes(client));
        let psk = Psk::from_bytes(psk);
        let (server_public, client_public) = (server.public(), client.public());
        let context = Context::new(&server_public, &client_public);
        let tag = TagKey::derive(&psk, &context);
        let pair = PairKeys::of_client(&psk, &client, &server_public, &context).unwrap();
        let hedge = client.hedge_key();
        Self { server, server_public, client, client_public, psk, context, tag, pair, hedge }
    }

    pub fn parts(&self) -> SessionParts<'_> {
        SessionParts {
            server: &self.server_public,
            context: &self.context,
            tag: &self.tag,
            pair: &self.pair,
            signer: &self.client,
            hedge: &self.hedge,
        }
    }

    /// New keys in the place of this pair's.
    pub fn successors<'a>(
        &'a self,
        public: ClientPublic,
        secret: &'a ClientSecret,
        signer: &'a dyn Signer,
    ) -> NewKeys<'a> {
        NewKeys { public, secret, signer, old: self.client_public, old_psk: &self.psk }
    }

    /// New keys that come from one seed, both halves.
    pub fn disk_successors<'a>(&'a self, disk: &'a ClientSecret) -> NewKeys<'a> {
        self.successors(disk.public(), disk, disk)
    }

    /// OPEN ssh for half an hour in three stages, ack wanted, unbound, unpadded.
    pub fn request(&self) -> Request<'static> {
        Request {
            service: spa_proto::service_id("ssh"),
            ttl_s: 1800,
            op: Op::Open,
            want_ack: true,
            bind_src: None,
            for_addr: None,
            all: false,
            ports: &PORTS,
            padding: &[],
        }
    }

    pub fn knock(&self) -> Session {
        Session::new(&self.parts(), &self.request(), TS).unwrap()
    }

    /// The tag table of this one client in one epoch.
    pub fn table(&self, epoch: u64) -> TagTable {
        let mut table = TagTableBuilder::default();
        for stage in 0..8 {
            table.add(self.tag.tag(epoch, stage), 0, stage);
        }
        table.build()
    }

    /// Every step of the specification's table that needs neither clock nor memory. `ports[i]` is
    /// where the server expects stage i.
    pub fn see(
        &self,
        epoch: u64,
        ports: &[u16],
        datagram: &[u8],
        to_port: u16,
    ) -> Result<Seen, Refused> {
        if !(MIN_PACKET..=MAX_PACKET).contains(&datagram.len()) {
            return Err(Refused::Length);
        }
        let stage = self.table(epoch).find(datagram).next().ok_or(Refused::Tag)?.stage;
        if ports.get(usize::from(stage)) != Some(&to_port) {
            return Err(Refused::Port);
        }
        if !self.pair.mac_is_right(datagram) {
            return Err(Refused::Mac);
        }
        let (session, sealed) = self.open(epoch, stage, datagram, to_port)?;
        if !session.verify(&self.client_public, &sealed) {
            return Err(Refused::Signature);
        }
        let told = session.successor(&self.server, &self.client_public, &self.psk, &sealed);
        let successor = match told {
            Ok(successor) => Some(successor),
            Err(NewKeysError::None) => None,
            Err(error) => return Err(new_keys_refused(error)),
        };
        Ok(Seen { session, stage, sealed, successor })
    }

    /// The pair's keys as the server makes them.
    pub fn server_pair(&self) -> Result<PairKeys, Refused> {
        PairKeys::of_server(&self.psk, &self.server, &self.client_public, &self.context)
            .ok_or(Refused::Point)
    }

    /// The server's view of the session with this ephemeral secret.
    pub fn server_session(&self, ephemeral: [u8; 32]) -> ServerSession {
        ServerSession::agree(&self.server, &self.pair, &self.context, &self.big_e(ephemeral))
            .unwrap()
    }

    /// The public half of an ephemeral secret.
    pub fn big_e(&self, ephemeral: [u8; 32]) -> [u8; 32] {
        let (server, client) = (&self.server_public, &self.client_public);
        let traced = danger::trace_session(server, client, &self.pair, ephemeral).unwrap();
        traced[0].1.clone().try_into().unwrap()
    }

    /// The steps from the unmasking to the strict decoding alone.
    pub fn open(
        &self,
        epoch: u64,
        stage: u8,
        datagram: &[u8],
        to_port: u16,
    ) -> Result<(ServerSession, SealedBody), Refused> {
        let pair = self.server_pair()?;
        let ephemeral = pair.ephemeral(datagram).ok_or(Refused::Length)?;
        let session = ServerSession::agree(&self.server, &pair, &self.context, &ephemeral)
            .ok_or(Refused::Point)?;
        let sealed = session.open(datagram, epoch, stage, to_port).map_err(open_refused)?;
        Ok((session, sealed))
    }

    /// A plaintext as a client would seal it around these 16 bytes, with a true signature over them
    /// and over as much of the tail as they say is an extension.
    pub fn signed_plaintext(&self, ephemeral: [u8; 32], body: [u8; 16], tail: &[u8]) -> Vec<u8> {
        let ext_len = usize::from(u16::from_be_bytes([body[14], body[15]]));
        let ext = &tail[..ext_len.min(tail.len())];
        let blob = danger::signed_data(&self.context, &self.big_e(ephemeral), &body, ext);
        let signature = self.client.sign(&blob).unwrap();
        [&body[..], &signature.bytes, tail].concat()
    }

    /// The stage packet around that plaintext.
    pub fn crafted(
        &self,
        ephemeral: [u8; 32],
        epoch: u64,
        stage: u8,
        port: u16,
        text: &[u8],
    ) -> Vec<u8> {
        danger::stage_packet(&self.parts(), ephemeral, epoch, stage, port, text).unwrap()
    }

    /// An invitation's pair with the same server.
    pub fn invited(server: [u8; 32], invitation: &InvitationSecret) -> Self {
        Self::of(server, *invitation.client().to_bytes(), *invitation.psk().to_bytes())
    }

    /// The same pair with a signing half in a security key.
    pub fn with_token(mut self, token: &touch::Token) -> Self {
        self.client_public = token.public_with(&self.client);
        self.context = Context::new(&self.server_public, &self.client_public);
        self.tag = TagKey::derive(&self.psk, &self.context);
        self.pair =
            PairKeys::of_client(&self.psk, &self.client, &self.server_public, &self.context)
                .unwrap();
        self
    }
}

/// The step of [`Refused`] that a packet's error belongs to.
pub fn open_refused(error: OpenError) -> Refused {
    match error {
        OpenError::Length => Refused::Length,
        OpenError::Forged => Refused::Aead,
        OpenError::Padding => Refused::Padding,
        OpenError::Body(error) => body_refused(error),
        OpenError::Epoch => Refused::Epoch,
        other => panic!("unexpected: {other}"),
    }
}

/// The step of [`Refused`] that an error of new keys belongs to.
pub fn new_keys_refused(error: NewKeysError) -> Refused {
    match error {
        NewKeysError::Same => Refused::Same,
        NewKeysError::Point => Refused::Point,
        NewKeysError::Proof => Refused::Proof,
        NewKeysError::Kem => Refused::Kem,
        other => panic!("unexpected: {other}"),
    }
}

/// The step of [`Refused`] that a body's error belongs to.
pub fn body_refused(error: BodyError) -> Refused {
    match error {
        BodyError::Length => Refused::Length,
        BodyError::Op(_) => Refused::Op,
        BodyError::Flags(_) => Refused::Flags,
        BodyError::Extension(_) => Refused::Ext,
        BodyError::Unused => Refused::Unused,
        BodyError::Address => Refused::Address,
        BodyError::Keys => Refused::Keys,
        BodyError::Touch => Refused::Touch,
        other => panic!("unexpected: {other}"),
    }
}

pub fn random() -> [u8; 32] {
    spa_proto::random().unwrap()
}

pub fn epoch() -> u64 {
    epoch_of(TS)
}

/// The seven encodings of X25519's small-order points that are below 2^255: 0, 1, the two of order
/// 8, p - 1, p and p + 1 (the list of libsodium's `has_small_order`). Each has a twin with the
/// ignored top bit set.
pub const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// All fourteen.
pub fn small_order_points() -> Vec<[u8; 32]> {
    let low = SMALL_ORDER.iter().map(|text| <[u8; 32]>::try_from(unhex(text)).unwrap());
    low.flat_map(|point| {
        let mut twin = point;
        twin[31] |= 0x80;
        [point, twin]
    })
    .collect()
}
