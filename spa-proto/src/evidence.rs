//! Proof, for somebody without the server's secret, that the holder of a client's key asked for
//! new keys.
//!
//! ```text
//! eh 32 | body 16 | signature 64 | extension as long as the body says
//! ```
//! A process that may write the clients' file, and must not believe the one that reads packets,
//! checks these instead.

use crate::body::{Body, Head};
use crate::ext::Ext;
use crate::keys::{ClientPublic, ServerPublic};
use crate::layout::BODY_LEN;
use crate::pair::Context;
use crate::signing::Signature;
use crate::{labels, sshsig};

/// A signed request, apart from the packet that it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence(pub(crate) Vec<u8>);

impl Evidence {
    /// Takes its bytes, which [`Evidence::read`] checks.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The request, if this client has signed it for this server; `None` in every other case.
    /// Neither age nor use is looked at.
    #[must_use]
    pub fn read(&self, server: &ServerPublic, client: &ClientPublic) -> Option<Body> {
        let (eh, rest) = self.0.split_first_chunk::<32>()?;
        let (raw, rest) = rest.split_first_chunk::<BODY_LEN>()?;
        let (signature, ext) = rest.split_first_chunk::<64>()?;
        let head = Head::decode(raw).ok()?;
        let parts = head.ext_parts();
        let read = Ext::decode(parts, ext).ok()?;
        let body = head.to_body(&read).ok()?;
        let context = Context::new(server, client);
        let signed = ext.get(..parts.signed_len())?;
        let message: [&[u8]; 4] = [&context.0, eh, raw, signed];
        let signature = Signature { bytes: *signature, touch: read.touch };
        let blob = sshsig::signed_data(labels::SSHSIG_NAMESPACE, &message);
        client.verify(&blob, &signature).then_some(body)
    }
}
