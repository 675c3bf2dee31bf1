//! Key files, their text forms, and enrolment for SPA/1. The only crate that knows a key *file*.
//!
//! [`TextForm`] is the Bech32m form of every key, [`file`] the one place that opens and writes
//! secret files, [`key_file`] what stands in a key file, [`HostLine`] the line that enrols a client
//! at a server, [`Folder`] where the client's files lie.
#![forbid(unsafe_code)]

pub mod exit;
pub mod file;
pub mod import;

mod agent;
mod check;
mod edit;
mod enrolment;
mod failure;
mod finding;
mod harden;
mod key;
mod remedy;
mod store;
mod text;

pub use agent::{AgentError, AgentKey};
pub use check::check;
pub use edit::config_edit::{ConfigEdit, HostEntry, Setting};
pub use edit::hosts;
pub use edit::make_key::{find_agent_key, make_key, make_split_key};
pub use edit::paste::{pasted, read_argument};
pub use enrolment::host_line::{
    HostError, HostLine, MAX_EXCLUDED, MAX_HOST, MAX_HOSTS, MAX_NAME, MAX_SERVICES, Sequence,
    Service, ServiceProto,
};
pub use enrolment::invitation::Invitation;
pub use failure::Failure;
pub use finding::{Colour, Finding, Layout, Place, Severity};
pub use harden::{forbid_core_dumps, outlive_file_limits};
pub use key::identity::Identity;
pub use key::kernel_keyring::{
    KeyringError, find_passphrase, forget_passphrase, remember_passphrase,
};
pub use key::key_file;
pub use key::locked::{Cost, LockError, LockedKey, MAX_PASSPHRASE};
pub use key::passphrase::{PassphraseError, PassphraseSource};
pub use key::passphrase_box::{open_text, seal_text};
pub use key::split_key::SplitKey;
pub use store::folder::{Folder, FolderError, UnknownHost, check_host_name};
pub use store::last_answer::LastAnswer;
pub use store::server_keys::after_answer;
pub use store::settings::{SettingError, check_address, check_settings};
pub use text::{
    ADMIN_OWNER, ClientName, Fingerprint, Kind, MAX_CLIENT_NAME, MAX_SERVICE_NAME, NameError,
    Printable, SecretText, ServiceName, TextError, TextForm, UnixMillis, acts_on_terminal,
    did_you_mean, duration, escape_controls, exit_with_usage, find_secret, kind_of, mask_secrets,
    printable, shorten, whole_millis, write_note,
};
