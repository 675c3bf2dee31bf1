//! An invitation: a client's keys and a pair's psk, both from one secret, good for one ENROL.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::hash::{hkdf_expand, hkdf_extract};
use crate::keys::{ClientSecret, Psk, secret};
use crate::labels;

/// Secret of an invitation, 32 random bytes. Whoever has it can enrol a device, once.
///
/// The server derives both halves when it issues the invitation and keeps the public keys and the
/// psk only, as of any client: its disk gives nobody the right to enrol.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct InvitationSecret([u8; 32]);

secret!(InvitationSecret);

impl InvitationSecret {
    /// The invitation's own client key: Expand(Extract("SPA/2 invitation", secret), "SPA/2
    /// invitation client", 32) is its seed.
    #[must_use]
    pub fn client(&self) -> ClientSecret {
        ClientSecret::from_bytes(*self.derive_secret(labels::INVITATION_CLIENT))
    }

    /// The psk of the invitation's pair: Expand(…, "SPA/2 invitation psk", 32).
    #[must_use]
    pub fn psk(&self) -> Psk {
        Psk::from_bytes(*self.derive_secret(labels::INVITATION_PSK))
    }

    fn derive_secret(&self, label: &[u8]) -> Zeroizing<[u8; 32]> {
        hkdf_expand(&hkdf_extract(labels::INVITATION_KEYS, &self.0), &[label])
    }
}
