//! The answer to a completely verified session or to its CONFIRM: 60 bytes, and what its flags
//! name: the present keys of a server to a client that came by its previous one, the ciphertext
//! that makes a psk.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use zeroize::Zeroizing;

use crate::ext::address_bytes;
use crate::hash::to_array;
use crate::hop::HopKey;
use crate::kem::{KEM_CIPHERTEXT_LEN, KemCiphertext};
use crate::keys::ServerPublic;
use crate::labels;
use crate::layout::{ACK_KEYS_LEN, ACK_LEN, MAX_CONFIRMS};
use crate::seal::SealKey;

const PLAIN_LEN: usize = 32;
/// Flag: a provisional grant, which a CONFIRM keeps.
const PROVISIONAL_GRANT: u8 = 1;
/// Flag: the server's present keys follow.
const KEYS_FOLLOW: u8 = 1 << 1;
/// Flag: the ciphertext that makes a new psk follows.
const CIPHERTEXT_FOLLOWS: u8 = 1 << 2;
/// Flag: the pair is of age, and the client should REKEY.
const REKEY_WANTED: u8 = 1 << 3;
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
    /// Encodes `pk_S` and `k_hop`, 32 bytes each; without hopping the second half is zero.
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
    /// The client's rotation policy forbids keys of this kind in the place of its present ones.
    Kind = 17 "kind",
}

/// An answer in the clear.
///
/// ```text
/// seal(k_ack, "SPA/2 ack",
///   status u8 | reason u8 | ttl_s u16 | server_ms u64
///   | observed_ip 16 | observed_port u16 | number u8 | flags u8
///   and to a client that came by the server's previous key: pk_S 32 | k_hop 32)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The answer.
    pub status: Status,
    /// Reason of the status; [`Reason::None`] when granted, and only then.
    pub reason: Reason,
    /// Granted: for how many seconds; provisional: for how many once it is confirmed. Stale by
    /// fence or floor: in how many seconds a fresh knock can succeed.
    pub ttl_s: u16,
    /// The server's clock, unix milliseconds.
    pub server_ms: u64,
    /// The source that the server saw.
    pub observed: SocketAddr,
    /// Number of the CONFIRM that this answers; 0: it answers the knock.
    pub number: u8,
    /// Granted for a moment only: a CONFIRM is wanted.
    pub provisional: bool,
    /// The client should take new keys.
    pub rekey_wanted: bool,
}

/// All that a datagram with an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The answer itself.
    pub ack: Ack,
    /// The server's present keys, when the session came by its previous one.
    pub keys: Option<ServerKeys>,
    /// `ct`, of a granted ENROL or REKEY with an ML-KEM key.
    pub ciphertext: Option<KemCiphertext>,
}

/// Parts that stand behind an answer's 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct AckParts {
    /// The keys that the server has now (64 bytes).
    pub(crate) keys: bool,
    /// The ML-KEM ciphertext that makes a new psk.
    pub(crate) ciphertext: bool,
}

impl AckParts {
    /// Bytes of the datagram.
    const fn answer_len(self) -> usize {
        (if self.keys { ACK_KEYS_LEN } else { ACK_LEN })
            + if self.ciphertext { KEM_CIPHERTEXT_LEN } else { 0 }
    }
}

impl Ack {
    /// Encodes the plaintext of an answer; the parts only set its flags.
    pub(crate) fn encode(&self, parts: AckParts) -> [u8; PLAIN_LEN] {
        let status: u8 = match self.status {
            Status::Granted => 0,
            Status::Denied => 1,
            Status::Stale => 2,
            Status::Busy => 3,
        };
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = bit(self.provisional, PROVISIONAL_GRANT)
            | bit(parts.keys, KEYS_FOLLOW)
            | bit(parts.ciphertext, CIPHERTEXT_FOLLOWS)
            | bit(self.rekey_wanted, REKEY_WANTED);
        let mut out = [0; PLAIN_LEN];
        let fields = [status, self.reason as u8]
            .into_iter()
            .chain(self.ttl_s.to_be_bytes())
            .chain(self.server_ms.to_be_bytes())
            .chain(address_bytes(self.observed.ip()))
            .chain(self.observed.port().to_be_bytes())
            .chain([self.number, flags]);
        for (to, from) in out.iter_mut().zip(fields) {
            *to = from;
        }
        out
    }

    /// Reads the 32 bytes, and what follows. Flag bits 4 to 7 are ignored.
    fn decode(plain: &[u8; PLAIN_LEN]) -> Option<(Self, AckParts)> {
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
        let [.., number, flags] = *plain;
        let has = |bit: u8| flags & bit != 0;
        let ack = Self {
            status,
            reason: Reason::from_code(*plain.get(1)?)?,
            ttl_s: u16::from_be_bytes(to_array(at(2, 4)?)),
            server_ms: u64::from_be_bytes(to_array(at(4, 12)?)),
            observed: SocketAddr::new(ip, u16::from_be_bytes(to_array(at(28, 30)?))),
            number,
            provisional: has(PROVISIONAL_GRANT),
            rekey_wanted: has(REKEY_WANTED),
        };
        // A refusal's reason in a grant would be shown as if it were one.
        let consistent = (ack.reason == Reason::None) == (status == Status::Granted)
            && (status == Status::Granted || !ack.provisional)
            && number <= MAX_CONFIRMS;
        consistent.then_some((
            ack,
            AckParts { keys: has(KEYS_FOLLOW), ciphertext: has(CIPHERTEXT_FOLLOWS) },
        ))
    }
}

/// Seals an answer with all that it says.
pub(crate) fn seal_answer(
    key: &SealKey,
    ack: &Ack,
    keys: Option<&ServerKeys>,
    ciphertext: Option<&KemCiphertext>,
) -> Vec<u8> {
    let parts = AckParts { keys: keys.is_some(), ciphertext: ciphertext.is_some() };
    let mut plain = Zeroizing::new(Vec::with_capacity(parts.answer_len()));
    plain.extend_from_slice(&ack.encode(parts));
    if let Some(keys) = keys {
        plain.extend_from_slice(keys.encode().as_slice());
    }
    if let Some(ciphertext) = ciphertext {
        plain.extend_from_slice(ciphertext.bytes());
    }
    key.seal(labels::ACK_KEY, plain)
}

/// Opens an answer of any length.
pub(crate) fn open_answer(key: &SealKey, bytes: &[u8]) -> Option<Answer> {
    let possible = [false, true].into_iter().any(|ciphertext| {
        [false, true]
            .into_iter()
            .any(|keys| AckParts { keys, ciphertext }.answer_len() == bytes.len())
    });
    if !possible {
        return None;
    }
    let plain = key.open(labels::ACK_KEY, bytes)?;
    let (ack, rest) = plain.split_first_chunk::<PLAIN_LEN>()?;
    let (ack, parts) = Ack::decode(ack)?;
    if parts.answer_len() != bytes.len() {
        return None;
    }
    let (keys, ciphertext) = rest.split_at_checked(if parts.keys { KEYS_LEN } else { 0 })?;
    let keys = if parts.keys { Some(ServerKeys::decode(keys)?) } else { None };
    let ciphertext =
        if parts.ciphertext { Some(KemCiphertext::from_bytes(ciphertext)?) } else { None };
    Some(Answer { ack, keys, ciphertext })
}
