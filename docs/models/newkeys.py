"""ENROL and REKEY: new keys and psk', asked for by either of two server keys, with and without kem.

An invitation is an old pair whose psk, x and sk_C follow from what was read (section 9).
"""

from common import Scenario, fill

DECLARATIONS = """
free secS: bitstring [private].                         (* sealed under psk' by the server *)
free secC: bitstring [private].                         (* sealed under psk' by the client *)
free knock: bitstring [private].                        (* what a knock of the old pair said *)
event Asks(bitstring, bitstring).                       (* client: old key, new key *)
event ServerHas(bitstring, bitstring, bitstring).       (* server: old key, new key, psk' *)
event ClientHas(bitstring, bitstring, bitstring).
event Granted(bitstring, bitstring).                    (* a repetition by the other key *)
@QUERIES@
"""
# What both sides derive (section 9); `@SS@` and `@SSN@` are their Diffie-Hellman results.
DERIVE = """
  let ctx = context(S, C, X) in
  let k = kcs(kpair(@SS@, psk), ctx) in
  let ctxN = context(S, CN, XN) in
  let ssN = @SSN@ in
  let cid = h((Lclient, C, X)) in
  let cidN = h((Lclient, CN, XN)) in
  let p = hkdf(psk, ssN, (Lproof, ctxN, eph)) in"""
CLIENT = """
let Client(skC: sk, x: exponent, psk: bitstring, S: bitstring, skN: sk, xN: exponent, d: dk,
    r: bitstring) =
  new e: exponent; new ts: bitstring; @LEAK_E@
  let C = vk(skC) in let X = exp(g, x) in let CN = vk(skN) in let XN = exp(g, xN) in
  let eph = exp(g, e) in @DERIVE_C@
  let prk = hkdf(k, exp(S, e), zero) in
  let ek = @EK@ in
  let prf = sign(skN, h((Lnew, ctxN, ctx, eph, ts, p, r, h(ek)))) in
  let ext = (CN, XN, r, prf) in
  event Asks(C, CN);
  let sg = sign(skC, h((Lsig, ctx, eph, ts, ext))) in
  out(c, (eph, aead(hkdf(prk, Lbox, (ctx, eph)), (ts, sg, ext, ek))));
  in(c, a: bitstring);
  let (=n0, ct: bitstring) = open(hkdf(prk, Lack, (ctx, eph)), a) in
  let ks = @KS_C@ in
  let pskN = @PSKN@ in
  event ClientHas(C, CN, pskN);
  out(c, aead(pskN, secC)).
"""
SERVER = """
let Server(sa: exponent, sb: exponent, C: bitstring, X: bitstring, psk: bitstring,
    CH: bitstring) =
  new m: bitstring;
  in(c, (eph: bitstring, box: bitstring));
  let S = exp(g, sa) in
  let prk = hkdf(kcs(kpair(exp(X, sa), psk), context(S, C, X)), exp(eph, sa), zero) in
  let (ts: bitstring, sg: bitstring, ext: bitstring, ek: bitstring) =
    open(hkdf(prk, Lbox, (context(S, C, X), eph)), box) in
  if verify(C, h((Lsig, context(S, C, X), eph, ts, ext)), sg) = true then
  let (CN: bitstring, XN: bitstring, r: bitstring, prf: bitstring) = ext in @DERIVE_A@
  if verify(CN, h((Lnew, ctxN, ctx, eph, ts, p, r, h(ek))), prf) = true then
  let ks = @KS_S@ in
  let pskN = @PSKN@ in
  event ServerHas(C, CN, pskN);
  out(c, aead(hkdf(prk, Lack, (ctx, eph)), (n0, @CT@)));
  ( (if CN = CH then out(c, aead(pskN, secS)))
  | (! (* the same new keys again, by the other server key *)
  in(c, (eph2: bitstring, box2: bitstring));
  let eph = eph2 in let S = exp(g, sb) in let CN1 = CN in let XN1 = XN in
  let prk = hkdf(kcs(kpair(exp(X, sb), psk), context(S, C, X)), exp(eph, sb), zero) in
  let (ts: bitstring, sg: bitstring, ext: bitstring, ek: bitstring) =
    open(hkdf(prk, Lbox, (context(S, C, X), eph)), box2) in
  if verify(C, h((Lsig, context(S, C, X), eph, ts, ext)), sg) = true then
  let (CN: bitstring, XN: bitstring, r: bitstring, prf: bitstring) = ext in
  if CN = CN1 then if XN = XN1 then @DERIVE_B@
  if verify(CN, h((Lnew, ctxN, ctx, eph, ts, p, r, h(ek))), prf) = true then
  let ks = @KS_S@ in
  let pskN2 = @PSKN@ in
  @COMPARE@
  event Granted(C, CN);
  out(c, aead(hkdf(prk, Lack, (ctx, eph)), (n0, @CT@))) ) ).
"""
MAIN = """
process
  new s1: exponent; new s2: exponent; new x: exponent; new skC: sk; new psk: bitstring;
  new seed: bitstring; new xN: exponent; new skN: sk; new d: dk;
  let r = hkdf(seed, Lshare, h(psk)) in
  out(c, (exp(g, s1), exp(g, s2), exp(g, x), vk(skC)));
  @LEAK@
  ( @CLIENTS@ | @SERVERS@ @OTHERS@ @KNOCK@ @LATER@ )
"""
OTHERS = """| ( (* another client, whose old keys the attacker chooses *)
    in(c, (C: bitstring, X: bitstring, pskE: bitstring));
    if C <> vk(skC) then Server(s1, s2, C, X, pskE, vk(skN)) )"""
KNOCK = """| ( new ek0: exponent; let ctxk = context(exp(g, s1), vk(skC), exp(g, x)) in
    let ephk = exp(g, ek0) in
    let kk = kcs(kpair(exp(exp(g, s1), x), psk), ctxk) in
    let prkk = hkdf(kk, exp(exp(g, s1), ek0), zero) in
    out(c, (ephk, aead(hkdf(prkk, Lbox, (ctxk, ephk, st0)), knock))) )"""
PSK_OF_SHARE = "hkdf(psk, (r, ks), (Lpsk, cid, cidN))"


def derive(ss, ssn):
    return DERIVE.replace("@SSN@", ssn).replace("@SS@", ss)


def scenario(name, expected, kem=True, two_keys=True, others=False, leak="", leak_e="", later="",
             knock="", passive=False, pskn=PSK_OF_SHARE, compare="if pskN2 = pskN then"):
    server = "!Server(s1, s2, vk(skC), exp(g, x), psk, vk(skN))"
    client = "!Client(skC, x, psk, exp(g, s1), skN, xN, d, r)"
    if two_keys:
        server += " | !Server(s2, s1, vk(skC), exp(g, x), psk, vk(skN))"
        client += " | !Client(skC, x, psk, exp(g, s2), skN, xN, d, r)"
    else:
        server = server.replace("s2", "s1")
    source = fill(
        ("set attacker = passive.\n" if passive else "") + DECLARATIONS + CLIENT + SERVER + MAIN,
        QUERIES="\n".join(QUERIES[label] for label in expected),
        DERIVE_C=derive("exp(S, x)", "exp(S, xN)"),
        DERIVE_A=derive("exp(X, sa)", "exp(XN, sa)"),
        DERIVE_B=derive("exp(X, sb)", "exp(XN, sb)"),
        EK="kpk(d)" if kem else "zero",
        KS_C="decaps(d, ct)" if kem else "zero",
        KS_S="kss(ek, m)" if kem else "zero",
        CT="kct(ek, m)" if kem else "zero",
        PSKN=pskn,
        COMPARE=compare,
        CLIENTS=client,
        SERVERS=server,
        OTHERS=OTHERS if others else "",
        KNOCK=knock,
        LEAK=leak,
        LEAK_E=leak_e,
        LATER=later,
    )
    return Scenario(name, source, expected)


THREE = "a: bitstring, b: bitstring, k: bitstring"
QUERIES = {
    "never by the client": f"query {THREE}; event(ClientHas(a, b, k)).",
    "never again": "query a: bitstring, b: bitstring; event(Granted(a, b)).",
    "one psk'": f"query {THREE}; event(ClientHas(a, b, k)) ==> event(ServerHas(a, b, k)).",
    "server's psk' secret": "query attacker(secS).",
    "client's psk' secret": "query attacker(secC).",
    "holder asked": f"query {THREE.replace('b: bitstring', 'z: sk')};"
    " event(ServerHas(a, vk(z), k)) ==> (event(Asks(a, vk(z))) || attacker(z)).",
    "old knock secret": "query attacker(knock).",
}
P, A = "proved", "attack"
SECRET = {"server's psk' secret": P, "client's psk' secret": P}
LOST = dict.fromkeys(SECRET, A)
CURVES = "out(c, (s1, s2, x, xN));"
E_NOW, E_LATER = "out(c, e);", "(phase 1; out(c, e)) | "
FALLS = "recorded; every curve and signing key falls later"
FELL = "| (phase 1; out(c, (s1, s2, x, xN, skC, skN, seed)))"
FELL_WITHOUT = FELL.replace(", seed", "")
ONE = {"two_keys": False}
# psk' as both sides have it, with coins that the server has stored.
PSKN = """hkdf(psk, (r, kss(kpk(d), mm)),
      (Lpsk, h((Lclient, vk(skC), exp(g, x))), h((Lclient, vk(skN), exp(g, xN)))))"""
SCENARIOS = [
    scenario("a client gets there, and again by the other key",
             {"never by the client": A, "never again": A}),
    scenario("two server keys, kem", {"one psk'": P, **SECRET}),
    scenario("two server keys, no kem", {"one psk'": P, **SECRET}, kem=False),
    scenario("ENROL: invitation read by all, kem", SECRET, leak="out(c, (psk, x, skC));",
             others=True, **ONE),
    scenario("ENROL: invitation read by all, no kem", SECRET, kem=False,
             leak="out(c, (psk, x, skC));", others=True, **ONE),
    scenario("nobody enrols foreign keys, though all of the old pair is out", {"holder asked": P},
             leak="out(c, (psk, x, skC));", others=True, **ONE),
    scenario(f"psk out, kem; {FALLS}", SECRET, leak="out(c, psk);", leak_e=E_LATER, later=FELL,
             **ONE),
    scenario(f"psk out, no kem; {FALLS}", LOST, kem=False, leak="out(c, psk);", leak_e=E_LATER,
             later=FELL_WITHOUT, **ONE),
    scenario(f"psk kept, no kem; {FALLS}", SECRET, kem=False, leak_e=E_LATER, later=FELL_WITHOUT,
             **ONE),
    scenario("kem broken, psk out", SECRET, leak="out(c, (psk, d));", **ONE),
    scenario("kem and every curve broken, psk kept", SECRET, leak="out(c, d);" + CURVES,
             leak_e=E_NOW, **ONE),
    scenario("kem and every curve broken, psk out", LOST, leak="out(c, (psk, d));" + CURVES,
             leak_e=E_NOW, **ONE),
    scenario("psk out, every curve broken at once; kem and signatures hold: server",
             {"server's psk' secret": P}, leak="out(c, psk);" + CURVES, leak_e=E_NOW, **ONE),
    scenario("the same: client (an answer is forged)", {"client's psk' secret": A},
             leak="out(c, psk);" + CURVES, leak_e=E_NOW, **ONE),
    scenario("healing: sk_S, psk, x out before, who has them only listens; kem", SECRET,
             leak="out(c, (s1, s2, psk, x));", passive=True, **ONE),
    scenario("not claimed: the same, no kem", dict.fromkeys(SECRET, "unknown"), kem=False,
             leak="out(c, (s1, s2, psk, x));", passive=True, **ONE),
    scenario("after REKEY all is taken but the erased psk", {"old knock secret": P}, knock=KNOCK,
             later="| (new mm: bitstring; phase 1;"
             f" out(c, (s1, s2, x, xN, skC, skN, seed, r, d, mm, {PSKN})))", **ONE),
    scenario("without REKEY, sk_S and psk are taken later", {"old knock secret": A}, knock=KNOCK,
             later="| (phase 1; out(c, (s1, psk)))", **ONE),
    scenario("sk_S rotated and erased, all else taken later", {"old knock secret": P},
             knock=KNOCK, later="| (phase 1; out(c, (s2, psk, x, skC, xN, skN, seed, d)))", **ONE),
    scenario("weighed: psk' from the session's server key, not compared", {"one psk'": A},
             kem=False, pskn="hkdf(psk, ssN, (Lpsk, ctxN))", compare=""),
]
