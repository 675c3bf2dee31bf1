//! Values that settings of a host in `config.toml` may have; the same for whoever reads or writes
//! them.

use std::path::Path;

use super::folder::check_host_name;
use crate::enrolment::host_line::{MAX_HOSTS, host_is_plain};
use crate::text::printable;

/// Longest path of a key file, in bytes (PATH_MAX).
const MAX_PATH_BYTES: usize = 4096;
/// Most aliases of a host.
const MAX_ALIASES: usize = 64;
/// Most characters of a wrong value in a message.
const MAX_SHOWN: usize = 60;

/// Reason why a setting is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// No host has such a name or address.
    #[error(
        "`{}` is not a host: write a name or an address, without a port", shown(.0)
    )]
    Address(String),
    /// Not a name that a command line can have.
    #[error(
        "`{}` is not a name for a host: write letters, digits and `.`, `-`, `_`, beginning with a \
        letter or digit", shown(.0)
    )]
    Alias(String),
    /// More than anybody needs.
    #[error("{count} {what} are too many: {most} at most")]
    TooMany {
        /// Values that there are.
        count: usize,
        /// Values that can be.
        most: usize,
        /// Name of the setting.
        what: &'static str,
    },
    /// Not a path.
    #[error("identity is not the path of a key file")]
    Identity,
}

fn shown(text: &str) -> String {
    let begin: String = text.chars().take(MAX_SHOWN).collect();
    let more = if begin.len() < text.len() { "…" } else { "" };
    format!("{}{more}", printable(&begin))
}

/// Checks a name or address to knock at.
///
/// # Errors
/// [`SettingError::Address`].
pub fn check_address(text: &str) -> Result<(), SettingError> {
    if host_is_plain(text) { Ok(()) } else { Err(SettingError::Address(text.to_owned())) }
}

/// Checks the settings of a host, as far as their types do not.
///
/// # Errors
/// [`SettingError`], the first one.
pub fn check_settings(
    addresses: &[String],
    aliases: &[String],
    identity: Option<&Path>,
) -> Result<(), SettingError> {
    let lists = [("addresses", addresses, MAX_HOSTS), ("aliases", aliases, MAX_ALIASES)];
    for (what, list, most) in lists {
        if list.len() > most {
            return Err(SettingError::TooMany { count: list.len(), most, what });
        }
    }
    addresses.iter().try_for_each(|address| check_address(address))?;
    for alias in aliases {
        check_host_name(alias).map_err(|_| SettingError::Alias(alias.clone()))?;
    }
    let path = identity.map(|path| path.as_os_str().as_encoded_bytes());
    if path.is_some_and(|path| path.is_empty() || path.len() > MAX_PATH_BYTES || path.contains(&0))
    {
        return Err(SettingError::Identity);
    }
    Ok(())
}
