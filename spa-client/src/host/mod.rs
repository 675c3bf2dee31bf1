//! Hosts where this client is enrolled: their names, settings and keys, as the folder holds them.

pub(crate) mod find;
pub(crate) mod key;
pub(crate) mod settings;
pub(crate) mod ssh;
