//! The tables of the database, read and written as one value.

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction,
};

use super::{RunIdentity, Snapshot, Used};

/// Everything that is one number.
const NUMBER_TABLE: TableDefinition<'_, &str, u64> = TableDefinition::new("spa numbers");
/// Session id to client's public key, `ts` and whether it was accepted.
const SESSION_TABLE: TableDefinition<'_, &[u8; 16], (&[u8; 32], u64, bool)> =
    TableDefinition::new("spa used");
/// Client's public key to floor.
/// The last run: its numbers, ids and keys.
const RUN_TABLE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("spa run");
const FLOOR_TABLE: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("spa floors");

/// Layout of the tables above.
const FORMAT_VERSION: u64 = 2;

/// Content of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoreContent {
    /// The mark.
    pub(super) mark: u64,
    /// The first grant number that is not reserved.
    pub(super) next_grant: u64,
    /// `None` while a server runs or after a crash.
    pub(super) snapshot: Option<Snapshot>,
    /// The run that goes on, or the last one; `None` before the first.
    pub(super) last_run: Option<RunIdentity>,
}

impl StoreContent {
    /// A store that no run has used.
    pub(super) fn empty() -> Self {
        Self { mark: 0, next_grant: 1, snapshot: None, last_run: None }
    }

    /// The same after a clean stop.
    pub(super) fn stopped(&self, snapshot: &Snapshot) -> Self {
        let mut content = Self { snapshot: Some(snapshot.clone()), ..self.clone() };
        if let Some(run) = &mut content.last_run {
            run.reach = snapshot.next_reach;
            run.server = snapshot.server;
        }
        content
    }
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
            let mut snapshot = Snapshot {
                unknown_mark: number("unknown-mark")?,
                unknown_since: number("unknown-since")?,
                unknown_reach: number("unknown-reach")?,
                stopped: number("stopped")?,
                next_reach: number("reach")?,
                ..Snapshot::default()
            };
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
    let last_run = match number("run")? {
        0 => None,
        1 => Some(read_run(&txn.open_table(RUN_TABLE)?, number("reach")?)?),
        other => return Err(ContentError::Damaged(format!("`run` is {other}"))),
    };
    let snapshot = snapshot.map(|mut snapshot| {
        snapshot.server = last_run.as_ref().map_or([0; 32], |run: &RunIdentity| run.server);
        snapshot
    });
    let (mark, next_grant) = (number("mark")?, number("next-grant")?);
    Ok(StoreContent { mark, next_grant, snapshot, last_run })
}

fn read_run(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    reach: u64,
) -> Result<RunIdentity, ContentError> {
    let bytes = |key: &str| -> Result<Vec<u8>, ContentError> {
        let value =
            table.get(key)?.ok_or_else(|| ContentError::Damaged(format!("`{key}` is missing")))?;
        Ok(value.value().to_vec())
    };
    let damaged = |key: &str| ContentError::Damaged(format!("`{key}` is no id"));
    let text = |key: &str| String::from_utf8(bytes(key)?).map_err(|_| damaged(key));
    Ok(RunIdentity {
        run: bytes("run")?.try_into().map_err(|_| damaged("run"))?,
        boot: text("boot")?,
        machine: text("machine")?,
        server: bytes("server")?.try_into().map_err(|_| damaged("server"))?,
        reach,
    })
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
        ("unknown-mark", snapshot.map_or(0, |s| s.unknown_mark)),
        ("unknown-since", snapshot.map_or(0, |s| s.unknown_since)),
        ("unknown-reach", snapshot.map_or(0, |s| s.unknown_reach)),
        ("stopped", snapshot.map_or(0, |s| s.stopped)),
        ("run", u64::from(content.last_run.is_some())),
        ("reach", content.last_run.as_ref().map_or(0, |run| run.reach)),
        ("used", snapshot.map_or(0, |s| s.used.len() as u64)),
        ("floors", snapshot.map_or(0, |s| s.floors.len() as u64)),
    ] {
        numbers.insert(key, value)?;
    }
    if let Some(run) = &content.last_run {
        let mut table = txn.open_table(RUN_TABLE)?;
        for (key, value) in [
            ("run", run.run.as_slice()),
            ("boot", run.boot.as_bytes()),
            ("machine", run.machine.as_bytes()),
            ("server", run.server.as_slice()),
        ] {
            table.insert(key, value)?;
        }
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
