//! Hosts where this client is enrolled: their names, settings and keys, as the folder holds them.

mod find;
mod key;
mod settings;
mod ssh;

pub(crate) use find::{FoundHost, find_host};
pub(crate) use key::{
    check_enrolled, find_identity, read_key, read_passphrase_fd, read_public_key, read_unlocked_key,
};
pub(crate) use settings::{BindSrc, Config, HostSettings};
pub(crate) use ssh::{proxy_command_of, ssh_config_file};
