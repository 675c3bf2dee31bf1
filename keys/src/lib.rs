//! Key files, their text forms, and enrolment for SPA/1. The only crate that knows a key *file*.
//!
//! [`TextForm`] is the Bech32m form of every key, [`file`] the one place that opens and writes
//! secret files, [`key_file`] what stands in a key file, [`HostLine`] the line that enrols a client
//! at a server, [`Folder`] where the client's files lie.
#![forbid(unsafe_code)]

pub mod duration;
pub mod exit;
pub mod file;
pub mod hosts;
pub mod import;
pub mod key_file;

mod agent;
mod check;
mod config_edit;
mod enrol;
mod failure;
mod finding;
mod fingerprint;
mod folder;
mod harden;
mod host_codec;
mod identity;
mod invitation;
mod locked;
mod make_key;
mod name;
mod note;
mod passphrase;
mod paste;
mod printable;
mod remembered;
mod seen;
mod server_keys;
mod text;
mod unix_millis;

pub use agent::{AgentError, AgentKey};
pub use check::check;
pub use config_edit::{ConfigEdit, HostEntry, Setting};
pub use enrol::{
    HostError, HostLine, MAX_EXCLUDED, MAX_HOST, MAX_HOSTS, MAX_NAME, MAX_SERVICES, Sequence,
    Service, ServiceProto,
};
pub use failure::Failure;
pub use finding::{Colour, Finding, Layout, Place, Severity};
pub use fingerprint::Fingerprint;
pub use folder::{Folder, FolderError, check_host_name};
pub use harden::forbid_core_dumps;
pub use identity::{Identity, SplitKey};
pub use invitation::Invitation;
pub use locked::{Cost, LockError, LockedKey, MAX_PASSPHRASE};
pub use make_key::{find_agent_key, make_key, make_split_key};
pub use name::{
    ADMIN_OWNER, ClientName, MAX_CLIENT_NAME, MAX_SERVICE_NAME, NameError, ServiceName,
};
pub use note::write_note;
pub use passphrase::{PassphraseError, PassphraseSource};
pub use paste::pasted;
pub use printable::{Printable, printable};
pub use remembered::{RememberError, forget, remember, remembered};
pub use seen::Seen;
pub use server_keys::after_answer;
pub use text::{Kind, SecretText, TextError, TextForm, kind_of};
pub use unix_millis::UnixMillis;
