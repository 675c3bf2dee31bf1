"""A server's view of datagrams, written from docs/protocol.md alone: sections 6, 7, 9 and 10.

It has nothing in memory, and looks at no clock.
"""

import ipaddress

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from client import X25519, Expand, Extract, H, Pair, Refused, host, sshsig

P = 2**255 - 19


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


# Section 10, checks 0 to 7 for one live epoch and the ports of its stages.
def locate(pair, epoch, ports, datagram, to_port):
    """The stage, by tag and port."""
    if not 144 <= len(datagram) <= 1232:
        raise Refused("length")
    stages = [i for i in range(8) if pair.tag(epoch, i) == datagram[:8]]
    if not stages:
        raise Refused("tag")
    if ports[stages[0] : stages[0] + 1] != [to_port]:
        raise Refused("port")
    return stages[0]


class Opened:
    """One authentic datagram; `text` is the same in all stages of a session."""

    def __init__(self, pair, sk_S, epoch, ports, stage, datagram, kem):
        if pair.mac(datagram) != datagram[8:16]:
            raise Refused("mac")
        self.pair, self.sk_S = pair, sk_S
        self.E = pair.masked(datagram[16:48], datagram)
        self.eh = H(self.E)
        self.prk, self.k_ack, self.k_conf = pair.session_keys(self.eh, X25519(sk_S, self.E))
        box = pair.box(self.prk, self.eh, epoch, stage, ports[stage])
        try:
            text = ChaCha20Poly1305(box).decrypt(bytes(12), datagram[48:], None)
        except InvalidTag:
            raise Refused("aead") from None
        self.body = body = Body(text[:16])
        has_kem = body.has(6)
        if has_kem and (not kem or len(ports) < 2):
            raise Refused("flags")
        self.piece = -(-1184 // len(ports)) if has_kem else 0
        end = 80 + body.ext_len
        if len(text) < end + self.piece:
            raise Refused("ext")
        self.text, self.ext = text[:end], text[80:end]
        self.fragment = text[end : end + self.piece]
        # The last pieces hold less than F bytes of the key, or nothing.
        used = 1184 - stage * self.piece if has_kem else 0
        if any(text[end + self.piece :]) or any(self.fragment[max(used, 0) :]):
            raise Refused("padding")
        body.read_extension(self.ext)
        if body.ts // 60000 != epoch:
            raise Refused("epoch")
        signed = self.ext[:-5] if body.has(3) else self.ext
        frame = sshsig(b"spa-v2", pair.ctx + self.eh + body.raw + signed)
        if body.has(3) != pair.security_key or not verify(
            pair.pk_C, body.touch, frame, text[16:80]
        ):
            raise Refused("signature")

    def new_pair(self, psk=bytes(32)):
        """Section 9: the pair that the request asks for, with this psk."""
        body, pk, X = self.body, self.body.keys[:32], self.body.keys[32:]
        return Pair(pk, X, body.has(4), psk, self.pair.pk_S, X25519(self.sk_S, X))

    def check_new_keys(self, ek=b""):
        """Whether the new keys are others, and proved; then whether `ek` is a key."""
        old, new, body = self.pair, self.new_pair(), self.body
        if new.ctx == old.ctx:
            raise Refused("same")
        p = Expand(Extract(old.psk, new.ss), b"SPA/2 new proof" + new.ctx + self.eh, 32)
        said = new.ctx + old.ctx + self.eh + body.raw + p + body.share
        said += (H(ek) if ek else bytes(32)) + (self.ext[:16] if body.has(1) else bytes(16))
        if not verify(new.pk_C, body.proof_touch, sshsig(b"spa-v2-new", said), body.proof):
            raise Refused("proof")
        # FIPS 203, section 7.2: 768 coefficients of 12 bits, each below q.
        bits = number(ek[:1152][::-1])
        if any(bits >> 12 * i & 0xFFF >= 3329 for i in range(768)):
            raise Refused("kem")

    def new_psk(self, ks):
        made = b"SPA/2 new psk" + self.pair.cid + self.new_pair().cid
        return Expand(Extract(self.pair.psk, self.body.share + ks), made, 32)


def receive(pair, sk_S, epoch, ports, datagram, to_port):
    """A stage packet as a server without `kem` and with nothing in memory takes it."""
    stage = locate(pair, epoch, ports, datagram, to_port)
    opened = Opened(pair, sk_S, epoch, ports, stage, datagram, kem=False)
    if opened.body.brings_keys:
        opened.check_new_keys()
    return opened.body


def receive_all(pair, sk_S, epoch, ports, datagrams):
    """All stages of an ENROL or REKEY with `kem`."""
    all_opened = [
        Opened(pair, sk_S, epoch, ports, stage, datagram, kem=True)
        for stage, datagram in enumerate(datagrams)
    ]
    if any(one.text != all_opened[0].text for one in all_opened):
        raise Refused("other text")
    ek = b"".join(one.fragment for one in all_opened)[:1184]
    all_opened[0].check_new_keys(ek)
    return all_opened[0], ek
