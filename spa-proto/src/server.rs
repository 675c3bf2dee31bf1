//! The server's half: one session as the server sees it, from the ephemeral key on.

use std::fmt;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use ring::hkdf::Prk;
use subtle::ConstantTimeEq;

use crate::ack::{self, Ack, ServerKeys};
use crate::body::{Body, BodyError, Head};
use crate::confirm::{Confirm, open_confirm};
use crate::evidence::Evidence;
use crate::ext::{Ext, NewKeysPart, RawExt, optional_address_bytes};
use crate::hash::{sha256, to_array};
use crate::kem::{KemCiphertext, KemFragment, KemPublic, KemRandom, MIN_KEM_STAGES, fragment_len};
use crate::keys::{ClientPublic, Psk, ServerSecret};
use crate::layout::{
    AEAD_TAG_LEN, BODY_LEN, MAX_PACKET, MAX_STAGES, MIN_PACKET, SEALED_AT, SIGNATURE_LEN, epoch_of,
};
use crate::new_keys::{NO_KEM, NewKeysError, ProofParts, Successor, derive_proof_key, derive_psk};
use crate::pair::{Context, PairKeys};
use crate::seal::SealKey;
use crate::signing::{Signature, Touch};
use crate::{labels, session_keys, sshsig};

/// `sid`: the first 16 bytes of H(E). Costs no byte on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 16]);

impl SessionId {
    /// Takes the id from the hash of the ephemeral key.
    pub(crate) fn from_hash(eh: &[u8; 32]) -> Self {
        Self(to_array(eh))
    }

    /// The id of the session with this ephemeral public key.
    #[must_use]
    pub fn of_ephemeral(ephemeral: &[u8; 32]) -> Self {
        Self::from_hash(&sha256(&[ephemeral]))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reason why a packet does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Not between [`MIN_PACKET`] and [`MAX_PACKET`] bytes.
    #[error("wrong length")]
    Length,
    /// The AEAD says no: another key, session, epoch, stage or port.
    #[error("not authentic")]
    Forged,
    /// Padding that is not all zeros.
    #[error("padding is not zero")]
    Padding,
    /// The body is not one of this version.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The time stamp does not lie in the tag's epoch.
    #[error("the time stamp is not in the tag's epoch")]
    Epoch,
}

/// The sealed part of a packet, opened: authentic for the pair, not yet verified by signature.
#[derive(Clone, Copy, Debug)]
pub struct SealedBody {
    /// The request.
    pub body: Body,
    raw: [u8; BODY_LEN],
    signature: Signature,
    ext: RawExt,
    new_keys: Option<NewKeysPart>,
}

impl SealedBody {
    /// Tells whether a later packet says exactly what the first one of the session said.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        let raw = self.raw.ct_eq(&other.raw);
        let signature = self.signature.bytes.ct_eq(&other.signature.bytes);
        let ext = self.ext.bytes().ct_eq(other.ext.bytes());
        (raw & signature & ext).into()
    }

    /// Returns what the client's security key said beside its signature: as true as the signature.
    #[must_use]
    pub fn touch(&self) -> Option<Touch> {
        self.signature.touch
    }
}

/// A session's keys on the server.
pub struct ServerSession {
    prk: Prk,
    context: Context,
    eh: [u8; 32],
}

impl ServerSession {
    /// One X25519 with the ephemeral key. `None` when it is a small-order point (RFC 7748 section
    /// 6.1).
    #[must_use]
    pub fn agree(
        server: &ServerSecret,
        pair: &PairKeys,
        context: &Context,
        ephemeral: &[u8; 32],
    ) -> Option<Self> {
        let es = server.agree(ephemeral)?;
        Some(Self { prk: pair.session_prk(&es), context: *context, eh: sha256(&[ephemeral]) })
    }

    /// The session id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        SessionId::from_hash(&self.eh)
    }

    /// Opens one stage packet that came to `port` under the tag of (`epoch`, `stage`): AEAD, strict
    /// body, zero padding, strict extension, time stamp within the epoch. An ML-KEM key is refused:
    /// [`ServerSession::open_with_kem`] takes one.
    ///
    /// # Errors
    /// The first of these that fails.
    pub fn open(
        &self,
        packet: &[u8],
        epoch: u64,
        stage: u8,
        port: u16,
    ) -> Result<SealedBody, OpenError> {
        self.open_stage(packet, epoch, stage, port, None).map(|(body, _)| body)
    }

    /// Opens one stage packet as [`ServerSession::open`], of a sequence of `stages`, with its piece
    /// of an ML-KEM key when it brings one.
    ///
    /// # Errors
    /// As [`ServerSession::open`].
    pub fn open_with_kem(
        &self,
        packet: &[u8],
        epoch: u64,
        stage: u8,
        port: u16,
        stages: u8,
    ) -> Result<(SealedBody, Option<KemFragment>), OpenError> {
        let possible = (MIN_KEM_STAGES..=MAX_STAGES).contains(&stages);
        self.open_stage(packet, epoch, stage, port, possible.then(|| fragment_len(stages)))
    }

    fn open_stage(
        &self,
        packet: &[u8],
        epoch: u64,
        stage: u8,
        port: u16,
        fragment_len: Option<usize>,
    ) -> Result<(SealedBody, Option<KemFragment>), OpenError> {
        if packet.len() < MIN_PACKET || packet.len() > MAX_PACKET {
            return Err(OpenError::Length);
        }
        let mut sealed = [0; MAX_PACKET];
        let text_len = packet.len() - SEALED_AT - AEAD_TAG_LEN;
        let text = sealed.get_mut(..text_len).ok_or(OpenError::Length)?;
        text.copy_from_slice(packet.get(SEALED_AT..SEALED_AT + text_len).ok_or(OpenError::Length)?);
        let tag: [u8; AEAD_TAG_LEN] = *packet.last_chunk().ok_or(OpenError::Length)?;
        let key = session_keys::box_key(&self.prk, &self.context, &self.eh, epoch, stage, port);
        ChaCha20Poly1305::new(&(*key).into())
            .decrypt_inout_detached(&[0; 12].into(), &[], (&mut *text).into(), &tag.into())
            .map_err(|_| OpenError::Forged)?;
        let (raw, rest) = text.split_first_chunk::<BODY_LEN>().ok_or(OpenError::Length)?;
        let (signature, tail) =
            rest.split_first_chunk::<SIGNATURE_LEN>().ok_or(OpenError::Length)?;
        let head = Head::decode(raw)?;
        let parts = head.ext_parts();
        let too_short = BodyError::Extension(parts.len() as u16);
        let (ext, tail) = tail.split_at_checked(parts.len()).ok_or(too_short)?;
        let fragment_len = head.fragment_len(fragment_len)?;
        let (fragment, padding) = tail.split_at_checked(fragment_len).ok_or(too_short)?;
        let fragment = match fragment_len {
            0 => None,
            _ => Some(KemFragment::decode(stage, fragment).ok_or(OpenError::Padding)?),
        };
        if padding.iter().any(|byte| *byte != 0) {
            return Err(OpenError::Padding);
        }
        let read = Ext::decode(parts, ext).map_err(BodyError::from)?;
        let body = head.to_body(&read)?;
        if epoch_of(body.ts_ms) != epoch {
            return Err(OpenError::Epoch);
        }
        let sealed = SealedBody {
            body,
            raw: *raw,
            signature: Signature { bytes: *signature, touch: read.touch },
            ext: RawExt::new(ext).ok_or(too_short)?,
            new_keys: read.new_keys,
        };
        Ok((sealed, fragment))
    }

    /// Verifies the signature of the session's request against the client's key, whatever source
    /// the packet came from: a copy from elsewhere must not look like a forgery.
    #[must_use]
    pub fn verify(&self, client: &ClientPublic, opened: &SealedBody) -> bool {
        let signed = opened.ext.first_bytes(opened.body.ext_parts().signed_len());
        let message: [&[u8]; 4] = [&self.context.0, &self.eh, &opened.raw, signed];
        client.verify(&sshsig::signed_data(labels::SSHSIG_NAMESPACE, &message), &opened.signature)
    }

    /// Derives what an ENROL or REKEY leads to, when its sender has proved to hold both new keys:
    /// one X25519 and one signature's verification. Call it after [`ServerSession::verify`], and
    /// when policy has said yes. `server` is the secret of this session, `old` and `old_psk` are
    /// the pair's.
    ///
    /// # Errors
    /// Why the new keys are refused.
    pub fn successor(
        &self,
        server: &ServerSecret,
        old: &ClientPublic,
        old_psk: &Psk,
        opened: &SealedBody,
    ) -> Result<Successor, NewKeysError> {
        let NewKeysPart { public, share, .. } =
            self.prove_new_keys(server, old_psk, opened, None)?;
        Ok(Successor { public, psk: derive_psk(old_psk, &share, &NO_KEM, old, &public) })
    }

    /// Derives the same of a request with an ML-KEM key, and the ciphertext for its answer. The
    /// same key and `random` give the same psk and ciphertext again.
    ///
    /// # Errors
    /// Why the new keys are refused.
    pub fn successor_by_kem(
        &self,
        server: &ServerSecret,
        old: &ClientPublic,
        old_psk: &Psk,
        opened: &SealedBody,
        kem: &KemPublic,
        random: &KemRandom,
    ) -> Result<(Successor, KemCiphertext), NewKeysError> {
        let NewKeysPart { public, share, .. } =
            self.prove_new_keys(server, old_psk, opened, Some(kem))?;
        let (ciphertext, shared) = kem.encapsulate(random).ok_or(NewKeysError::Kem)?;
        let psk = derive_psk(old_psk, &share, &shared, old, &public);
        Ok((Successor { public, psk }, ciphertext))
    }

    /// Checks the proof of new keys, and that there is an ML-KEM key exactly where one belongs.
    fn prove_new_keys(
        &self,
        server: &ServerSecret,
        old_psk: &Psk,
        opened: &SealedBody,
        kem: Option<&KemPublic>,
    ) -> Result<NewKeysPart, NewKeysError> {
        let part = opened.new_keys.ok_or(NewKeysError::None)?;
        if opened.body.flags.kem != kem.is_some() {
            return Err(NewKeysError::Kem);
        }
        let NewKeysPart { public, share, proof } = &part;
        let new = Context::new(&server.public(), public);
        if new == self.context {
            return Err(NewKeysError::Same);
        }
        let shared = server.agree(&public.dh).ok_or(NewKeysError::Point)?;
        let proof_key = derive_proof_key(old_psk, &shared, &new, &self.eh);
        let blob = ProofParts { new: &new, old: &self.context, proof_key: &proof_key, share, kem }
            .signed_data(&self.eh, &opened.raw, &optional_address_bytes(opened.body.bind_src));
        if public.verify(&blob, proof) { Ok(part) } else { Err(NewKeysError::Proof) }
    }

    /// The request as its client signed it, for somebody who has not the server's secret.
    #[must_use]
    pub fn evidence(&self, opened: &SealedBody) -> Evidence {
        let ext = opened.ext.first_bytes(opened.body.ext_parts().len());
        let parts: [&[u8]; 4] = [&self.eh, &opened.raw, &opened.signature.bytes, ext];
        Evidence(parts.concat())
    }

    /// Seals an answer to the session or one of its CONFIRMs, with the server's present keys for a
    /// client that came by its previous one. Equal answers are equal bytes.
    #[must_use]
    pub fn seal_ack(&self, ack: &Ack, keys: Option<&ServerKeys>) -> Vec<u8> {
        self.seal_answer(ack, keys, None)
    }

    /// Seals an answer as [`ServerSession::seal_ack`], with the ciphertext that makes a psk.
    #[must_use]
    pub fn seal_answer(
        &self,
        ack: &Ack,
        keys: Option<&ServerKeys>,
        ciphertext: Option<&KemCiphertext>,
    ) -> Vec<u8> {
        ack::seal_answer(&self.ack_key(), ack, keys, ciphertext)
    }

    /// Opens a datagram as a CONFIRM of this session. `None`: it is none.
    #[must_use]
    pub fn open_confirm(&self, datagram: &[u8]) -> Option<Confirm> {
        open_confirm(&session_keys::confirm_key(&self.prk, &self.context, &self.eh), datagram)
    }

    /// Returns the key that seals answers.
    pub(crate) fn ack_key(&self) -> SealKey {
        session_keys::ack_key(&self.prk, &self.context, &self.eh)
    }
}
