"""An unbound knock: who gets the long grant. It needs a CONFIRM that names the source."""

from common import Scenario, fill

MODEL = """
const aC: bitstring [data].         (* the client's address as the server sees it *)
free toC: channel [private].        (* what reaches the client past a man on the side *)
free svc: bitstring [private].
event Saw(bitstring, bitstring).                (* server: E complete from this address *)
event Prov(bitstring, bitstring).               (* provisional grant: E, address *)
event Told(bitstring, bitstring).               (* client opened an answer with this address *)
event Conf(bitstring, bitstring, bitstring).    (* client sent CONFIRM: E, address, number *)
event Long(bitstring, bitstring, bitstring).    (* server: E, address, number *)
event Done(bitstring, bitstring).               (* client opened the answer to its CONFIRM *)
@QUERIES@
let Client(skC: sk, x: exponent, psk: bitstring, S: bitstring, rx: channel) =
  in(c, epoch: bitstring);
  new e: exponent; new ts: bitstring;
  let ctx = context(S, vk(skC), exp(g, x)) in
  let k = kpair(exp(S, x), psk) in
  let eph = exp(g, e) in
  let prk = hkdf(kcs(k, ctx), exp(S, e), zero) in
  let kack = hkdf(prk, Lack, (ctx, eph)) in let kconf = hkdf(prk, Lconf, (ctx, eph)) in
  let tag0 = hmac(ktag(psk, ctx), (epoch, st0)) in
  let tag1 = hmac(ktag(psk, ctx), (epoch, st1)) in
  let body = (ts, svc) in
  let sg = sign(skC, h((Lsig, ctx, eph, body))) in
  out(c, wrap(k, ctx, tag0, eph, aead(hkdf(prk, Lbox, (ctx, eph, epoch, st0)), (body, sg))));
  out(c, wrap(k, ctx, tag1, eph, aead(hkdf(prk, Lbox, (ctx, eph, epoch, st1)), (body, sg))));
  in(rx, a1: bitstring);
  let (=n0, adr: bitstring) = open(kack, a1) in
  event Told(eph, adr);
  event Conf(eph, adr, n1);
  (* the tag of the last stage, the same gate, another key *)
  out(c, wrap(k, ctx, tag1, eph, aead(kconf, (n1, adr))));
  ( ( in(rx, a2: bitstring);
      let (=n1, =adr) = open(kack, a2) in event Done(eph, adr) )
  | ( (* told another address as well, and the service is shut: confirm that one *)
      in(rx, a3: bitstring);
      let (=n0, adr2: bitstring) = open(kack, a3) in
      if adr2 <> adr then
      event Told(eph, adr2); event Conf(eph, adr2, n2);
      out(c, wrap(k, ctx, tag1, eph, aead(kconf, (n2, adr2)))) ) ).
(* The datagram to dst: everybody sees it; what goes to aC reaches the client as well. *)
let Answer(dst: bitstring, m: bitstring) = out(c, m) | (if dst = aC then out(toC, m)).
let Server(s: exponent, C: bitstring, X: bitstring, psk: bitstring) =
  let S = exp(g, s) in
  let ctx = context(S, C, X) in
  let k = kpair(exp(X, s), psk) in
  in(c, epoch: bitstring);
  in(c, (src0: bitstring, tag: bitstring, mac: bitstring, m: bitstring, sealed: bitstring));
  if tag = hmac(ktag(psk, ctx), (epoch, st0)) then
  if mac = hmac(kmac(k, ctx), (tag, m, sealed)) then
  let eph = unmask(khp(k, ctx), sealed, m) in
  let prk = hkdf(kcs(k, ctx), exp(eph, s), zero) in
  let kack = hkdf(prk, Lack, (ctx, eph)) in let kconf = hkdf(prk, Lconf, (ctx, eph)) in
  let (body: bitstring, sg: bitstring) =
    open(hkdf(prk, Lbox, (ctx, eph, epoch, st0)), sealed) in
  if verify(C, h((Lsig, ctx, eph, body)), sg) = true then
  (* the last stage, from whatever source *)
  in(c, (src: bitstring, tag1: bitstring, mac1: bitstring, m1: bitstring, sealed1: bitstring));
  if tag1 = hmac(ktag(psk, ctx), (epoch, st1)) then
  if mac1 = hmac(kmac(k, ctx), (tag1, m1, sealed1)) then
  if unmask(khp(k, ctx), sealed1, m1) = eph then
  let (=body, =sg) = open(hkdf(prk, Lbox, (ctx, eph, epoch, st1)), sealed1) in
  event Saw(eph, src); event @FIRST@;
  Answer(src, aead(kack, (n0, src))) |
  (* every other source of the last stage is answered, and opens nothing *)
  ( !in(c, (src2: bitstring, =tag1, =mac1, =m1, =sealed1));
    event Saw(eph, src2); Answer(src2, aead(kack, (n0, src2))) ) |
  ( in(c, (src3: bitstring, tag3: bitstring, mac3: bitstring, m3: bitstring,
      sealed3: bitstring));
    if tag3 = hmac(ktag(psk, ctx), (epoch, st1)) then
    if mac3 = hmac(kmac(k, ctx), (tag3, m3, sealed3)) then
    if unmask(khp(k, ctx), sealed3, m3) = eph then
    let (=n1, @NAMED@) = open(kconf, sealed3) in
    event Long(eph, src3, n1);
    ( Answer(src3, aead(kack, (n1, src3))) |
    ( in(c, (src4: bitstring, tag4: bitstring, mac4: bitstring, m4: bitstring,
        sealed4: bitstring));
      if tag4 = hmac(ktag(psk, ctx), (epoch, st1)) then
      if mac4 = hmac(kmac(k, ctx), (tag4, m4, sealed4)) then
      if unmask(khp(k, ctx), sealed4, m4) = eph then
      let (=n2, =src4) = open(kconf, sealed4) in
      event Long(eph, src4, n2) )) ).
process
  new s: exponent; new x: exponent; new skC: sk; new psk: bitstring;
  out(c, (exp(g, s), exp(g, x), vk(skC), aC));
  @LEAK@
  ( !Client(skC, x, psk, exp(g, s), @RX@) | !Server(s, vk(skC), exp(g, x), psk) )
"""
THREE = "e: bitstring, a: bitstring, n: bitstring"
QUERIES = {
    "long => confirmed": f"query {THREE}; event(Long(e, a, n)) ==> event(Conf(e, a, n)).",
    "confirmed => told and seen": f"query {THREE}; event(Conf(e, a, n)) ==>"
    " (event(Told(e, a)) && event(Saw(e, a))).",
    "long => client's address": f"query {THREE}; event(Long(e, a, n)) ==> a = aC.",
    "provisional => client's address": "query e: bitstring, a: bitstring;"
    " event(Prov(e, a)) ==> a = aC.",
    "answered => long": "query e: bitstring, a: bitstring;"
    " event(Done(e, a)) ==> event(Long(e, a, n1)).",
    "second long => second confirm": "query e: bitstring, a: bitstring;"
    " event(Long(e, a, n2)) ==> event(Conf(e, a, n2)).",
    "never done": "query e: bitstring, a: bitstring; event(Done(e, a)).",
}
P, A = "proved", "attack"


def scenario(name, expected, rx="toC", leak="", first="Prov(eph, src)", named="=src3"):
    source = fill(
        MODEL,
        QUERIES="\n".join(QUERIES[label] for label in expected),
        RX=rx,
        LEAK=leak,
        FIRST=first,
        NAMED=named,
    )
    return Scenario(name, source, expected)


BOTH = {"long => confirmed": P, "long => client's address": P}
PATH = {"long => confirmed": P, "confirmed => told and seen": P}
SIDE = "who copies and sees all, and brings the client nothing"
SCENARIOS = [
    scenario("a whole run happens", {"never done": A}),
    scenario(SIDE, {**PATH, "long => client's address": P, "answered => long": P}),
    scenario(f"{SIDE}: the ten seconds may be his", {"provisional => client's address": A}),
    scenario("a relay that also brings its answer (an address translator)",
             {**PATH, "long => client's address": A}, rx="c"),
    scenario("a relay: nobody else makes or moves the second CONFIRM",
             {"second long => second confirm": P}, rx="c"),
    scenario(f"{SIDE}; psk out", BOTH, leak="out(c, psk);"),
    scenario(f"{SIDE}; psk and x_C out", BOTH, leak="out(c, (psk, x));"),
    scenario(f"{SIDE}; sk_C out", BOTH, leak="out(c, skC);"),
    scenario(f"{SIDE}; sk_S out", BOTH, leak="out(c, s);"),
    scenario(f"{SIDE}; psk and sk_S out", {"long => confirmed": A}, leak="out(c, (s, psk));"),
    scenario("weighed: the first complete source has the whole grant",
             {"long => client's address": A}, first="Long(eph, src, n0)"),
    scenario("weighed: no address in CONFIRM", {"long => client's address": A},
             named="anywhere: bitstring"),
]
