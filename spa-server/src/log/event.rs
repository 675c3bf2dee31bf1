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
    pub(super) level: Level,
    pub(super) name: &'static str,
    pub(super) fields: Vec<(&'static str, FieldValue)>,
}
