//! The store's file: two slots that are written in turn, and a snapshot behind them.
//!
//! A write goes to the slot that is not the last good one, so a power failure in the middle of it
//! leaves what was durable before. When that is answered, the other slot gets the same: from then
//! on damage of either one brings no older state back.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use spa_keys::file;

use super::StoreSnapshot;
use super::content::{
    ReadSlot, SLOT_BYTES, Seal, Slot, StoreContent, decode_slot, decode_snapshot, encode_slot,
    encode_snapshot,
};

/// Where the snapshot begins.
const SNAPSHOT_AT: u64 = 2 * SLOT_BYTES as u64;

/// Why a file says nothing.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The system's doing: the file may be fine.
    Io(io::Error),
    /// It is damaged or not ours.
    Damaged(&'static str),
    /// A later version of the program has written it.
    Later,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// An open store file.
pub(super) struct SlotFile {
    file: File,
    identity: FileIdentity,
    /// Number of the last write that was tried. None is used twice, so equal ones mean the same.
    sequence: u64,
    /// The slot that certainly has the last content.
    good: Side,
    /// Content of the good slot, while the other one may have another.
    unsettled: Option<Vec<u8>>,
}

/// Device and inode.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileIdentity(u64, u64);

impl FileIdentity {
    fn of(meta: &Metadata) -> Self {
        Self(meta.dev(), meta.ino())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    First,
    Second,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    fn offset(self) -> u64 {
        match self {
            Self::First => 0,
            Self::Second => SLOT_BYTES as u64,
        }
    }
}

impl SlotFile {
    /// Opens a file and reads it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(super) fn open(path: &Path) -> Result<(Self, StoreContent), ReadError> {
        let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
        let file = match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(ReadError::Damaged("it is a link"));
            }
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                return Err(ReadError::Damaged("it is a socket"));
            }
            Err(error) if error.kind() == ErrorKind::IsADirectory => {
                return Err(ReadError::Damaged("it is a folder"));
            }
            Err(error) => return Err(error.into()),
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(ReadError::Damaged("it is not a regular file"));
        }
        let first = read_slot(&file, Side::First)?;
        let second = read_slot(&file, Side::Second)?;
        let (good, slot) = match (first, second) {
            // Also beside one of ours: an older word than that of the later version.
            (ReadSlot::Later, _) | (_, ReadSlot::Later) => return Err(ReadError::Later),
            (ReadSlot::Whole(first), ReadSlot::Whole(second))
                if second.sequence > first.sequence =>
            {
                (Side::Second, second)
            }
            (ReadSlot::Whole(first), _) => (Side::First, first),
            (ReadSlot::Damaged, ReadSlot::Whole(second)) => (Side::Second, second),
            (ReadSlot::Damaged, ReadSlot::Damaged) => {
                return Err(ReadError::Damaged("neither of its two slots is intact"));
            }
        };
        let snapshot = match slot.snapshot {
            // A damaged one is as none, which is a crash: the mark is good without it.
            Some(seal) => read_snapshot(&file, meta.len(), seal)?,
            None => None,
        };
        let identity = FileIdentity::of(&meta);
        let Slot { mark, next_grant, last_run, .. } = slot;
        let content = StoreContent { mark, next_grant, snapshot, last_run };
        Ok((Self { file, identity, sequence: slot.sequence, good, unsettled: None }, content))
    }

    /// Makes a file with both slots, durable but for its name.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn create(path: &Path, content: &StoreContent) -> io::Result<Self> {
        let file = file::create_private(path)?;
        let identity = FileIdentity::of(&file.metadata()?);
        let mut this = Self { file, identity, sequence: 0, good: Side::Second, unsettled: None };
        this.write(content)?;
        this.settle()?;
        Ok(this)
    }

    /// Tells whether this file is the one of that name.
    pub(super) fn is_at(&self, meta: &Metadata) -> bool {
        self.identity == FileIdentity::of(meta)
    }

    /// Makes the file say `content`: durable when it answers.
    ///
    /// # Errors
    /// The file says this or what it said before; it can be tried again.
    pub(super) fn write(&mut self, content: &StoreContent) -> io::Result<()> {
        let snapshot = content.snapshot.as_ref().map(|snapshot| self.write_snapshot(snapshot));
        self.sequence = self.sequence.saturating_add(1);
        let bytes = encode_slot(&Slot {
            sequence: self.sequence,
            mark: content.mark,
            next_grant: content.next_grant,
            last_run: content.last_run.clone(),
            snapshot: snapshot.transpose()?,
        })?;
        // After an error the same slot again, and all of it: the kernel reports a page that it
        // could not write once, and takes it for clean then.
        self.file.write_all_at(&bytes, self.good.other().offset())?;
        self.file.sync_data()?;
        self.good = self.good.other();
        self.unsettled = Some(bytes);
        Ok(())
    }

    /// Writes the other slot, too.
    ///
    /// # Errors
    /// It is of no use now; the next write begins with it.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if let Some(bytes) = &self.unsettled {
            self.file.write_all_at(bytes, self.good.other().offset())?;
            self.file.sync_data()?;
            self.unsettled = None;
        }
        Ok(())
    }

    /// Gives the room behind the slots back.
    pub(super) fn drop_snapshot(&self) -> io::Result<()> {
        self.file.set_len(SNAPSHOT_AT)
    }

    /// Writes a snapshot where no slot refers to yet.
    fn write_snapshot(&self, snapshot: &StoreSnapshot) -> io::Result<Seal> {
        let bytes = encode_snapshot(snapshot)?;
        self.file.write_all_at(&bytes, SNAPSHOT_AT)?;
        self.file.sync_data()?;
        Ok(Seal::of(&bytes))
    }
}

/// A slot as it is. One that the file is too short for is damaged.
fn read_slot(file: &File, side: Side) -> io::Result<ReadSlot> {
    let mut bytes = vec![0; SLOT_BYTES];
    match file.read_exact_at(&mut bytes, side.offset()) {
        Ok(()) => Ok(decode_slot(&bytes)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(ReadSlot::Damaged),
        Err(error) => Err(error),
    }
}

fn read_snapshot(file: &File, file_bytes: u64, seal: Seal) -> io::Result<Option<StoreSnapshot>> {
    let length = usize::try_from(seal.length).unwrap_or(usize::MAX);
    if seal.length > file_bytes.saturating_sub(SNAPSHOT_AT) {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    match file.read_exact_at(&mut bytes, SNAPSHOT_AT) {
        Ok(()) => Ok(decode_snapshot(&bytes, seal)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
