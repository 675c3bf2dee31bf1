//! ML-KEM-768 (FIPS 203) where a psk is made: in ENROL and REKEY with flag `kem`.
//!
//! The client's encapsulation key is derived from its new seed, travels in pieces behind the
//! extensions of the stages, and is used once; the answer carries the ciphertext.

use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::ml_kem_768::{DecapsulationKey, EncapsulationKey};
use ml_kem::{B32, Seed};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::keys::secret;

/// Length of an encapsulation key (FIPS 203 section 8).
pub(crate) const KEM_PUBLIC_LEN: usize = 1184;
/// Length of a ciphertext (FIPS 203 section 8).
pub(crate) const KEM_CIPHERTEXT_LEN: usize = 1088;
/// Fewest stages over which an encapsulation key fits.
pub(crate) const MIN_KEM_STAGES: u8 = 2;

/// `m`: the server's 32 random bytes of one encapsulation. A server keeps them while the client may
/// ask again, so that it gets the same ciphertext.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct KemRandom([u8; 32]);

secret!(KemRandom);

/// `ct`: what the answer to an ENROL or REKEY carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KemCiphertext(Box<[u8; KEM_CIPHERTEXT_LEN]>);

impl KemCiphertext {
    /// Takes its bytes. `None`: another length.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.to_vec().try_into().ok().map(Self)
    }

    /// Returns its 1088 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// A stage's piece of an encapsulation key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KemFragment(Vec<u8>);

impl KemFragment {
    /// Takes the piece of a stage. `None` when what would be behind the key's end is not zero.
    pub(crate) fn decode(stage: u8, bytes: &[u8]) -> Option<Self> {
        let ends = KEM_PUBLIC_LEN.saturating_sub(usize::from(stage) * bytes.len());
        let behind = bytes.get(ends..).unwrap_or_default();
        behind.iter().all(|byte| *byte == 0).then(|| Self(bytes.to_vec()))
    }
}

/// `ek`: a client's encapsulation key, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KemPublic(Box<[u8; KEM_PUBLIC_LEN]>);

impl KemPublic {
    /// Joins the pieces of all stages in their order. `None`: they are not those of a session.
    #[must_use]
    pub fn join(fragments: &[KemFragment]) -> Option<Self> {
        let stages = u8::try_from(fragments.len()).ok()?;
        let length = (stages >= MIN_KEM_STAGES).then(|| fragment_len(stages))?;
        let pieces = fragments.iter().filter(|fragment| fragment.0.len() == length);
        let bytes: Vec<u8> = pieces.flat_map(|fragment| fragment.0.iter().copied()).collect();
        Self::from_bytes(bytes.get(..KEM_PUBLIC_LEN)?)
    }

    /// Takes its bytes. `None`: another length.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.to_vec().try_into().ok().map(Self)
    }

    /// Returns its 1184 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Cuts the piece of one of `stages` stages, 8 at most.
    pub(crate) fn fragment(&self, stage: u8, stages: u8) -> Vec<u8> {
        let length = fragment_len(stages);
        let rest = self.0.get(usize::from(stage) * length..).unwrap_or_default();
        let mut piece: Vec<u8> = rest.iter().take(length).copied().collect();
        piece.resize(length, 0);
        piece
    }

    /// Encapsulates to it: `ct` and `ks`. `None` when it is no encapsulation key (FIPS 203 section
    /// 7.2, the modulus check; its length is its type).
    pub(crate) fn encapsulate(
        &self,
        random: &KemRandom,
    ) -> Option<(KemCiphertext, Zeroizing<[u8; 32]>)> {
        let key = EncapsulationKey::new(&(*self.0).into()).ok()?;
        let m: Zeroizing<B32> = Zeroizing::new((*random.bytes()).into());
        let (ciphertext, shared) = key.encapsulate_deterministic(&m);
        let shared: Zeroizing<[u8; 32]> = Zeroizing::new(shared.into());
        Some((KemCiphertext::from_bytes(&ciphertext)?, shared))
    }
}

/// Bytes of an encapsulation key in each of so many stages.
pub(crate) fn fragment_len(stages: u8) -> usize {
    KEM_PUBLIC_LEN.div_ceil(usize::from(stages.max(1)))
}

/// The client's decapsulation key, made from `d ‖ z` again whenever it is needed.
pub(crate) struct KemSecret(DecapsulationKey);

impl KemSecret {
    /// ML-KEM-768.KeyGen_internal(d, z).
    pub(crate) fn from_seed(seed: &[u8; 64]) -> Self {
        let seed: Zeroizing<Seed> = Zeroizing::new((*seed).into());
        Self(DecapsulationKey::from_seed(*seed))
    }

    /// Returns `ek`.
    pub(crate) fn public(&self) -> KemPublic {
        KemPublic(Box::new(self.0.encapsulation_key().to_bytes().into()))
    }

    /// Returns `ks`. A ciphertext that was not made for this key gives another one (FIPS 203
    /// section 6.3, implicit rejection).
    pub(crate) fn decapsulate(&self, ciphertext: &KemCiphertext) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.decapsulate(&(*ciphertext.0).into()).into())
    }
}
