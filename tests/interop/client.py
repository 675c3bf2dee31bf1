#!/usr/bin/env python3
"""A second SPA/1 client, written from docs/protocol.md alone.

It shares no code and no crypto library with the first.

client.py FOLDER   makes every value of the vectors in FOLDER that a client can make, and compares.
"""

import hashlib
import hmac as hmac_module
import ipaddress
import pathlib
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

SUITE = b"SPA/1 s1 X25519 Ed25519 ChaCha20Poly1305 SHA256"
OPS = {"open": 0, "renew": 1, "close": 2, "enrol": 3, "rekey": 4}
STATUS = ["granted", "denied", "stale", "busy"]
REASON = ["none", "service", "expired", "hours", "from", "ttl", "max-grants", "banned", "firewall",
          "store", "past", "future", "fence", "floor", "op", "for-addr", "new-keys"]


class Refused(Exception):
    pass


# Section 3: notation.
def u(n, size):
    return n.to_bytes(size, "big")


def lp(x):
    return u(len(x), 4) + x


def H(x):
    return hashlib.sha256(x).digest()


def HMAC(k, x):
    return hmac_module.new(k, x, "sha256").digest()


Extract = HMAC


def Expand(prk, info, n):
    return HKDFExpand(hashes.SHA256(), n, info).derive(prk)


def X25519(k, point=None):
    secret = X25519PrivateKey.from_private_bytes(k)
    if point is None:
        return secret.public_key().public_bytes_raw()
    try:
        return secret.exchange(X25519PublicKey.from_public_bytes(point))
    except ValueError:  # all-zero result
        raise Refused("point") from None


def sshsig(namespace, message):
    return b"SSHSIG" + lp(namespace) + lp(b"") + lp(b"sha256") + lp(H(message))


def addr16(address):
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


# Section 7: the signing half, in a file or in a security key that says `touch` with each signature.
class Signer:
    def __init__(self, sk, touch=None):
        self.key, self.touch = Ed25519PrivateKey.from_private_bytes(sk), touch
        self.public, self.flag = self.key.public_key().public_bytes_raw(), touch is not None

    def sign(self, frame):
        """The 64 bytes, and the touch behind them in the extension."""
        if self.touch is None:
            return self.key.sign(frame), b""
        return self.key.sign(H(b"ssh:") + self.touch + H(frame)), self.touch


# Section 4: keys.
class Client:
    def __init__(self, seed, psk, pk_S, token=None):
        prk = Extract(b"SPA/1 client", seed)
        self.sk_C = Expand(prk, b"SPA/1 client Ed25519", 32)
        self.x_C = Expand(prk, b"SPA/1 client X25519", 32)
        self.signer = token or Signer(self.sk_C)
        self.pk_C, self.X_C, self.pk_S = self.signer.public, X25519(self.x_C), pk_S
        kind = lp(b"sk-ssh-ed25519@openssh.com") + lp(b"ssh:") if self.signer.flag else b""
        self.ctx = H(lp(SUITE) + lp(pk_S) + lp(self.pk_C) + lp(self.X_C) + kind)
        self.k_gate = Extract(b"SPA/1 gate", psk)
        gate = Expand(self.k_gate, b"SPA/1 gate" + self.ctx, 96)
        self.k_tag, self.k_mac, self.k_hp = gate[:32], gate[32:64], gate[64:]
        self.ss = X25519(self.x_C, pk_S)
        self.k_pair = Extract(psk, self.ss)
        self.k_cs = Expand(self.k_pair, b"SPA/1 pair" + self.ctx, 32)


# Sections 5 to 8: one session and its packets.
class Session:
    def __init__(self, client, e, ts=0, service=0, ttl=0, op=0, want_ack=False, bind=None,
                 ports=(1,), padding=(), for_addr=None, new=None):
        if (op >= 3) != (new is not None) or op >= 3 and (service or ttl) and for_addr is None:
            raise Refused("new-keys")
        if for_addr is not None:
            four = for_addr if for_addr.version == 4 else for_addr.ipv4_mapped
            for_addr = four or for_addr
            refused = for_addr.is_unspecified or for_addr.is_multicast
            if op >= 3 or refused or str(for_addr) == "255.255.255.255":
                raise Refused("for-addr")
        if not 1 <= len(ports) <= 8:
            raise Refused("stages")
        if any(p > 944 for p in padding):
            raise Refused("padding")
        c, epoch, E = client, ts // 60000, X25519(e)
        eh = H(E)
        self.sid, self.pk_S = eh[:16], c.pk_S
        prk = Extract(c.k_cs, X25519(e, c.pk_S))
        self.k_ack = Expand(prk, b"SPA/1 ack" + c.ctx + eh, 32)
        new_token = new is not None and new.signer.flag
        flags = (want_ack, bind is not None, for_addr is not None, c.signer.flag, new_token)
        ext_len = 16 * flags[2] + 128 * (op >= 3) + 5 * new_token + 5 * c.signer.flag
        body = (u(ts, 8) + u(service, 2) + u(ttl, 2) + u(op, 1)
                + u(sum(flag << bit for bit, flag in enumerate(flags)), 1) + u(ext_len, 2))
        src16 = bytes(16) if bind is None else addr16(bind)
        ext = b"" if for_addr is None else addr16(for_addr)
        # Section 19; `new` derives everything but its psk, which comes from the old pair.
        if new is not None:
            k_new = Extract(c.k_cs, new.ss)
            self.new_psk = Expand(k_new, b"SPA/1 new psk" + new.ctx, 32)
            p = Expand(k_new, b"SPA/1 new proof" + new.ctx + eh, 32)
            ext += new.pk_C + new.X_C
            signed = sshsig(b"spa-v1-new", new.ctx + c.ctx + eh + body + src16 + p)
            ext += b"".join(new.signer.sign(signed))
        sig, touch = c.signer.sign(sshsig(b"spa-v1", c.ctx + eh + body + src16 + ext))
        text = body + sig + ext + touch
        assert len(ext + touch) == ext_len
        self.packets = []
        for i, port in enumerate(ports):
            p = padding[i] if i < len(padding) else 0
            k_box = Expand(prk, b"SPA/1 box" + c.ctx + eh + u(epoch, 8) + u(i, 1) + u(port, 2), 32)
            sealed = ChaCha20Poly1305(k_box).encrypt(bytes(12), text.ljust(224 + p, b"\0"), None)
            rest = bytes(a ^ b for a, b in zip(E, HMAC(c.k_hp, sealed[-16:]))) + sealed
            tag = HMAC(c.k_tag, u(epoch, 8) + u(i, 1))[:8]
            self.packets.append(tag + HMAC(c.k_mac, tag + rest)[:8] + rest)

    # Section 12: ack.
    def open_ack(self, ack):
        if len(ack) not in (60, 124):
            raise Refused
        try:
            plain = ChaCha20Poly1305(self.k_ack).decrypt(ack[:12], ack[12:], b"SPA/1 ack")
        except InvalidTag:
            raise Refused from None
        if plain[0] >= len(STATUS) or plain[1] >= len(REASON) or plain[30:32] != bytes(2):
            raise Refused
        number = lambda a, b: int.from_bytes(plain[a:b], "big")
        ip = ipaddress.IPv6Address(plain[12:28])
        host = f"[{ip}]" if ip.ipv4_mapped is None else str(ip.ipv4_mapped)
        times = f"{number(2, 4)} {number(4, 12)}"
        text = f"{STATUS[plain[0]]} {REASON[plain[1]]} {times} {host}:{number(28, 30)}"
        return text + self.keys_told(plain[32:64], plain[64:])

    # Section 20: the server's present keys, when the session came by its previous one.
    def keys_told(self, pk_S, k_hop):
        if not pk_S:
            return ""
        canonical = int.from_bytes(pk_S, "little") < 2**255 - 19
        try:
            X25519(bytes(range(32)), pk_S)
        except Refused:
            return " key ignored"
        if pk_S == self.pk_S or not canonical:
            return " key ignored"
        return f" key {pk_S.hex()} hop {'none' if k_hop == bytes(32) else k_hop.hex()}"


# Section 6: service numbers. Section 13: port hopping.
def service_id(name):
    return int.from_bytes(H(b"SPA/1 service" + name.encode())[:2], "big")


def hop(k_hop, lo, hi, stages, exclude, hop_epoch):
    allowed = [p for p in range(lo, hi + 1) if p != 0 and not any(a <= p <= b for a, b in exclude)]
    if not 1 <= stages <= 8 or len(allowed) < 64 or any(a > b for a, b in exclude):
        raise Refused
    allowed, ports = set(allowed), []
    for i in range(stages):
        for ctr in range(65536):
            out = HMAC(k_hop, b"SPA/1 hop" + u(hop_epoch, 8) + u(i, 1) + u(ctr, 4))
            port = lo + int.from_bytes(out[:8], "big") % (hi - lo + 1)
            if port in allowed - set(ports):
                break
        else:
            port = min(allowed - set(ports))
        ports.append(port)
    return ports


# The vectors.
def pair(v):
    pk_S = (bytes.fromhex(v["pk_S"]) if "server-secret" not in v
            else X25519(bytes.fromhex(v["server-secret"])))
    if "invitation" in v:  # Section 19.
        prk = Extract(b"SPA/1 invitation", bytes.fromhex(v["invitation"]))
        seed, psk = (Expand(prk, b"SPA/1 invitation " + what, 32) for what in (b"client", b"psk"))
    else:
        seed, psk = bytes.fromhex(v["client-seed"]), bytes.fromhex(v["psk"])
    return Client(seed, psk, pk_S, token(v, ""))


def token(v, prefix):
    """A security key whose secret is derived as a client's is: for these vectors only."""
    if prefix + "token-seed" not in v:
        return None
    prk = Extract(b"SPA/1 client", bytes.fromhex(v[prefix + "token-seed"]))
    return Signer(Expand(prk, b"SPA/1 client Ed25519", 32), bytes.fromhex(v[prefix + "touch"]))


def new_keys(v, pk_S):
    if "new-seed" not in v:
        return None
    return Client(bytes.fromhex(v["new-seed"]), bytes(32), pk_S, token(v, "new-"))


def numbers(text):
    return [int(n) for n in text.split(",") if n]


def made_from(v):
    """Makes a vector: the expect line, and the fields that the vector must also have."""
    kind = v["kind"]
    if kind == "keys":
        made = vars(pair(v))
        return "derived", {k: x.hex() for k, x in made.items() if isinstance(x, bytes)}
    if kind == "session":
        bind, for_addr = (None if v[k] == "none" else ipaddress.ip_address(v[k])
                          for k in ("bind-src", "for-addr"))
        client = pair(v)
        session = Session(client, bytes.fromhex(v["ephemeral"]), int(v["ts-ms"]),
                          int(v["service"]), int(v["ttl-s"]), OPS[v["op"]],
                          v["want-ack"] == "true", bind, numbers(v["ports"]),
                          numbers(v["padding"]), for_addr, new_keys(v, client.pk_S))
        packets = {f"packet-{i}": p.hex() for i, p in enumerate(session.packets)}
        psk = {"new-psk": session.new_psk.hex()} if "new-seed" in v else {}
        return "packets", {"sid": session.sid.hex(), **packets, **psk}
    if kind == "ack":
        session = Session(pair(v), bytes.fromhex(v["ephemeral"]))
        return session.open_ack(bytes.fromhex(v["ack"])), {}
    if kind == "hop":
        exclude = [tuple(int(p) for p in r.split("-")) for r in v["exclude"].split(",") if r]
        ports = hop(bytes.fromhex(v["hop-key"]), int(v["lo"]), int(v["hi"]), int(v["stages"]),
                    exclude, int(v["hop-epoch"]))
        return "ports", {"ports": ",".join(map(str, ports))}
    return "number", {"number": str(service_id(v["name"]))}


def main():
    wrong, counts = 0, {}
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.txt")):
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
        v = dict(line.split(":", 1) for line in lines)
        v = {key: value.strip() for key, value in v.items()}
        if v["kind"] in ("packet", "body"):
            continue  # What a server refuses: the client half makes none of these.
        try:
            expect, fields = made_from(v)
        except Refused as refusal:
            expect, fields = f"refused {refusal}".strip(), {}
        if expect != v["expect"] or any(v.get(key) != value for key, value in fields.items()):
            wrong += 1
            print(f"{path.name}: made {expect} {fields}")
        counts[v["kind"]] = counts.get(v["kind"], 0) + 1
    made = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    print(made, f"agree, {wrong} do not" if wrong else "agree")
    sys.exit(wrong != 0 or set(counts) != {"ack", "hop", "keys", "service", "session"})


if __name__ == "__main__":
    main()
