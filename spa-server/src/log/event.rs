//! Data of one event.

use super::Level;

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FieldValue {
    /// A text; control characters are escaped when it is written.
    Text(String),
    /// A number, bare in JSON.
    Number(i64),
}

/// Level, name and fields of an event.
pub(super) struct Record {
    /// Importance; events below the level of the log are not written.
    pub(super) level: Level,
    /// Name of the event, `[a-z0-9-]+`, a part of the interface of the log.
    pub(super) name: &'static str,
    /// Keys and values, in the order in which they are written.
    pub(super) fields: Vec<(&'static str, FieldValue)>,
}
