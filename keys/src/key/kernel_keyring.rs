//! Passphrases that the kernel remembers for a while, as an ssh-agent would keys: in the user's
//! keyring (keyrings(7)), never on a disk, gone when their time is over.
//!
//! Not a desktop's Secret Service: it needs a session bus and a daemon, which the machines that one
//! knocks from often do not have, and it keeps passphrases on the disk under the login's password.

use ring::digest::{SHA256, digest};

use crate::key::locked::LockedKey;
use crate::text::SecretText;

/// Reason why the kernel remembers nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's keyring: {0}; without it, the passphrase is asked each time")]
pub struct KeyringError(String);

/// Returns the name in the keyring: a hash of the locked form, so that another passphrase is
/// another name.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
fn entry_name(locked: &LockedKey) -> String {
    let hash = digest(&SHA256, locked.to_text().expose().as_bytes());
    hash.as_ref()
        .iter()
        .take(16)
        .fold("spa:passphrase:".to_owned(), |name, byte| name + &format!("{byte:02x}"))
}

#[cfg(target_os = "linux")]
mod kernel {
    use linux_keyutils::{Key, KeyError, KeyPermissions, KeyRing, KeyRingIdentifier};
    use zeroize::Zeroizing;

    use super::{KeyringError, LockedKey, SecretText, entry_name};

    /// Permissions of the entry: all for its possessor and for the user, none for group and others.
    /// The user needs them because not every login links the user's keyring to the session's, and
    /// a process that does not possess a key counts as the user.
    const ENTRY_PERMISSIONS: u32 = 0x3f3f_0000;

    fn keyring_error(error: KeyError) -> KeyringError {
        KeyringError(error.to_string())
    }

    fn find_entry(locked: &LockedKey) -> Option<Key> {
        let ring = KeyRing::from_special_id(KeyRingIdentifier::User, false).ok()?;
        ring.search(&entry_name(locked)).ok()
    }

    /// Has the kernel remember a passphrase for some seconds. The caller has tried it.
    ///
    /// # Errors
    /// When there is no keyring, or it is full.
    pub fn remember_passphrase(
        locked: &LockedKey,
        passphrase: &SecretText,
        seconds: u32,
    ) -> Result<(), KeyringError> {
        let ring =
            KeyRing::from_special_id(KeyRingIdentifier::User, false).map_err(keyring_error)?;
        let key = ring.add_key(&entry_name(locked), passphrase.expose()).map_err(keyring_error)?;
        let limited = usize::try_from(seconds).unwrap_or(usize::MAX).max(1);
        let set = key
            .set_timeout(limited)
            .and_then(|()| key.set_perms(KeyPermissions::from_u32(ENTRY_PERMISSIONS)));
        // One that nothing ends must not stay.
        set.map_err(|error| {
            let _ = key.invalidate();
            keyring_error(error)
        })
    }

    /// Returns the passphrase, if it is remembered.
    #[must_use]
    pub fn find_passphrase(locked: &LockedKey) -> Option<SecretText> {
        let bytes = Zeroizing::new(find_entry(locked)?.read_to_vec().ok()?);
        std::str::from_utf8(&bytes).ok().map(|text| SecretText::new(text.to_owned()))
    }

    /// Forgets the passphrase. Returns whether it was remembered.
    pub fn forget_passphrase(locked: &LockedKey) -> bool {
        find_entry(locked).is_some_and(|key| key.invalidate().is_ok())
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use super::{KeyringError, LockedKey, SecretText};

    /// Fails: there is no such keyring on this system.
    ///
    /// # Errors
    /// Always.
    pub fn remember_passphrase(_: &LockedKey, _: &SecretText, _: u32) -> Result<(), KeyringError> {
        Err(KeyringError("this system has none".to_owned()))
    }

    /// Returns nothing: there is no such keyring on this system.
    #[must_use]
    pub fn find_passphrase(_: &LockedKey) -> Option<SecretText> {
        None
    }

    /// Returns `false`: nothing was remembered.
    pub fn forget_passphrase(_: &LockedKey) -> bool {
        false
    }
}

pub use kernel::{find_passphrase, forget_passphrase, remember_passphrase};
