//! Faults of redb, which the audit record is kept in: as errors, and caught where it panics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why the database does not say what it was asked.
#[derive(Debug)]
pub(super) enum DatabaseFault {
    /// The system's doing: the file may be fine.
    Io(std::io::Error),
    /// Somebody has the file open.
    Busy,
    /// The file is damaged or not ours.
    Damaged(String),
}

/// Runs something of redb, which may panic on a damaged file.
pub(super) fn catch_panic<T>(
    work: impl FnOnce() -> Result<T, DatabaseFault>,
) -> Result<T, DatabaseFault> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(DatabaseFault::Damaged(panic_text(panic.as_ref()))))
}

/// Drops a database that may be damaged, whatever redb does then.
pub(super) fn close_quietly<T>(open: Option<T>) {
    // Dropping writes redb's own bookkeeping, on which nothing of ours depends.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(open)));
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the database has failed").to_owned()
}

impl From<redb::StorageError> for DatabaseFault {
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

impl From<redb::DatabaseError> for DatabaseFault {
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
        $(impl From<redb::$error> for DatabaseFault {
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
