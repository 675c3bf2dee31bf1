"""A bound knock of two stages and its answer: who learns, makes or moves what, with which keys."""

from common import Scenario, fill

MODEL = """
free svc: bitstring [private].
free ackdata: bitstring [private].
event Start(bitstring, bitstring, bitstring, bitstring).    (* S, C, E, request *)
event Send(bitstring, bitstring, bitstring, bitstring).     (* C, stage, E, request *)
event Sent(bitstring, bitstring).                           (* C, what the mac covers *)
event Accept(bitstring, bitstring, bitstring, bitstring).
event Gate(bitstring, bitstring).
event Grant(bitstring, bitstring, bitstring, bitstring).
event GrantAt(bitstring, bitstring, bitstring, bitstring).  (* C, E, signed, observed address *)
event AckOK(bitstring, bitstring, bitstring, bitstring).
event Eph(bitstring).
event Evil(bitstring).
const aC, bound: bitstring [data].
@QUERIES@
let Emit(C: bitstring, k: bitstring, ctx: bitstring, tag: bitstring, eph: bitstring,
    sealed: bitstring) =
  let (t: bitstring, mac: bitstring, m: bitstring, s: bitstring) =
    wrap(k, ctx, tag, eph, sealed) in
  event Sent(C, (t, m, s)); out(c, (t, mac, m, s)).
let Client(skC: sk, x: exponent, psk: bitstring, S: bitstring) =
  in(c, epoch: bitstring);
  new e: exponent; new ts: bitstring; @LEAK_E@
  let C = vk(skC) in
  let ctx = context(S, C, exp(g, x)) in
  let k = kpair(exp(S, x), psk) in
  let eph = exp(g, e) in
  let prk = hkdf(kcs(k, ctx), exp(S, e), zero) in
  let body = (ts, svc, bound) in let ext = aC in
  event Start(S, C, eph, (body, ext)); event Eph(eph);
  let sg = sign(skC, h((Lsig, ctx, eph, body, ext))) in
  event Send(C, st0, eph, (body, ext)); event Send(C, st1, eph, (body, ext));
  ( Emit(C, @GATE@, ctx, hmac(ktag(psk, ctx), (epoch, st0)), eph,
      aead(hkdf(prk, Lbox, (ctx, eph, epoch, st0)), (body, sg, ext)))
  | Emit(C, @GATE@, ctx, hmac(ktag(psk, ctx), (epoch, st1)), eph,
      aead(hkdf(prk, Lbox, (ctx, eph, epoch, st1)), (body, sg, ext)))
  | ( in(c, a: bitstring);
      let (=ackdata) = open(hkdf(prk, Lack, (ctx, eph)), a) in
      event AckOK(S, C, eph, (body, ext)) ) ).
let Server(s: exponent, C: bitstring, X: bitstring, psk: bitstring) =
  let S = exp(g, s) in
  let ctx = context(S, C, X) in
  let k = kpair(exp(X, s), psk) in
  in(c, epoch: bitstring);
  in(c, (tag: bitstring, mac: bitstring, m: bitstring, sealed: bitstring));
  if tag = hmac(ktag(psk, ctx), (epoch, st0)) then
  if mac = hmac(kmac(@GATE@, ctx), (tag, m, sealed)) then
  event Gate(C, (tag, m, sealed));
  let eph = unmask(khp(@GATE@, ctx), sealed, m) in
  let prk = hkdf(kcs(k, ctx), exp(eph, s), zero) in
  let (body: bitstring, sg: bitstring, ext: bitstring) =
    open(hkdf(prk, Lbox, (ctx, eph, epoch, st0)), sealed) in
  @VERIFY@
  event Accept(C, st0, eph, (body, ext));
  (* the last stage, with the source that it came from *)
  in(c, (src: bitstring, tag2: bitstring, mac2: bitstring, m2: bitstring, sealed2: bitstring));
  if tag2 = hmac(ktag(psk, ctx), (epoch, st1)) then
  if mac2 = hmac(kmac(@GATE@, ctx), (tag2, m2, sealed2)) then
  if unmask(khp(@GATE@, ctx), sealed2, m2) = eph then
  let (=body, =sg, =ext) = open(hkdf(prk, Lbox, (ctx, eph, epoch, st1)), sealed2) in
  let (ts: bitstring, sv: bitstring, =bound) = body in
  if src = ext then
  event Accept(C, st1, eph, (body, ext));
  event Grant(S, C, eph, (body, ext)); event GrantAt(C, eph, ext, src);
  out(c, aead(hkdf(prk, Lack, (ctx, eph)), ackdata)).
(* Other clients, whose keys the attacker chooses. *)
let Evils(s: exponent, honest: bitstring) =
  in(c, (C: bitstring, X: bitstring, psk: bitstring));
  if C <> honest then event Evil(C); Server(s, C, X, psk).
process
  new s: exponent; new x: exponent; new skC: sk; new psk: bitstring;
  out(c, (exp(g, s), exp(g, x), vk(skC), aC));
  @LEAK@
  ( !Client(skC, x, psk, exp(g, s)) | !Server(s, vk(skC), exp(g, x), psk)
  | !Evils(s, vk(skC)) @LATER@ )
"""
FOUR = "S: bitstring, C: bitstring, e: bitstring, b: bitstring"
THREE = "C: bitstring, t: bitstring, e: bitstring, b: bitstring"
QUERIES = {
    "request secret": "query attacker(svc).",
    "stage": f"query {THREE}; event(Accept(C, t, e, b)) ==> event(Send(C, t, e, b))"
    " || event(Evil(C)).",
    "session": f"query {FOUR}; event(Grant(S, C, e, b)) ==> event(Start(S, C, e, b))"
    " || event(Evil(C)).",
    "answer": f"query {FOUR}; event(AckOK(S, C, e, b)) ==> event(Grant(S, C, e, b)).",
    "address": "query C: bitstring, e: bitstring, a: bitstring, o: bitstring;"
    " event(GrantAt(C, e, a, o)) ==> (a = o && a = aC) || event(Evil(C)).",
    "mac": "query C: bitstring, m: bitstring; event(Gate(C, m)) ==> event(Sent(C, m))"
    " || event(Evil(C)).",
    "E hidden": "query x: bitstring; event(Eph(x)) && attacker(x).",
    "never answered": f"query {FOUR}; event(AckOK(S, C, e, b)) ==> event(Evil(C)).",
}
P, A = "proved", "attack"
HOLDS = dict.fromkeys(["request secret", "stage", "session", "answer", "address"], P)


def scenario(name, expected, leak="", leak_e="", later="", gate="k", signed=True):
    verify = "if verify(C, h((Lsig, ctx, eph, body, ext)), sg) = true then"
    source = fill(
        MODEL,
        QUERIES="\n".join(QUERIES[label] for label in expected),
        LEAK=leak,
        LEAK_E=leak_e,
        LATER=later,
        GATE=gate,
        VERIFY=verify if signed else "",
    )
    return Scenario(name, source, expected)


CURVES = "every curve secret and sk_C out"
SCENARIOS = [
    scenario("a whole run happens", {"never answered": A}),
    scenario("no key out", {**HOLDS, "mac": P, "E hidden": P}),
    scenario("psk out", {**HOLDS, "mac": P, "E hidden": P}, leak="out(c, psk);"),
    scenario("x_C out", {**HOLDS, "mac": P}, leak="out(c, x);"),
    scenario("sk_S out", {**HOLDS, "mac": P}, leak="out(c, s);"),
    scenario("sk_C out", {**HOLDS, "mac": P}, leak="out(c, skC);"),
    scenario("psk and x_C out (disk; signing key elsewhere)", {**HOLDS, "mac": A},
             leak="out(c, (psk, x));"),
    scenario("psk and sk_S out (the server is taken)",
             {"request secret": A, "session": P, "answer": A, "address": P},
             leak="out(c, (s, psk));"),
    scenario("all but sk_C out", {"request secret": A, "session": P, "address": P},
             leak="out(c, (s, psk, x));"),
    scenario(f"{CURVES}, psk kept", {**HOLDS, "mac": P}, leak="out(c, (s, x, skC));",
             leak_e="out(c, e);"),
    scenario(f"{CURVES}, psk out too", {"request secret": A, "session": A},
             leak="out(c, (s, x, skC, psk));", leak_e="out(c, e);"),
    scenario("later, every key of the client out", {"request secret": P},
             later="| (phase 1; out(c, (psk, x, skC)))"),
    scenario("weighed: gate from the psk alone, psk out", {"mac": A, "E hidden": A},
             leak="out(c, psk);", gate="psk"),
    scenario("weighed: no signature, psk and sk_S out", {"session": A},
             leak="out(c, (s, psk));", signed=False),
]
