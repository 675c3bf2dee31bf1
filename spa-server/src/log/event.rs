//! One event on its way to the log.

use std::fmt::Display;

use super::{Level, Logger};

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FieldValue {
    /// A text; control characters are escaped when it is written.
    Text(String),
    /// A number, bare in JSON.
    Number(i64),
}

/// An event that collects its fields. Nothing is written before [`Event::emit`].
#[must_use = "an event is written by emit()"]
pub struct Event<'l> {
    /// `None` when the level is not logged: fields are not even formatted then.
    pub(super) logger: Option<&'l Logger>,
    pub(super) level: Level,
    pub(super) name: &'static str,
    pub(super) fields: Vec<(&'static str, FieldValue)>,
}

impl Event<'_> {
    /// Adds a text, or anything that can be shown. Keys are `[a-z0-9-]`, written once per event.
    pub fn with(mut self, key: &'static str, value: impl Display) -> Self {
        if self.logger.is_some() {
            self.fields.push((key, FieldValue::Text(value.to_string())));
        }
        self
    }

    /// Adds a number.
    pub fn number(mut self, key: &'static str, value: impl TryInto<i64>) -> Self {
        if self.logger.is_some() {
            self.fields.push((key, FieldValue::Number(value.try_into().unwrap_or(i64::MAX))));
        }
        self
    }

    /// Adds a text if there is one.
    pub fn maybe(self, key: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Writes the event. A log that cannot be written stops nothing.
    pub fn emit(self) {
        if let Some(logger) = self.logger {
            logger.write_event(&self);
        }
    }
}
