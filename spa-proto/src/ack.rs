//! The ack: what the server answers to a completely verified session, 60 bytes; 124 to a client
//! that came by the server's previous key, which is told the present one.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use zeroize::Zeroizing;

use crate::hash::to_array;
use crate::hop::HopKey;
use crate::keys::ServerPublic;
use crate::labels;
use crate::layout::{ACK_KEYS_LEN, ACK_LEN};
use crate::random::{RandomError, random};

const NONCE_LEN: usize = 12;
const PLAIN_LEN: usize = 32;
const TAG_LEN: usize = 16;
/// pk_S and k_hop.
const KEYS_LEN: usize = ACK_KEYS_LEN - ACK_LEN;

/// The keys that a server has now, told to a client that came by the previous one: 64 bytes behind
/// the ack's 32.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerKeys {
    /// pk_S.
    pub public: ServerPublic,
    /// k_hop; 32 zero bytes on the wire when the ports do not hop.
    pub hop: Option<HopKey>,
}

impl ServerKeys {
    pub(crate) fn encode(&self) -> Zeroizing<[u8; KEYS_LEN]> {
        let hop = self.hop.as_ref().map_or_else(Default::default, HopKey::to_bytes);
        let mut out = Zeroizing::new([0; KEYS_LEN]);
        for (to, from) in out.iter_mut().zip(self.public.0.iter().chain(hop.iter())) {
            *to = *from;
        }
        out
    }

    fn decode(plain: &[u8]) -> Option<Self> {
        let (public, hop) = plain.split_first_chunk::<32>()?;
        let hop = Zeroizing::new(<[u8; 32]>::try_from(hop).ok()?);
        let none = hop.iter().all(|byte| *byte == 0);
        Some(Self { public: ServerPublic(*public), hop: (!none).then(|| HopKey::from_bytes(*hop)) })
    }
}

/// The answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The firewall is open (or, for a close, closed).
    Granted,
    /// Policy says no; the reason tells which rule.
    Denied,
    /// The time stamp is outside the window or not later than the replay fence; the server's time
    /// is in the ack.
    Stale,
    /// The server cannot now: firewall or store failed, or too many grants in progress.
    Busy,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal $text:literal,)*) => {
        /// Reason of a refusal, as one byte in the ack and one word in the log.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[doc = $doc])* $name = $code,)* }

        impl Reason {
            fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// The word that stands in the log.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// Nothing to say.
    None = 0 "none",
    /// The service does not exist or is not in the client's stanza.
    Service = 1 "service",
    /// The stanza has expired.
    Expired = 2 "expired",
    /// Outside the stanza's hours.
    Hours = 3 "hours",
    /// The source is outside the stanza's networks.
    From = 4 "from",
    /// The ttl is above the maximum.
    Ttl = 5 "ttl",
    /// The client has as many grants as it may have.
    MaxGrants = 6 "max-grants",
    /// The source is banned, and the server is strict.
    Banned = 7 "banned",
    /// The firewall could not be changed.
    Firewall = 8 "firewall",
    /// The replay record could not be written.
    Store = 9 "store",
    /// The time stamp is older than the window.
    Past = 10 "past",
    /// The time stamp is ahead of the window.
    Future = 11 "future",
    /// The time stamp is not later than the fence that a restart without a clean stop left; wait
    /// and knock again.
    Fence = 12 "fence",
    /// The time stamp is not later than the client's own floor (an older session of it was
    /// forgotten).
    Floor = 13 "floor",
    /// The op is not for this client: an invitation opens nothing, and enrolment or rotation is not
    /// what this client or this server does.
    Op = 14 "op",
    /// The client may not open for another address than its own.
    ForAddr = 15 "for-addr",
    /// The new keys are not proved, or are somebody's already.
    NewKeys = 16 "new-keys",
}

/// An ack in the clear.
///
/// ```text
/// nonce 12 ‖ ChaCha20-Poly1305(k_ack, nonce, aad "SPA/1 ack"):
///   status u8 | reason u8 | ttl_s u16 | server_ms u64
///   | observed_ip 16 | observed_port u16 | reserved u16 = 0
///   and to a client that came by the server's previous key: pk_S 32 | k_hop 32
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The answer.
    pub status: Status,
    /// Reason of the status.
    pub reason: Reason,
    /// Granted: for how many seconds. Stale by the fence: in how many seconds a fresh knock can
    /// succeed.
    pub ttl_s: u16,
    /// The server's clock, unix milliseconds.
    pub server_ms: u64,
    /// The source that the server saw.
    pub observed: SocketAddr,
}

impl Ack {
    pub(crate) fn encode(&self) -> [u8; PLAIN_LEN] {
        let status: u8 = match self.status {
            Status::Granted => 0,
            Status::Denied => 1,
            Status::Stale => 2,
            Status::Busy => 3,
        };
        let mut out = [0; PLAIN_LEN];
        let ip = crate::sshsig::source_bytes(Some(self.observed.ip()));
        let fields = [status, self.reason as u8]
            .into_iter()
            .chain(self.ttl_s.to_be_bytes())
            .chain(self.server_ms.to_be_bytes())
            .chain(ip)
            .chain(self.observed.port().to_be_bytes());
        for (to, from) in out.iter_mut().zip(fields) {
            *to = from;
        }
        out
    }

    fn decode(plain: &[u8]) -> Option<Self> {
        let at = |from: usize, to: usize| plain.get(from..to);
        let status = match plain.first()? {
            0 => Status::Granted,
            1 => Status::Denied,
            2 => Status::Stale,
            3 => Status::Busy,
            _ => return None,
        };
        let ip = Ipv6Addr::from(to_array::<16>(at(12, 28)?));
        let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
        if at(30, 32)? != [0, 0] {
            return None;
        }
        Some(Self {
            status,
            reason: Reason::from_code(*plain.get(1)?)?,
            ttl_s: u16::from_be_bytes(to_array(at(2, 4)?)),
            server_ms: u64::from_be_bytes(to_array(at(4, 12)?)),
            observed: SocketAddr::new(ip, u16::from_be_bytes(to_array(at(28, 30)?))),
        })
    }
}

/// Seals with a given nonce; only vectors choose it.
pub(crate) fn seal_with(
    key: &Zeroizing<[u8; 32]>,
    nonce: [u8; NONCE_LEN],
    ack: &Ack,
) -> [u8; ACK_LEN] {
    seal_plain(key, nonce, ack.encode())
}

/// Seals an ack as [`seal_with`], with the server's present keys.
pub(crate) fn seal_keys_with(
    key: &Zeroizing<[u8; 32]>,
    nonce: [u8; NONCE_LEN],
    ack: &Ack,
    keys: &ServerKeys,
) -> [u8; ACK_KEYS_LEN] {
    let mut plain = Zeroizing::new([0; PLAIN_LEN + KEYS_LEN]);
    for (to, from) in plain.iter_mut().zip(ack.encode().iter().chain(keys.encode().iter())) {
        *to = *from;
    }
    seal_plain(key, nonce, *plain)
}

pub(crate) fn seal_plain<const P: usize, const N: usize>(
    key: &Zeroizing<[u8; 32]>,
    nonce: [u8; NONCE_LEN],
    mut plain: [u8; P],
) -> [u8; N] {
    const { assert!(N == NONCE_LEN + P + TAG_LEN) };
    let cipher = ChaCha20Poly1305::new(&(**key).into());
    let mut out = [0; N];
    // Only a plaintext above 256 GiB fails (RFC 8439 section 2.8).
    if let Ok(tag) =
        cipher.encrypt_inout_detached(&nonce.into(), labels::ACK, plain.as_mut_slice().into())
    {
        for (to, from) in out.iter_mut().zip(nonce.iter().chain(&plain).chain(tag.iter())) {
            *to = *from;
        }
    }
    out
}

pub(crate) fn seal_ack(key: &Zeroizing<[u8; 32]>, ack: &Ack) -> Result<[u8; ACK_LEN], RandomError> {
    Ok(seal_with(key, random()?, ack))
}

pub(crate) fn seal_keys(
    key: &Zeroizing<[u8; 32]>,
    ack: &Ack,
    keys: &ServerKeys,
) -> Result<[u8; ACK_KEYS_LEN], RandomError> {
    Ok(seal_keys_with(key, random()?, ack, keys))
}

/// An ack of either length.
pub(crate) fn open_ack(
    key: &Zeroizing<[u8; 32]>,
    bytes: &[u8],
) -> Option<(Ack, Option<ServerKeys>)> {
    if bytes.len() != ACK_LEN && bytes.len() != ACK_KEYS_LEN {
        return None;
    }
    let (nonce, rest) = bytes.split_first_chunk::<NONCE_LEN>()?;
    let (sealed, tag) = rest.split_last_chunk::<TAG_LEN>()?;
    let mut plain = Zeroizing::new(sealed.to_vec());
    ChaCha20Poly1305::new(&(**key).into())
        .decrypt_inout_detached(
            &(*nonce).into(),
            labels::ACK,
            plain.as_mut_slice().into(),
            &(*tag).into(),
        )
        .ok()?;
    let (ack, keys) = plain.split_first_chunk::<PLAIN_LEN>()?;
    let keys = if keys.is_empty() { None } else { Some(ServerKeys::decode(keys)?) };
    Some((Ack::decode(ack)?, keys))
}
