//! The store's content, and the bytes of a slot and of a snapshot.
//!
//! ```text
//! slot      hash 32 ‖ "SPASTOR" ‖ layout "1" ‖ sequence u64 ‖ mark u64
//!           ‖ next grant u64 ‖ last run ‖ seal ‖ zeros
//! last run  0, or 1 ‖ run 16 ‖ boot text ‖ machine text ‖ server 32 ‖ reach u64
//! seal      0, or 1 ‖ length u64 ‖ hash 32        of the snapshot behind the slots
//! ```
//! Numbers are big-endian; a text is its length, u64, and its bytes. A slot's hash is SHA-256 over
//! everything behind it.

use std::io;

use bincode::config::{BigEndian, Configuration, Fixint, Limit};
use bincode::{Decode, Encode};
use ring::digest::{SHA256, digest};

use super::{RunIdentity, StoreSnapshot};

/// Bytes of a slot: one page of any usual disk and file system.
pub(super) const SLOT_BYTES: usize = 4096;
const HASH_BYTES: usize = 32;
/// Begins each slot, ahead of the version of the layout.
const FILE_MAGIC: &[u8; 7] = b"SPASTOR";
/// The layout of this program, and of every one so far.
const LAYOUT: u8 = b'1';
/// Most bytes that are believed to be one value: a snapshot with the floors of 4 million clients.
const MAX_DECODED: usize = 256 << 20;

type Codec = Configuration<BigEndian, Fixint, Limit<MAX_DECODED>>;

fn codec() -> Codec {
    bincode::config::standard().with_big_endian().with_fixed_int_encoding().with_limit()
}

/// Everything that the store says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoreContent {
    /// The mark.
    pub(super) mark: u64,
    /// The first grant number that is not reserved.
    pub(super) next_grant: u64,
    /// `None` while a server runs or after a crash.
    pub(super) snapshot: Option<StoreSnapshot>,
    /// The run that goes on, or the last one, or what stands for it beside a new key.
    pub(super) last_run: Option<RunIdentity>,
}

impl StoreContent {
    /// A store that says nothing.
    pub(super) fn empty() -> Self {
        Self { mark: 0, next_grant: 1, snapshot: None, last_run: None }
    }

    /// Returns true when no server has used the store of which this is the content.
    pub(super) fn is_of_no_run(&self) -> bool {
        self.last_run.as_ref().is_some_and(RunIdentity::is_before_the_first)
    }

    /// The same after a clean stop.
    pub(super) fn stopped(&self, snapshot: &StoreSnapshot) -> Self {
        let mut content = Self { snapshot: Some(snapshot.clone()), ..self.clone() };
        if let Some(run) = &mut content.last_run {
            run.reach = snapshot.next_reach;
            run.server = snapshot.server;
        }
        content
    }
}

/// Content of a slot.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Slot {
    /// The higher one of two slots is the newer.
    pub(super) sequence: u64,
    /// The durable fence, unix ms.
    pub(super) mark: u64,
    /// Number of the next grant.
    pub(super) next_grant: u64,
    /// The run that wrote it.
    pub(super) last_run: Option<RunIdentity>,
    /// Seal of the snapshot behind the slots, after a clean stop.
    pub(super) snapshot: Option<Seal>,
}

/// Length and hash of a snapshot: whatever else stands in its place is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Seal {
    /// Bytes of the snapshot.
    pub(super) length: u64,
    hash: [u8; HASH_BYTES],
}

impl Seal {
    /// Seals the bytes of a snapshot.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { length: bytes.len() as u64, hash: sha256(bytes) }
    }
}

fn sha256(bytes: &[u8]) -> [u8; HASH_BYTES] {
    let mut out = [0; HASH_BYTES];
    out.iter_mut().zip(digest(&SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// Writes a slot.
///
/// # Errors
/// It does not fit.
pub(super) fn encode_slot(slot: &Slot) -> io::Result<Vec<u8>> {
    let mut body = FILE_MAGIC.to_vec();
    body.push(LAYOUT);
    body.extend(bincode::encode_to_vec(slot, codec()).map_err(io::Error::other)?);
    if body.len() > SLOT_BYTES - HASH_BYTES {
        return Err(io::Error::other("the ids of boot and machine are too long"));
    }
    body.resize(SLOT_BYTES - HASH_BYTES, 0);
    let mut bytes = sha256(&body).to_vec();
    bytes.append(&mut body);
    Ok(bytes)
}

/// Bytes of a slot, as they are understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadSlot {
    /// As it was written.
    Whole(Slot),
    /// As a later version of the program has written it.
    Later,
    /// Torn, damaged, or not ours.
    Damaged,
}

/// Reads a slot.
pub(super) fn decode_slot(bytes: &[u8]) -> ReadSlot {
    match read_layout(bytes) {
        Some((LAYOUT, body)) => bincode::decode_from_slice(body, codec())
            .map_or(ReadSlot::Damaged, |(slot, _)| ReadSlot::Whole(slot)),
        Some((layout, _)) if layout > LAYOUT => ReadSlot::Later,
        _ => ReadSlot::Damaged,
    }
}

/// Layout of a slot whose hash is right, and what follows.
fn read_layout(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (hash, body) = bytes.split_first_chunk::<HASH_BYTES>()?;
    if bytes.len() != SLOT_BYTES || *hash != sha256(body) {
        return None;
    }
    body.strip_prefix(FILE_MAGIC)?.split_first().map(|(layout, body)| (*layout, body))
}

/// Writes a snapshot.
///
/// # Errors
/// It does not fit.
pub(super) fn encode_snapshot(snapshot: &StoreSnapshot) -> io::Result<Vec<u8>> {
    let bytes = bincode::encode_to_vec(snapshot, codec()).map_err(io::Error::other)?;
    // What the next start would not read must not be written.
    if bytes.len() > MAX_DECODED {
        return Err(io::Error::other("too many clients have knocked for one snapshot"));
    }
    Ok(bytes)
}

/// Reads a snapshot; `None` when it is not the sealed one.
pub(super) fn decode_snapshot(bytes: &[u8], seal: Seal) -> Option<StoreSnapshot> {
    if Seal::of(bytes) != seal {
        return None;
    }
    Some(bincode::decode_from_slice(bytes, codec()).ok()?.0)
}
