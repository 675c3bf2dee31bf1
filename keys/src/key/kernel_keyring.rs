//! Passphrases that the kernel remembers for a while, as an ssh-agent would keys: in the user's
//! keyring (keyrings(7)), never on a disk, gone when their time is over.
//!
//! Not a desktop's Secret Service: it needs a session bus and a daemon, which the machines that one
//! knocks from often do not have, and it keeps passphrases on the disk under the login's password.

use ring::digest::{SHA256, digest};

use crate::key::locked::LockedKey;
use crate::text::SecretText;

/// Why the kernel remembers nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's keyring: {0}; without it, the passphrase is asked each time")]
pub struct RememberError(String);

/// Its name in the keyring: by the locked form, so that another passphrase is another name.
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

    /// Everything for whoever possesses the key and for the user, nothing for group and others. The
    /// user too, because not every login links the user's keyring to the session's, and one who
    /// does not possess a key is the user.
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

    /// The passphrase, if it is remembered.
    #[must_use]
    pub fn remembered(locked: &LockedKey) -> Option<SecretText> {
        let bytes = Zeroizing::new(find(locked)?.read_to_vec().ok()?);
        std::str::from_utf8(&bytes).ok().map(|text| SecretText::new(text.to_owned()))
    }

    /// Forgets it; whether it was remembered.
    pub fn forget(locked: &LockedKey) -> bool {
        find(locked).is_some_and(|key| key.invalidate().is_ok())
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use super::{LockedKey, RememberError, SecretText};

    /// There is no such keyring here.
    ///
    /// # Errors
    /// Always.
    pub fn remember(_: &LockedKey, _: &SecretText, _: u32) -> Result<(), RememberError> {
        Err(RememberError("this system has none".to_owned()))
    }

    /// Nothing is.
    #[must_use]
    pub fn remembered(_: &LockedKey) -> Option<SecretText> {
        None
    }

    /// Nothing was.
    pub fn forget(_: &LockedKey) -> bool {
        false
    }
}

pub use kernel::{forget, remember, remembered};
