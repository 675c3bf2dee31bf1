//! Changes to a client's folder that a person asked for, with the messages that go with them.

pub(crate) mod config_edit;
pub mod hosts;
pub(crate) mod make_key;
pub(crate) mod paste;
