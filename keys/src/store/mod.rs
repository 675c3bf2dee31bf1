//! The folder where a client keeps its key, its hosts and what they last answered.

pub(crate) mod folder;
pub(crate) mod last_answer;
pub(crate) mod server_keys;
pub(crate) mod settings;
