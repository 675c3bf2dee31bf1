"""What the ProVerif models of SPA/2 share: functions, equations, keys of a pair, scenarios."""

import dataclasses

HEAD = """
set ignoreTypes = true.
free c: channel.
type exponent.
const g: bitstring [data].
fun exp(bitstring, exponent): bitstring.
equation forall x: exponent, y: exponent; exp(exp(g, x), y) = exp(exp(g, y), x).
fun hkdf(bitstring, bitstring, bitstring): bitstring.       (* salt, ikm, info *)
fun hmac(bitstring, bitstring): bitstring.
fun h(bitstring): bitstring.
(* One plaintext a key, or the nonce is a PRF of the plaintext. *)
fun aead(bitstring, bitstring): bitstring.
reduc forall k: bitstring, m: bitstring; open(k, aead(k, m)) = m.
(* E xor HMAC(k_hp, authenticator of the sealed text) *)
fun mask(bitstring, bitstring, bitstring): bitstring.
reduc forall k: bitstring, s: bitstring, e: bitstring; unmask(k, s, mask(k, s, e)) = e.
type sk.
fun vk(sk): bitstring.
fun sign(sk, bitstring): bitstring.
reduc forall k: sk, m: bitstring; verify(vk(k), m, sign(k, m)) = true.
(* ML-KEM: encapsulation key of a decapsulation key; ciphertext and secret of (ek, coins). *)
type dk.
fun kpk(dk): bitstring.
fun kct(bitstring, bitstring): bitstring.
fun kss(bitstring, bitstring): bitstring.
reduc forall d: dk, m: bitstring; decaps(d, kct(kpk(d), m)) = kss(kpk(d), m).
const Lsuite, Lclient, Ltag, Lpair, Lcs, Lmac, Lhp, Lbox, Lack, Lconf, Lsig, Lnew, Lproof, Lpsk,
  Lshare: bitstring [data].
const st0, st1: bitstring [data].                           (* stages *)
const n0, n1, n2: bitstring [data].                         (* numbers of answers and CONFIRMs *)
const zero: bitstring [data].
(* docs/protocol.md, section 4 *)
letfun context(S: bitstring, C: bitstring, X: bitstring) = h((Lsuite, S, C, X)).
letfun kpair(ss: bitstring, psk: bitstring) = hkdf(psk, ss, Lpair).
letfun kcs(k: bitstring, ctx: bitstring) = hkdf(k, Lcs, ctx).
letfun ktag(psk: bitstring, ctx: bitstring) = hkdf(Ltag, psk, (Ltag, ctx)).
letfun kmac(k: bitstring, ctx: bitstring) = hkdf(k, Lmac, ctx).
letfun khp(k: bitstring, ctx: bitstring) = hkdf(k, Lhp, ctx).
(* section 8: what lies around the seal *)
letfun wrap(k: bitstring, ctx: bitstring, tag: bitstring, eph: bitstring, sealed: bitstring) =
  let m = mask(khp(k, ctx), sealed, eph) in
  (tag, hmac(kmac(k, ctx), (tag, m, sealed)), m, sealed).
"""


@dataclasses.dataclass
class Scenario:
    """A model, and the verdict that each of its queries is expected to get."""

    name: str
    source: str
    expected: dict  # query's label: "proved", "attack" or "unknown"


def fill(template, **parts):
    """Puts the parts in the place of their names between two at signs."""
    for name, text in parts.items():
        template = template.replace(f"@{name}@", text)
    assert "@" not in template.replace("@i", "").replace("@j", ""), template
    return HEAD + template
