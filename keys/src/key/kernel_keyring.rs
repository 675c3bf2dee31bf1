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
pub struct RememberError(String);

/// Returns the name in the keyring: a hash of the locked form, so that another passphrase is
/// another name.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
fn name(locked: &LockedKey) -> String {
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

    use super::{LockedKey, RememberError, SecretText, name};

    /// Permissions of the entry: all for its possessor and for the user, none for group and others.
    /// The user needs them because not every login links the user's keyring to the session's, and
    /// a process that does not possess a key counts as the user.
    const PERMISSIONS: u32 = 0x3f3f_0000;

    fn failed(error: KeyError) -> RememberError {
        RememberError(error.to_string())
    }

    fn find(locked: &LockedKey) -> Option<Key> {
        let ring = KeyRing::from_special_id(KeyRingIdentifier::User, false).ok()?;
        ring.search(&name(locked)).ok()
    }

    /// Has the kernel remember a passphrase for some seconds. The caller has tried it.
    ///
    /// # Errors
    /// When there is no keyring, or it is full.
    pub fn remember(
        locked: &LockedKey,
        passphrase: &SecretText,
        seconds: u32,
    ) -> Result<(), RememberError> {
        let ring = KeyRing::from_special_id(KeyRingIdentifier::User, false).map_err(failed)?;
        let key = ring.add_key(&name(locked), passphrase.expose()).map_err(failed)?;
        let limited = usize::try_from(seconds).unwrap_or(usize::MAX).max(1);
        let set = key
            .set_timeout(limited)
            .and_then(|()| key.set_perms(KeyPermissions::from_u32(PERMISSIONS)));
        // One that nothing ends must not stay.
        set.map_err(|error| {
            let _ = key.invalidate();
            failed(error)
        })
    }

    /// Returns the passphrase, if it is remembered.
    #[must_use]
    pub fn remembered(locked: &LockedKey) -> Option<SecretText> {
        let bytes = Zeroizing::new(find(locked)?.read_to_vec().ok()?);
        std::str::from_utf8(&bytes).ok().map(|text| SecretText::new(text.to_owned()))
    }

    /// Forgets the passphrase. Returns whether it was remembered.
    pub fn forget(locked: &LockedKey) -> bool {
        find(locked).is_some_and(|key| key.invalidate().is_ok())
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use super::{LockedKey, RememberError, SecretText};

    /// Fails: there is no such keyring on this system.
    ///
    /// # Errors
    /// Always.
    pub fn remember(_: &LockedKey, _: &SecretText, _: u32) -> Result<(), RememberError> {
        Err(RememberError("this system has none".to_owned()))
    }

    /// Returns nothing: there is no such keyring on this system.
    #[must_use]
    pub fn remembered(_: &LockedKey) -> Option<SecretText> {
        None
    }

    /// Returns `false`: nothing was remembered.
    pub fn forget(_: &LockedKey) -> bool {
        false
    }
}

pub use kernel::{forget, remember, remembered};
