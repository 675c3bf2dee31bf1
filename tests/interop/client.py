#!/usr/bin/env python3
"""A second SPA/1 client, written from docs/protocol.md alone: it shares no code and no crypto library with the first.

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
OPS = {"open": 0, "renew": 1, "close": 2}
STATUS = ["granted", "denied", "stale", "busy"]
REASON = ["none", "service", "expired", "hours", "from", "ttl", "max-grants", "banned", "firewall", "store",
          "past", "future", "fence", "floor", "address"]


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


# Section 4: keys.
class Client:
    def __init__(self, seed, psk, pk_S):
        prk = Extract(b"SPA/1 client", seed)
        self.sk_C = Expand(prk, b"SPA/1 client Ed25519", 32)
        self.x_C = Expand(prk, b"SPA/1 client X25519", 32)
        self.signer = Ed25519PrivateKey.from_private_bytes(self.sk_C)
        self.pk_C, self.X_C, self.pk_S = self.signer.public_key().public_bytes_raw(), X25519(self.x_C), pk_S
        self.ctx = H(lp(SUITE) + lp(pk_S) + lp(self.pk_C) + lp(self.X_C))
        self.k_gate = Extract(b"SPA/1 gate", psk)
        gate = Expand(self.k_gate, b"SPA/1 gate" + self.ctx, 96)
        self.k_tag, self.k_mac, self.k_hp = gate[:32], gate[32:64], gate[64:]
        self.ss = X25519(self.x_C, pk_S)
        self.k_pair = Extract(psk, self.ss)
        self.k_cs = Expand(self.k_pair, b"SPA/1 pair" + self.ctx, 32)


# Sections 5 to 8: one session and its packets.
class Session:
    def __init__(self, client, e, ts=0, service=0, ttl=0, op=0, want_ack=False, bind=None, ports=(1,), padding=()):
        if not 1 <= len(ports) <= 8:
            raise Refused("stages")
        if any(p > 1088 for p in padding):
            raise Refused("padding")
        c, epoch, E = client, ts // 60000, X25519(e)
        eh = H(E)
        self.sid = eh[:16]
        prk = Extract(c.k_cs, X25519(e, c.pk_S))
        self.k_ack = Expand(prk, b"SPA/1 ack" + c.ctx + eh, 32)
        body = u(ts, 8) + u(service, 2) + u(ttl, 2) + u(op, 1) + u(want_ack + 2 * (bind is not None), 1) + u(0, 2)
        src16 = bytes(16)
        if bind is not None:
            src16 = bind.packed if bind.version == 6 else bytes(10) + b"\xff\xff" + bind.packed
        digest = H(c.ctx + eh + body + src16)
        sig = c.signer.sign(b"SSHSIG" + lp(b"spa-v1") + lp(b"") + lp(b"sha256") + lp(digest))
        self.packets = []
        for i, port in enumerate(ports):
            p = padding[i] if i < len(padding) else 0
            k_box = Expand(prk, b"SPA/1 box" + c.ctx + eh + u(epoch, 8) + u(i, 1) + u(port, 2), 32)
            sealed = ChaCha20Poly1305(k_box).encrypt(bytes(12), body + sig + bytes(p), None)
            rest = bytes(a ^ b for a, b in zip(E, HMAC(c.k_hp, sealed[-16:]))) + sealed
            tag = HMAC(c.k_tag, u(epoch, 8) + u(i, 1))[:8]
            self.packets.append(tag + HMAC(c.k_mac, tag + rest)[:8] + rest)

    # Section 12: ack.
    def open_ack(self, ack):
        if len(ack) != 60:
            raise Refused
        try:
            plain = ChaCha20Poly1305(self.k_ack).decrypt(ack[:12], ack[12:], b"SPA/1 ack")
        except InvalidTag:
            raise Refused from None
        if plain[0] >= len(STATUS) or plain[1] >= len(REASON) or plain[30:] != bytes(2):
            raise Refused
        number = lambda a, b: int.from_bytes(plain[a:b], "big")
        ip = ipaddress.IPv6Address(plain[12:28])
        host = f"[{ip}]" if ip.ipv4_mapped is None else str(ip.ipv4_mapped)
        return (f"{STATUS[plain[0]]} {REASON[plain[1]]} {number(2, 4)} {number(4, 12)} {host}:{number(28, 30)}")


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
    pk_S = bytes.fromhex(v["pk_S"]) if "server-secret" not in v else X25519(bytes.fromhex(v["server-secret"]))
    return Client(bytes.fromhex(v["client-seed"]), bytes.fromhex(v["psk"]), pk_S)


def numbers(text):
    return [int(n) for n in text.split(",") if n]


def made_from(v):
    """What this client makes of a vector: the expect line, and the fields that the vector must also have."""
    kind = v["kind"]
    if kind == "keys":
        made = vars(pair(v))
        return "derived", {k: x.hex() for k, x in made.items() if isinstance(x, bytes)}
    if kind == "session":
        bind = None if v["bind-src"] == "none" else ipaddress.ip_address(v["bind-src"])
        session = Session(pair(v), bytes.fromhex(v["ephemeral"]), int(v["ts-ms"]), int(v["service"]), int(v["ttl-s"]),
                          OPS[v["op"]], v["want-ack"] == "true", bind, numbers(v["ports"]), numbers(v["padding"]))
        packets = {f"packet-{i}": p.hex() for i, p in enumerate(session.packets)}
        return "packets", {"sid": session.sid.hex(), **packets}
    if kind == "ack":
        session = Session(pair(v), bytes.fromhex(v["ephemeral"]))
        return session.open_ack(bytes.fromhex(v["ack"])), {}
    if kind == "hop":
        exclude = [tuple(int(p) for p in r.split("-")) for r in v["exclude"].split(",") if r]
        ports = hop(bytes.fromhex(v["hop-key"]), int(v["lo"]), int(v["hi"]), int(v["stages"]), exclude, int(v["hop-epoch"]))
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
    print(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())), f"agree, {wrong} do not" if wrong else "agree")
    sys.exit(wrong != 0 or set(counts) != {"ack", "hop", "keys", "service", "session"})


if __name__ == "__main__":
    main()
