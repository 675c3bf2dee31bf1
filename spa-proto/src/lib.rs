//! SPA/2, the wire protocol: pure functions of bytes, keys and time. No I/O, no clock, no log.
//!
//! `docs/protocol.md` is the specification; the modules follow its sections. A client makes a
//! [`Session`] and sends its packets; a server takes a packet through [`TagTable`], [`PairKeys`],
//! [`ServerSession`] in that order.
#![forbid(unsafe_code)]

mod ack;
mod body;
mod client;
mod confirm;
#[doc(hidden)]
pub mod danger;
mod evidence;
mod ext;
mod hash;
mod hop;
mod host_addr;
mod invitation;
mod kem;
mod keys;
mod labels;
mod layout;
mod new_keys;
mod pair;
mod random;
mod request;
mod seal;
mod server;
mod session_keys;
mod signing;
mod sshsig;
mod tag_table;

pub use ack::{Ack, Answer, Reason, ServerKeys, Status};
pub use body::{Body, BodyError, Flags, Op};
pub use client::{Session, SessionParts};
pub use confirm::Confirm;
pub use evidence::Evidence;
pub use hash::service_id;
pub use hop::{HopError, HopKey, HopPlan};
pub use host_addr::HostAddr;
pub use invitation::InvitationSecret;
pub use kem::{KemCiphertext, KemFragment, KemPublic, KemRandom};
pub use keys::{ClientPublic, ClientSecret, HedgeKey, Psk, ServerPublic, ServerSecret};
pub use layout::{
    ACK_KEYS_LEN, ACK_LEN, CLIENT_PACKET, EPOCH_MS, HOP_EPOCH_MS, MAX_CONFIRMS, MAX_PACKET,
    MAX_STAGES, MIN_PACKET, epoch_of,
};
pub use new_keys::{NewKeys, NewKeysError, Successor};
pub use pair::{Context, PairKeys, PairSecret, TagKey};
pub use random::{RandomError, random};
pub use request::{Request, SessionError};
pub use server::{OpenError, SealedBody, ServerSession, SessionId};
pub use signing::{KeyKind, SignError, Signature, Signer, Touch};
pub use tag_table::{Hit, TagTable, TagTableBuilder};
