//! The tables of the database, read and written as one value.

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};

use super::{Snapshot, Used};

/// Everything that is one number.
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("spa numbers");
/// Session id to client's public key, `ts` and whether it was accepted.
const USED: TableDefinition<'_, &[u8; 16], (&[u8; 32], u64, bool)> =
    TableDefinition::new("spa used");
/// Client's public key to floor.
const FLOORS: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("spa floors");

/// Layout of the tables above.
const FORMAT: u64 = 1;

/// What the database says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// The mark.
    pub(super) mark: u64,
    /// The first grant number that is not reserved.
    pub(super) next_grant: u64,
    /// `None` while a server runs or after a crash.
    pub(super) snapshot: Option<Snapshot>,
}

/// Why it does not say so.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The system's doing: the file may be fine.
    Io(std::io::Error),
    /// Somebody has the file open.
    Busy,
    /// The file is damaged or not ours.
    Damaged(String),
}

pub(super) fn read(db: &Database) -> Result<Content, Trouble> {
    let txn = db.begin_read()?;
    let numbers = txn.open_table(NUMBERS)?;
    let number = |key: &str| -> Result<u64, Trouble> {
        let value =
            numbers.get(key)?.ok_or_else(|| Trouble::Damaged(format!("`{key}` is missing")))?;
        Ok(value.value())
    };
    match number("format")? {
        FORMAT => {}
        other => {
            return Err(Trouble::Damaged(format!(
                "its format is {other}, this server knows {FORMAT}"
            )));
        }
    }
    let snapshot = match number("running")? {
        1 => None,
        0 => {
            let mut snapshot = Snapshot { fence: number("fence")?, ..Snapshot::default() };
            for entry in txn.open_table(USED)?.iter()? {
                let (session, value) = entry?;
                let (client, ts, accepted) = value.value();
                snapshot.used.push(Used {
                    session: *session.value(),
                    client: *client,
                    ts,
                    accepted,
                });
            }
            for entry in txn.open_table(FLOORS)?.iter()? {
                let (client, ts) = entry?;
                snapshot.floors.push((*client.value(), ts.value()));
            }
            // A snapshot with something missing would let a used knock pass.
            if (snapshot.used.len() as u64, snapshot.floors.len() as u64)
                != (number("used")?, number("floors")?)
            {
                return Err(Trouble::Damaged("entries of the snapshot are missing".to_owned()));
            }
            Some(snapshot)
        }
        other => return Err(Trouble::Damaged(format!("`running` is {other}"))),
    };
    Ok(Content { mark: number("mark")?, next_grant: number("next-grant")?, snapshot })
}

/// Makes the database say `content`, durably.
pub(super) fn write(db: &Database, content: &Content) -> Result<(), Trouble> {
    // The file has two places for a commit and a byte that says which is the newer. Twice the same
    // commit: whatever becomes of that byte, no older state can come back.
    for _ in 0..2 {
        let mut txn = db.begin_write()?;
        txn.set_durability(Durability::Immediate)
            .map_err(|e| Trouble::Damaged(format!("the database refuses to be durable: {e}")))?;
        fill(&txn, content)?;
        txn.commit()?;
    }
    Ok(())
}

fn fill(txn: &WriteTransaction, content: &Content) -> Result<(), Trouble> {
    let mut numbers = txn.open_table(NUMBERS)?;
    let snapshot = content.snapshot.as_ref();
    for (key, value) in [
        ("format", FORMAT),
        ("running", u64::from(snapshot.is_none())),
        ("mark", content.mark),
        ("next-grant", content.next_grant),
        ("fence", snapshot.map_or(0, |s| s.fence)),
        ("used", snapshot.map_or(0, |s| s.used.len() as u64)),
        ("floors", snapshot.map_or(0, |s| s.floors.len() as u64)),
    ] {
        numbers.insert(key, value)?;
    }
    txn.delete_table(USED)?;
    txn.delete_table(FLOORS)?;
    if let Some(snapshot) = snapshot {
        let mut used = txn.open_table(USED)?;
        for one in &snapshot.used {
            used.insert(&one.session, (&one.client, one.ts, one.accepted))?;
        }
        let mut floors = txn.open_table(FLOORS)?;
        for (client, ts) in &snapshot.floors {
            floors.insert(client, ts)?;
        }
    }
    Ok(())
}

impl From<redb::StorageError> for Trouble {
    fn from(error: redb::StorageError) -> Self {
        use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match error {
            redb::StorageError::Io(e)
                if matches!(e.kind(), InvalidData | InvalidInput | UnexpectedEof) =>
            {
                Self::Damaged(e.to_string())
            }
            redb::StorageError::Io(e) => Self::Io(e),
            other @ (redb::StorageError::PreviousIo | redb::StorageError::DatabaseClosed) => {
                Self::Io(std::io::Error::other(other.to_string()))
            }
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<redb::DatabaseError> for Trouble {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::Storage(e) => e.into(),
            redb::DatabaseError::DatabaseAlreadyOpen
            | redb::DatabaseError::LockProtocolMismatch => Self::Busy,
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// The remaining errors of redb come down to its storage error or speak of damage.
macro_rules! trouble {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for Trouble {
            fn from(error: redb::$error) -> Self {
                match error {
                    redb::$error::Storage(e) => e.into(),
                    other => Self::Damaged(other.to_string()),
                }
            }
        })*
    };
}

trouble!(TransactionError, TableError, CommitError);
