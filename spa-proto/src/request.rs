//! A client's request, and the requests that cannot be made.

use std::net::IpAddr;

use crate::body::Op;
use crate::ext::address_bytes;
use crate::host_addr::HostAddr;
use crate::kem::MIN_KEM_STAGES;
use crate::layout::{BODY_LEN, CLIENT_PACKET, MAX_PACKET, MAX_STAGES};
use crate::new_keys::NewKeys;
use crate::random::RandomError;
use crate::signing::SignError;

/// Request of the client, in the clear.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The service's number, see [`crate::service_id`].
    pub service: u16,
    /// Seconds; 0: the server's default.
    pub ttl_s: u16,
    /// Open, renew or close; ENROL and REKEY go by [`crate::Session::with_new_keys`].
    pub op: Op,
    /// Ask for an ack.
    pub want_ack: bool,
    /// The client's own public address, when it knows it: then the packets work from nowhere else.
    pub bind_src: Option<IpAddr>,
    /// Open, renew or close for this address instead of the one that the packets come from.
    pub for_addr: Option<IpAddr>,
    /// Close at whatever address; with service 0, every service.
    pub all: bool,
    /// The ports of the stages in order, 1 to 8.
    pub ports: &'a [u16],
    /// Bytes of padding in each stage packet beyond [`CLIENT_PACKET`], at most 944 each; shorter
    /// lists mean no more padding for the rest.
    pub padding: &'a [usize],
}

/// Reason why no session could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// 0 or more than 8 ports.
    #[error("a sequence has 1 to {MAX_STAGES} stages, not {0}")]
    Stages(usize),
    /// A packet would not fit.
    #[error("padding of {0} bytes makes a packet above {MAX_PACKET} bytes")]
    Padding(usize),
    /// Not an address of a single host, or in a request that opens and closes nothing.
    #[error("a request cannot be for the address {0}")]
    ForAddr(IpAddr),
    /// A close that names no address, or names one and means all.
    #[error("a close must say at which address, or at all of them")]
    Close,
    /// The op brings keys and there are none, or the other way round, or they are not what the op
    /// names.
    #[error("the new keys of the request are missing, not its own, or have no place in it")]
    NewKeys,
    /// An ML-KEM key without an answer that would carry the ciphertext, or in one stage.
    #[error("an ML-KEM key needs an answer, and two stages at least")]
    Kem,
    /// The server's public key is a small-order point.
    #[error("the server's public key is not usable: it is a small-order point")]
    ServerKey,
    /// The signer refused.
    #[error("no signature: {0}")]
    Signer(#[from] SignError),
}

impl Request<'_> {
    /// Length of a stage's datagram in bytes. Those that carry an ML-KEM key have all the same, the
    /// largest.
    pub(crate) fn packet_len(&self, stage: u8, kem: bool) -> usize {
        let padding = self.padding.get(usize::from(stage)).copied().unwrap_or(0);
        if kem { MAX_PACKET } else { CLIENT_PACKET + padding }
    }
}

/// Returns `w`: all of a request that is sealed, and the ports and lengths of its packets.
pub(crate) fn hedged_words(request: &Request<'_>, body: &[u8; BODY_LEN], kem: bool) -> Vec<u8> {
    let mut said = body.to_vec();
    let mut push_field = |bytes: &[u8]| {
        said.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        said.extend_from_slice(bytes);
    };
    for address in [request.bind_src, request.for_addr] {
        push_field(&address.map(address_bytes).map_or(Vec::new(), Vec::from));
    }
    push_field(&request.op.new_keys().map_or(Vec::new(), |new| new.to_bytes().to_vec()));
    for (stage, port) in (0u8..).zip(request.ports) {
        let length = request.packet_len(stage, kem) as u16;
        said.extend_from_slice(&port.to_be_bytes());
        said.extend_from_slice(&length.to_be_bytes());
    }
    said
}

/// Checks what can be wrong before anything is signed.
pub(crate) fn check_request(
    request: &Request<'_>,
    new: Option<&NewKeys<'_>>,
    kem: bool,
) -> Result<(), SessionError> {
    let stages = request.ports.len();
    if stages == 0 || stages > usize::from(MAX_STAGES) {
        return Err(SessionError::Stages(stages));
    }
    let too_much = |padding: &&usize| **padding > MAX_PACKET - CLIENT_PACKET;
    if let Some(padding) = request.padding.iter().take(stages).find(too_much) {
        return Err(SessionError::Padding(*padding));
    }
    let brings_keys = request.op.new_keys();
    for address in [request.bind_src, request.for_addr].into_iter().flatten() {
        if HostAddr::new(address).is_none() {
            return Err(SessionError::ForAddr(address.to_canonical()));
        }
    }
    if let Some(address) = request.for_addr.filter(|_| brings_keys.is_some()) {
        return Err(SessionError::ForAddr(address.to_canonical()));
    }
    let names_one = request.for_addr.is_some() || request.bind_src.is_some();
    let closes = request.op == Op::Close;
    if (closes && !request.all && !names_one)
        || (request.all && (!closes || request.for_addr.is_some()))
    {
        return Err(SessionError::Close);
    }
    let named = new.map(|new| new.public);
    let held = new.is_none_or(|new| {
        (new.secret.public().dh, new.signer.kind()) == (new.public.dh, new.public.kind)
            && new.public.is_canonical()
    });
    let plain = brings_keys.is_none() || (request.service, request.ttl_s) == (0, 0);
    if brings_keys != named || !held || !plain {
        return Err(SessionError::NewKeys);
    }
    let few = stages < usize::from(MIN_KEM_STAGES);
    if kem && (few || !request.want_ack) { Err(SessionError::Kem) } else { Ok(()) }
}
