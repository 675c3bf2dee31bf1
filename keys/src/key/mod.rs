//! Keys of clients and servers: their files, passphrases, and halves in an ssh-agent.

pub(crate) mod identity;
pub(crate) mod kernel_keyring;
pub mod key_file;
pub(crate) mod locked;
pub(crate) mod passphrase;
pub(crate) mod passphrase_box;
pub(crate) mod secret;
pub(crate) mod split_key;
