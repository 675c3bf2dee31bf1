//! The tables of the database, read and written as one value.

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};

use super::{Snapshot, Used};

/// Everything that is one number.
const NUMBER_TABLE: TableDefinition<'_, &str, u64> = TableDefinition::new("spa numbers");
/// Session id to client's public key, `ts` and whether it was accepted.
const SESSION_TABLE: TableDefinition<'_, &[u8; 16], (&[u8; 32], u64, bool)> =
    TableDefinition::new("spa used");
/// Client's public key to floor.
const FLOOR_TABLE: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("spa floors");

/// Layout of the tables above.
const FORMAT_VERSION: u64 = 1;

/// Content of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoreContent {
    /// The mark.
    pub(super) mark: u64,
    /// The first grant number that is not reserved.
    pub(super) next_grant: u64,
    /// `None` while a server runs or after a crash.
    pub(super) snapshot: Option<Snapshot>,
}

/// Why it does not say so.
#[derive(Debug)]
pub(super) enum ContentError {
    /// The system's doing: the file may be fine.
    Io(std::io::Error),
    /// Somebody has the file open.
    Busy,
    /// The file is damaged or not ours.
    Damaged(String),
}

/// Reads everything in one transaction; fails when a part is missing or out of range.
pub(super) fn read_content(db: &Database) -> Result<StoreContent, ContentError> {
    let txn = db.begin_read()?;
    let numbers = txn.open_table(NUMBER_TABLE)?;
    let number = |key: &str| -> Result<u64, ContentError> {
        let value = numbers
            .get(key)?
            .ok_or_else(|| ContentError::Damaged(format!("`{key}` is missing")))?;
        Ok(value.value())
    };
    match number("format")? {
        FORMAT_VERSION => {}
        other => {
            return Err(ContentError::Damaged(format!(
                "its format is {other}, this server knows {FORMAT_VERSION}"
            )));
        }
    }
    let snapshot = match number("running")? {
        1 => None,
        0 => {
            let mut snapshot = Snapshot { fence: number("fence")?, ..Snapshot::default() };
            for entry in txn.open_table(SESSION_TABLE)?.iter()? {
                let (session, value) = entry?;
                let (client, ts, accepted) = value.value();
                snapshot.used.push(Used {
                    session: *session.value(),
                    client: *client,
                    ts,
                    accepted,
                });
            }
            for entry in txn.open_table(FLOOR_TABLE)?.iter()? {
                let (client, ts) = entry?;
                snapshot.floors.push((*client.value(), ts.value()));
            }
            // A snapshot with something missing would let a used knock pass.
            if (snapshot.used.len() as u64, snapshot.floors.len() as u64)
                != (number("used")?, number("floors")?)
            {
                return Err(ContentError::Damaged(
                    "entries of the snapshot are missing".to_owned(),
                ));
            }
            Some(snapshot)
        }
        other => return Err(ContentError::Damaged(format!("`running` is {other}"))),
    };
    Ok(StoreContent { mark: number("mark")?, next_grant: number("next-grant")?, snapshot })
}

/// Makes the database say `content`, durably.
pub(super) fn write_content(db: &Database, content: &StoreContent) -> Result<(), ContentError> {
    // The file has two places for a commit and a byte that says which is the newer. Twice the same
    // commit: whatever becomes of that byte, no older state can come back.
    for _ in 0..2 {
        let mut txn = db.begin_write()?;
        txn.set_durability(Durability::Immediate).map_err(|e| {
            ContentError::Damaged(format!("the database refuses to be durable: {e}"))
        })?;
        fill_tables(&txn, content)?;
        txn.commit()?;
    }
    Ok(())
}

fn fill_tables(txn: &WriteTransaction, content: &StoreContent) -> Result<(), ContentError> {
    let mut numbers = txn.open_table(NUMBER_TABLE)?;
    let snapshot = content.snapshot.as_ref();
    for (key, value) in [
        ("format", FORMAT_VERSION),
        ("running", u64::from(snapshot.is_none())),
        ("mark", content.mark),
        ("next-grant", content.next_grant),
        ("fence", snapshot.map_or(0, |s| s.fence)),
        ("used", snapshot.map_or(0, |s| s.used.len() as u64)),
        ("floors", snapshot.map_or(0, |s| s.floors.len() as u64)),
    ] {
        numbers.insert(key, value)?;
    }
    txn.delete_table(SESSION_TABLE)?;
    txn.delete_table(FLOOR_TABLE)?;
    if let Some(snapshot) = snapshot {
        let mut used = txn.open_table(SESSION_TABLE)?;
        for one in &snapshot.used {
            used.insert(&one.session, (&one.client, one.ts, one.accepted))?;
        }
        let mut floors = txn.open_table(FLOOR_TABLE)?;
        for (client, ts) in &snapshot.floors {
            floors.insert(client, ts)?;
        }
    }
    Ok(())
}

impl From<redb::StorageError> for ContentError {
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

impl From<redb::DatabaseError> for ContentError {
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
        $(impl From<redb::$error> for ContentError {
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
