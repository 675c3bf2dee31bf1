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
use crate::keys::{ClientPublic, Psk, ServerSecret};
use crate::layout::{
    AEAD_TAG_LEN, BODY_LEN, MAX_PACKET, MIN_PACKET, SEALED_AT, SIGNATURE_LEN, epoch_of,
};
use crate::new_keys::{NewKeysError, ProofParts, Successor, derive_proof_key, derive_psk};
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
    /// body, zero padding, strict extension, time stamp within the epoch.
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
        let (ext, padding) = tail.split_at_checked(parts.len()).ok_or(too_short)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(OpenError::Padding);
        }
        let read = Ext::decode(parts, ext).map_err(BodyError::from)?;
        let body = head.to_body(&read)?;
        if epoch_of(body.ts_ms) != epoch {
            return Err(OpenError::Epoch);
        }
        Ok(SealedBody {
            body,
            raw: *raw,
            signature: Signature { bytes: *signature, touch: read.touch },
            ext: RawExt::new(ext).ok_or(too_short)?,
            new_keys: read.new_keys,
        })
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
        let NewKeysPart { public, share, proof } = opened.new_keys.ok_or(NewKeysError::None)?;
        let new = Context::new(&server.public(), &public);
        if new == self.context {
            return Err(NewKeysError::Same);
        }
        let shared = server.agree(&public.dh).ok_or(NewKeysError::Point)?;
        let proof_key = derive_proof_key(old_psk, &shared, &new, &self.eh);
        let blob =
            ProofParts { new: &new, old: &self.context, proof_key: &proof_key, share: &share }
                .signed_data(&self.eh, &opened.raw, &optional_address_bytes(opened.body.bind_src));
        if public.verify(&blob, &proof) {
            Ok(Successor { public, psk: derive_psk(old_psk, &share, old, &public) })
        } else {
            Err(NewKeysError::Proof)
        }
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
        ack::seal_ack(&self.ack_key(), ack, keys)
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
