"""A recorded session again: within one run of the server, and after restarts.

Assumed, and tested on the code: a run grants no id twice; the mark is durable before a grant and
at least its time stamp; a run that has ended grants nothing. Clocks are not in the model.
"""

from common import Scenario, fill

MODEL = """
event Start(bitstring, bitstring).                  (* E, request *)
event Grant(bitstring, nat, bitstring, bitstring, nat).  (* run, its number, E, request, ts *)
event Once(bitstring, bitstring, bitstring).        (* run, E, this grant *)
event Boot(bitstring, nat, nat).                    (* run, its number, its fence *)
@RULES@
@QUERIES@
let Client(skC: sk, x: exponent, psk: bitstring, S: bitstring) =
  in(c, (epoch: bitstring, ts: nat));
  new e: exponent; new svc: bitstring;
  let ctx = context(S, vk(skC), exp(g, x)) in
  let k = kpair(exp(S, x), psk) in
  let eph = exp(g, e) in
  let prk = hkdf(kcs(k, ctx), exp(S, e), zero) in
  event Start(eph, (ts, svc));
  let sg = sign(skC, h((Lsig, ctx, eph, ts, svc))) in
  out(c, wrap(k, ctx, hmac(ktag(psk, ctx), (epoch, st0)), eph,
    aead(hkdf(prk, Lbox, (ctx, eph, epoch, st0)), (ts, svc, sg)))).
(* One datagram of one run, whose fence is the mark that it found. *)
let Server(s: exponent, C: bitstring, X: bitstring, psk: bitstring, run: bitstring, number: nat,
    fence: nat) =
  let ctx = context(exp(g, s), C, X) in
  let k = kpair(exp(X, s), psk) in
  in(c, epoch: bitstring);
  in(c, (tag: bitstring, mac: bitstring, m: bitstring, sealed: bitstring));
  if tag = hmac(ktag(psk, ctx), (epoch, st0)) then
  if mac = hmac(kmac(k, ctx), (tag, m, sealed)) then
  let eph = unmask(khp(k, ctx), sealed, m) in
  let prk = hkdf(kcs(k, ctx), exp(eph, s), zero) in
  let (ts: nat, svc: bitstring, sg: bitstring) =
    open(hkdf(prk, Lbox, (ctx, eph, epoch, st0)), sealed) in
  if verify(C, h((Lsig, ctx, eph, ts, svc)), sg) = true then
  @FRESH@
  new grant: bitstring;
  event Once(run, eph, grant);
  event Grant(run, number, eph, (ts, svc), ts).
process
  new s: exponent; new x: exponent; new skC: sk; new psk: bitstring;
  out(c, (exp(g, s), exp(g, x), vk(skC)));
  @LEAK@
  ( !Client(skC, x, psk, exp(g, s))
  | !(in(c, (number: nat, fence: nat)); if is_nat(number) then
      new run: bitstring; event Boot(run, number, fence);
      !Server(s, vk(skC), exp(g, x), psk, run, number, fence)) )
"""
ONCE = """restriction r: bitstring, e: bitstring, a: bitstring, b: bitstring;
  event(Once(r, e, a)) && event(Once(r, e, b)) ==> a = b."""
NUMBERED = """restriction r: bitstring, q: bitstring, n: nat, f: nat, d: nat;
  event(Boot(r, n, f)) && event(Boot(q, n, d)) ==> r = q."""
MARK = """restriction r: bitstring, q: bitstring, n: nat, m: nat, f: nat, e: bitstring,
  b: bitstring, t: nat;
  event(Grant(r, n, e, b, t)) && event(Boot(q, m, f)) ==> r = q || m < n || t <= f."""
TWO = "r: bitstring, q: bitstring, n: nat, m: nat, e: bitstring, b: bitstring, a: bitstring"
QUERIES = {
    "never granted": "query r: bitstring, n: nat, e: bitstring, b: bitstring, t: nat;"
    " event(Grant(r, n, e, b, t)).",
    "asked for": "query r: bitstring, n: nat, e: bitstring, b: bitstring, t: nat;"
    " event(Grant(r, n, e, b, t)) ==> event(Start(e, b)).",
    "once": "query r: bitstring, n: nat, e: bitstring, b: bitstring, t: nat;"
    " inj-event(Grant(r, n, e, b, t)) ==> inj-event(Start(e, b)).",
    "never in a later run": f"query {TWO}, t: nat, u: nat; event(Grant(r, n, e, b, t))"
    " && event(Grant(q, m, e, a, u)) && n < m.",
}
P, A = "proved", "attack"
LATER = "if ts > fence then"


def scenario(name, expected, rules="", fresh="", leak=""):
    source = fill(
        MODEL,
        RULES=rules,
        QUERIES="\n".join(QUERIES[label] for label in expected),
        FRESH=fresh,
        LEAK=leak,
    )
    return Scenario(name, source, expected)


ALL = ONCE + NUMBERED + MARK
BOTH = {"asked for": P, "never in a later run": P}
SCENARIOS = [
    scenario("a knock is granted", {"never granted": A}, ALL, LATER),
    scenario("used ids, mark and fence", {**BOTH, "once": P}, ALL, LATER),
    scenario("the same, all but sk_C out", {**BOTH, "once": P}, ALL, LATER,
             leak="out(c, (psk, x, s));"),
    scenario("weighed: no used ids", {"once": A}, NUMBERED + MARK, LATER),
    scenario("weighed: no mark", {"never in a later run": A}, ONCE + NUMBERED, LATER),
    scenario("weighed: mark without fence", {"never in a later run": A}, ALL),
]
