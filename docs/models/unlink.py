"""An observer cannot tell whose sessions these are, and for what: stage, answer, CONFIRM."""

from common import Scenario, fill

MODEL = """
free svc1, svc2: bitstring.
let Knock(S: bitstring, C: bitstring, X: bitstring, skC: sk, ss: bitstring, psk: bitstring,
    svc: bitstring) =
  new epoch: bitstring; out(c, epoch);              (* another minute each time *)
  new e: exponent; new ts: bitstring; new adr: bitstring;
  let ctx = context(S, C, X) in
  let k = kpair(ss, psk) in
  let eph = exp(g, e) in
  let prk = hkdf(kcs(k, ctx), exp(S, e), zero) in
  let body = (ts, svc) in
  let sg = sign(skC, h((Lsig, ctx, eph, body))) in
  out(c, wrap(k, ctx, hmac(ktag(psk, ctx), (epoch, st0)), eph,
    aead(hkdf(prk, Lbox, (ctx, eph, epoch, st0)), (body, sg))));
  out(c, aead(hkdf(prk, Lack, (ctx, eph)), (n0, adr)));
  out(c, wrap(k, ctx, hmac(ktag(psk, ctx), (epoch, st1)), eph,
    aead(hkdf(prk, Lconf, (ctx, eph)), (n1, adr)))).
process
  new s: exponent; new xa: exponent; new xb: exponent; new ka: sk; new kb: sk;
  new pa: bitstring; new pb: bitstring;
  out(c, (exp(g, s), exp(g, xa), exp(g, xb), vk(ka), vk(kb)));
  @LEAK@
  !Knock(exp(g, s), choice[vk(ka), vk(kb)], choice[exp(g, xa), exp(g, xb)], choice[ka, kb],
    choice[exp(exp(g, s), xa), exp(exp(g, s), xb)], choice[pa, pb], choice[svc1, svc2])
"""
SCENARIOS = [
    Scenario("two clients, two services", fill(MODEL, LEAK=""), {"same to an observer": "proved"}),
    Scenario("not claimed: psk out, the tag tells", fill(MODEL, LEAK="out(c, pa);"),
             {"same to an observer": "unknown"}),
]
