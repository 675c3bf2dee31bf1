"""A server's view of one datagram, written from docs/protocol.md alone: sections 6, 7, 9 and 10.

It has one client and nothing in memory, and looks at no clock.
"""

import ipaddress

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from client import HMAC, SUITE, X25519, Expand, Extract, H, Refused, host, lp, sshsig, u

P = 2**255 - 19
SK = lp(b"sk-ssh-ed25519@openssh.com") + lp(b"ssh:")


def number(x):
    return int.from_bytes(x, "big")


def verify(public, touch, frame, signature):
    signed = frame if touch is None else H(b"ssh:") + touch + H(frame)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


# Section 6: the head decides which parts an extension has.
class Body:
    def __init__(self, raw):
        if len(raw) != 16:
            raise Refused("length")
        self.raw, self.ts = raw, number(raw[:8])
        self.service, self.ttl = number(raw[8:10]), number(raw[10:12])
        self.op, self.flags, ext_len = raw[12], raw[13], number(raw[14:])
        if self.op > 4:
            raise Refused("op")
        self.brings_keys = self.op >= 3
        known = {0: 0x0F, 1: 0x0F, 2: 0x2F, 3: 0x5B, 4: 0x5B}[self.op]
        one_address, every_address = self.has(2), self.has(5)
        if self.flags & ~known or one_address and every_address:
            raise Refused("flags")
        if self.op == 2 and not (one_address or every_address or self.has(1)):
            raise Refused("flags")
        # Name, length, whether it is there: in the order of the extension.
        parts = [
            ("source", 16, self.has(1)),
            ("address", 16, self.has(2)),
            ("keys", 64, self.brings_keys),
            ("share", 32, self.brings_keys),
            ("proof", 64, self.brings_keys),
            ("proof_touch", 5, self.has(4)),
            ("touch", 5, self.has(3)),
        ]
        self.parts = [(name, length) for name, length, there in parts if there]
        self.ext_len = sum(length for _, length in self.parts)
        if ext_len != self.ext_len:
            raise Refused("ext")
        if self.brings_keys and (self.service or self.ttl):
            raise Refused("unused")

    def has(self, bit):
        return bool(self.flags >> bit & 1)

    def read_extension(self, ext):
        if len(ext) != self.ext_len:
            raise Refused("length")
        self.source = self.address = self.touch = self.proof_touch = None
        for name, length in self.parts:
            value, ext = ext[:length], ext[length:]
            if name in ("source", "address"):
                value = host(ipaddress.IPv6Address(value))
            if name == "keys":
                pk, X = (int.from_bytes(half, "little") for half in (value[:32], value[32:]))
                if pk % 2**255 >= P or X >= P:
                    raise Refused("keys")
            if name in ("touch", "proof_touch") and (value[0] & 0x01 == 0 or value[0] & 0xE2):
                raise Refused("touch")
            setattr(self, name, value)


# Section 10, for one live epoch and the ports of its stages; `client` gives the pair's keys.
def receive(client, sk_S, epoch, ports, datagram, to_port):
    if not 144 <= len(datagram) <= 1232:
        raise Refused("length")
    stages = [i for i in range(8) if client.tag(epoch, i) == datagram[:8]]
    if not stages:
        raise Refused("tag")
    stage = stages[0]
    if ports[stage : stage + 1] != [to_port]:
        raise Refused("port")
    if HMAC(client.k_mac, datagram[:8] + datagram[16:])[:8] != datagram[8:16]:
        raise Refused("mac")
    E = client.masked(datagram[16:48], datagram)
    eh = H(E)
    prk = Extract(client.k_cs, X25519(sk_S, E))
    place = u(epoch, 8) + u(stage, 1) + u(to_port, 2)
    k_box = Expand(prk, b"SPA/2 box" + client.ctx + eh + place, 32)
    try:
        text = ChaCha20Poly1305(k_box).decrypt(bytes(12), datagram[48:], None)
    except InvalidTag:
        raise Refused("aead") from None
    body, sig, rest = Body(text[:16]), text[16:80], text[80:]
    if body.has(6):  # This server takes no `kem`.
        raise Refused("flags")
    if len(rest) < body.ext_len:
        raise Refused("ext")
    ext, padding = rest[: body.ext_len], rest[body.ext_len :]
    if any(padding):
        raise Refused("padding")
    body.read_extension(ext)
    if body.ts // 60000 != epoch:
        raise Refused("epoch")
    signed = ext[:-5] if body.has(3) else ext
    frame = sshsig(b"spa-v2", client.ctx + eh + body.raw + signed)
    if body.has(3) != client.signer.flag or not verify(client.pk_C, body.touch, frame, sig):
        raise Refused("signature")
    if body.brings_keys:
        check_new_keys(client, sk_S, body, eh, ext)
    return body


# Section 9, without `kem`.
def check_new_keys(client, sk_S, body, eh, ext):
    pk, X = body.keys[:32], body.keys[32:]
    kind = SK if body.has(4) else b""
    ctx = H(lp(SUITE) + lp(client.pk_S) + lp(pk) + lp(X) + kind)
    if ctx == client.ctx:
        raise Refused("same")
    p = Expand(Extract(client.psk, X25519(sk_S, X)), b"SPA/2 new proof" + ctx + eh, 32)
    said = ctx + client.ctx + eh + body.raw + p + body.share + bytes(32)
    said += ext[:16] if body.has(1) else bytes(16)
    if not verify(pk, body.proof_touch, sshsig(b"spa-v2-new", said), body.proof):
        raise Refused("proof")
