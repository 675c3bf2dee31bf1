//! Keys that live for one session.

use ring::hkdf::Prk;
use zeroize::Zeroizing;

use crate::hash::hkdf_expand;
use crate::labels;
use crate::pair::Context;
use crate::seal::SealKey;

/// `k_box_i`: the key of one stage packet, bound to its session, epoch, stage number and port.
pub(crate) fn box_key(
    prk: &Prk,
    context: &Context,
    eh: &[u8; 32],
    epoch: u64,
    stage: u8,
    port: u16,
) -> Zeroizing<[u8; 32]> {
    hkdf_expand(
        prk,
        &[labels::STAGE_KEY, &context.0, eh, &epoch.to_be_bytes(), &[stage], &port.to_be_bytes()],
    )
}

/// `k_ack`: the key of the session's answers.
pub(crate) fn ack_key(prk: &Prk, context: &Context, eh: &[u8; 32]) -> SealKey {
    SealKey(hkdf_expand(prk, &[labels::ACK_KEY, &context.0, eh]))
}

/// `k_conf`: the key of the session's CONFIRMs.
pub(crate) fn confirm_key(prk: &Prk, context: &Context, eh: &[u8; 32]) -> SealKey {
    SealKey(hkdf_expand(prk, &[labels::CONFIRM_KEY, &context.0, eh]))
}
