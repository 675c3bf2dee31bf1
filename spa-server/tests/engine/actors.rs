//! Clients and what they send.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

pub use crate::token::Token;
use spa_proto::{
    ClientPublic, ClientSecret, Confirm, Context, HedgeKey, KemCiphertext, KeyKind, NewKeys, Op,
    PairKeys, Psk, Request, ServerPublic, Session, SessionId, SessionParts, Signer, TagKey,
    service_id,
};
use spa_server::engine::RegisteredClient;
use spa_server::engine::Stanza;

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Home of client `i`, by family.
pub fn home4(i: usize) -> SocketAddr {
    addr(&format!("192.0.2.{}:5000", i + 1))
}

pub fn home6(i: usize) -> SocketAddr {
    addr(&format!("[2001:db8::{:x}]:5000", i + 1))
}

/// Somebody else's address.
pub fn elsewhere() -> SocketAddr {
    addr("198.51.100.7:6000")
}

/// Tells the addresses of clients from those of whoever copies their packets.
pub fn is_a_clients(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets().starts_with(&[192, 0, 2]),
        IpAddr::V6(v6) => v6.segments()[2] != 0xbad,
    }
}

pub struct Actor {
    pub name: String,
    pub secret: ClientSecret,
    pub psk: Psk,
    pub public: ClientPublic,
    pub context: Context,
    pub tag: TagKey,
    pub pair: PairKeys,
    pub hedge: HedgeKey,
    pub stanza: Stanza,
    pub server: ServerPublic,
}

impl Actor {
    pub fn new(i: usize, stanza: Stanza, server: ServerPublic) -> Self {
        Self::with_public(i, stanza, server, |secret| secret.public())
    }

    /// Signs with a security key.
    pub fn with_token(i: usize, stanza: Stanza, server: ServerPublic, token: &Token) -> Self {
        let sign = token.inner.public().sign;
        Self::with_signer(i, stanza, server, (sign, KeyKind::SecurityKey))
    }

    /// Signs with this key.
    pub fn with_signer(
        i: usize,
        stanza: Stanza,
        server: ServerPublic,
        (sign, kind): ([u8; 32], KeyKind),
    ) -> Self {
        Self::with_public(i, stanza, server, |secret| secret.public().with_signer(sign, kind))
    }

    fn with_public(
        i: usize,
        stanza: Stanza,
        server: ServerPublic,
        public: impl Fn(&ClientSecret) -> ClientPublic,
    ) -> Self {
        let secret = ClientSecret::from_bytes([u8::try_from(i).unwrap() + 1; 32]);
        let psk = Psk::from_bytes([u8::try_from(i).unwrap() + 101; 32]);
        let public = public(&secret);
        let context = Context::new(&server, &public);
        let tag = TagKey::derive(&psk, &context);
        let hedge = secret.hedge_key();
        let pair = PairKeys::of_client(&psk, &secret, &server, &context).unwrap();
        Self {
            name: format!("client{i}"),
            secret,
            psk,
            public,
            context,
            tag,
            pair,
            hedge,
            stanza,
            server,
        }
    }

    pub fn enrolled(&self) -> RegisteredClient {
        RegisteredClient {
            name: self.name.clone(),
            public: self.public,
            psk: self.psk.clone(),
            stanza: self.stanza.clone(),
            since_ms: None,
            kem: None,
        }
    }

    /// The new keys that its ENROL or REKEY asks for.
    pub fn new_psk(&self, ciphertext: Option<&KemCiphertext>) -> Psk {
        let secret = ClientSecret::from_bytes(NEW_SEED);
        let new = NewKeys {
            public: secret.public(),
            secret: &secret,
            signer: &secret,
            old: self.public,
            old_psk: &self.psk,
        };
        ciphertext.map_or_else(|| new.psk(), |ciphertext| new.psk_by_kem(ciphertext))
    }

    pub fn knock(&self, ask: &Ask, ports: &[u16], ts_ms: u64) -> Knock {
        self.knock_signed(ask, ports, ts_ms, &self.secret)
    }

    pub fn knock_signed(&self, ask: &Ask, ports: &[u16], ts_ms: u64, signer: &dyn Signer) -> Knock {
        let new = ClientSecret::from_bytes(NEW_SEED);
        self.knock_proved(ask, ports, ts_ms, (signer, &new))
    }

    /// Signs by the first, and new keys prove themselves by the second; their other half is
    /// [`NEW_SEED`]'s.
    pub fn knock_proved(
        &self,
        ask: &Ask,
        ports: &[u16],
        ts_ms: u64,
        (signer, new_signer): (&dyn Signer, &dyn Signer),
    ) -> Knock {
        let parts = SessionParts {
            server: &self.server,
            context: &self.context,
            tag: &self.tag,
            pair: &self.pair,
            signer,
            hedge: &self.hedge,
        };
        let brings_keys = ask.op.new_keys();
        let request = Request {
            service: match (brings_keys, ask.service) {
                (Some(_), _) | (None, "") => 0,
                (None, service) => service_id(service),
            },
            ttl_s: ask.ttl_s,
            op: ask.op,
            want_ack: ask.want_ack,
            bind_src: ask.bind_src,
            for_addr: ask.for_addr,
            all: ask.op == Op::Close && Binding::of(ask) == Binding::Sender,
            ports,
            padding: &ask.padding,
        };
        let session = match brings_keys {
            None => Session::new(&parts, &request, ts_ms),
            Some(public) => {
                let secret = ClientSecret::from_bytes(NEW_SEED);
                let new = NewKeys {
                    public,
                    secret: &secret,
                    signer: new_signer,
                    old: self.public,
                    old_psk: &self.psk,
                };
                if ask.kem {
                    Session::with_kem(&parts, &request, &new, ts_ms)
                } else {
                    Session::with_new_keys(&parts, &request, &new, ts_ms)
                }
            }
        };
        let session = Rc::new(session.unwrap());
        Knock { session, pair: self.pair.clone(), binding: Binding::of(ask) }
    }
}

/// Seed of the keys that ENROL and REKEY bring.
pub const NEW_SEED: [u8; 32] = [0x77; 32];

/// Whom a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Whoever sends it.
    Sender,
    /// This address, which must send it.
    Source(IpAddr),
    /// This address, whoever sends it.
    Other(IpAddr),
}

impl Binding {
    pub fn of(ask: &Ask) -> Self {
        match (ask.for_addr, ask.bind_src) {
            (Some(named), _) => Self::Other(named),
            (None, Some(bound)) => Self::Source(bound),
            (None, None) => Self::Sender,
        }
    }
}

/// What a client asks for.
#[derive(Clone)]
pub struct Ask {
    /// Empty: every service.
    pub service: &'static str,
    pub ttl_s: u16,
    pub op: Op,
    pub want_ack: bool,
    pub bind_src: Option<IpAddr>,
    pub for_addr: Option<IpAddr>,
    pub padding: Vec<usize>,
    /// New keys bring an ML-KEM key.
    pub kem: bool,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            service: "ssh",
            ttl_s: 0,
            op: Op::Open,
            want_ack: true,
            bind_src: None,
            for_addr: None,
            padding: Vec::new(),
            kem: false,
        }
    }
}

impl Ask {
    pub fn service(service: &'static str) -> Self {
        Self { service, ..Self::default() }
    }

    pub fn close(service: &'static str) -> Self {
        Self { service, op: Op::Close, ..Self::default() }
    }

    pub fn ttl(ttl_s: u16) -> Self {
        Self { ttl_s, ..Self::default() }
    }

    pub fn bound(to: SocketAddr) -> Self {
        Self { bind_src: Some(to.ip()), ..Self::default() }
    }

    pub fn for_addr(op: Op, address: IpAddr) -> Self {
        Self { op, for_addr: Some(address), ..Self::default() }
    }

    pub fn op(op: impl Fn(ClientPublic) -> Op) -> Self {
        Self { op: op(ClientSecret::from_bytes(NEW_SEED).public()), ..Self::default() }
    }

    /// Wants no answer; an unbound one could not be confirmed.
    pub fn silent(home: SocketAddr) -> Self {
        Self { want_ack: false, ..Self::bound(home) }
    }
}

/// One session and its packets.
#[derive(Clone)]
pub struct Knock {
    pub session: Rc<Session>,
    pub pair: PairKeys,
    pub binding: Binding,
}

impl Knock {
    pub fn id(&self) -> SessionId {
        self.session.id()
    }

    pub fn stages(&self) -> usize {
        self.session.packets().len()
    }

    /// The CONFIRM with this number for an address, and the port it goes to.
    pub fn confirm(&self, number: u8, address: IpAddr) -> (u16, Vec<u8>) {
        let (port, _) = self.packet(self.stages() - 1);
        (port, self.session.make_confirm(&self.pair, &Confirm { number, address }, 0))
    }

    pub fn packet(&self, stage: usize) -> (u16, &[u8]) {
        let (port, bytes) = &self.session.packets()[stage];
        (*port, bytes)
    }
}
