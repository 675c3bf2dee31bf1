"""A second SPA/2 client, written from docs/protocol.md alone.

It shares no code and no crypto library with the first.
"""

import hashlib
import hmac as hmac_module
import ipaddress
from types import SimpleNamespace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

SUITE = b"SPA/2 s1 X25519 Ed25519 ChaCha20Poly1305 SHA256"
STATUS = ["granted", "denied", "stale", "busy"]
SECURITY_KEY = b"\0\0\0\x1ask-ssh-ed25519@openssh.com" + b"\0\0\0\x04ssh:"
REASON = [
    "none",
    "service",
    "expired",
    "hours",
    "from",
    "ttl",
    "max-grants",
    "banned",
    "firewall",
    "store",
    "past",
    "future",
    "fence",
    "floor",
    "op",
    "for-addr",
    "new-keys",
    "kind",
]


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


def host(address):
    """The address in its canonical form, if a single host can have it."""
    if address is None:
        return None
    address = address.ipv4_mapped or address if address.version == 6 else address
    if address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
        raise Refused("address")
    return address


def host_or_not(packed):
    address = ipaddress.IPv6Address(packed)
    return address.ipv4_mapped or address


def bracketed(address):
    return str(address) if address.version == 4 else f"[{address}]"


def seal(k, aad, plain):
    n = HMAC(k[32:], aad + plain)[:12]
    return n + ChaCha20Poly1305(k[:32]).encrypt(n, plain, aad)


def unseal(k, aad, sealed):
    try:
        return ChaCha20Poly1305(k[:32]).decrypt(sealed[:12], sealed[12:], aad)
    except (InvalidTag, ValueError):
        return None


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
class Pair:
    """What both sides of a pair have."""

    def __init__(self, pk_C, X_C, security_key, psk, pk_S, ss):
        self.pk_C, self.X_C, self.psk, self.pk_S, self.ss = pk_C, X_C, psk, pk_S, ss
        self.security_key = security_key
        keys = lp(pk_C) + lp(X_C) + (SECURITY_KEY if security_key else b"")
        self.ctx = H(lp(SUITE) + lp(pk_S) + keys)
        self.cid = H(lp(b"SPA/2 client") + keys)
        self.k_tag = Expand(Extract(b"SPA/2 tag", psk), b"SPA/2 tag" + self.ctx, 32)
        self.k_pair = Extract(psk, ss)
        pair = Expand(self.k_pair, b"SPA/2 pair" + self.ctx, 96)
        self.k_cs, self.k_mac, self.k_hp = pair[:32], pair[32:64], pair[64:]

    # Section 8: what lies around the seal of a stage packet and of a CONFIRM.
    def tag(self, epoch, stage):
        return HMAC(self.k_tag, u(epoch, 8) + u(stage, 1))[:8]

    def mac(self, datagram):
        return HMAC(self.k_mac, datagram[:8] + datagram[16:])[:8]

    def masked(self, E, sealed):
        return bytes(a ^ b for a, b in zip(E, HMAC(self.k_hp, sealed[-16:])))

    def wrap(self, epoch, stage, E, sealed):
        datagram = self.tag(epoch, stage) + bytes(8) + self.masked(E, sealed) + sealed
        return datagram[:8] + self.mac(datagram) + datagram[16:]

    def session_keys(self, eh, es):
        """Section 5: prk, k_ack, k_conf."""
        prk = Extract(self.k_cs, es)
        made = [Expand(prk, b"SPA/2 " + what + self.ctx + eh, 64) for what in (b"ack", b"confirm")]
        return prk, *made

    def box(self, prk, eh, epoch, stage, port):
        place = u(epoch, 8) + u(stage, 1) + u(port, 2)
        return Expand(prk, b"SPA/2 box" + self.ctx + eh + place, 32)


class Client(Pair):
    def __init__(self, seed, psk, pk_S, token=None):
        self._prk = Extract(b"SPA/1 client", seed)
        self.sk_C = Expand(self._prk, b"SPA/1 client Ed25519", 32)
        self.x_C = Expand(self._prk, b"SPA/1 client X25519", 32)
        self.k_hedge = Expand(self._prk, b"SPA/2 client hedge", 32)
        self.signer = token or Signer(self.sk_C)
        ss = X25519(self.x_C, pk_S)
        super().__init__(
            self.signer.public, X25519(self.x_C), self.signer.flag, psk, pk_S, ss
        )


# Section 8: what a CONFIRM says.
def read_confirm(plain):
    if plain is None or not 1 <= plain[0] <= 8 or any(plain[1:8]) or any(plain[24:]):
        raise Refused("inside")
    try:
        return plain[0], host(ipaddress.IPv6Address(plain[8:24]))
    except Refused:
        raise Refused("inside") from None


# Sections 5 to 8: one session and its packets.
class Session:
    def __init__(
        self,
        client,
        e=None,
        ts=0,
        service=0,
        ttl=0,
        op=0,
        want_ack=False,
        bind=None,
        ports=(1,),
        padding=(),
        for_addr=None,
        close_all=False,
        new=None,
        random=None,
        kem=False,
        epoch=None,
        alter=None,
    ):
        alter = alter or {}
        change = lambda name, value, *at: alter.get(name, lambda value, *_: value)(value, *at)
        if not alter:  # Whoever alters something means to send what no client may.
            bind, for_addr = self.checked(
                service, ttl, op, want_ack, bind, ports, padding, for_addr, close_all, new, kem
            )
        c, self.epoch, self.stages = client, epoch or ts // 60000, len(ports)
        padding = (list(padding) + [0] * 8)[: len(ports)]
        if kem:
            padding = [896] * len(ports)
        new_token = new is not None and new.signer.flag
        flags = (
            want_ack,
            bind is not None,
            for_addr is not None,
            c.signer.flag,
            new_token,
            close_all,
            kem,
        )
        ext_len = 16 * (flags[1] + flags[2]) + 160 * (op >= 3) + 5 * new_token + 5 * c.signer.flag
        body = (
            u(ts, 8)
            + u(service, 2)
            + u(ttl, 2)
            + u(op, 1)
            + u(sum(flag << bit for bit, flag in enumerate(flags)), 1)
            + u(ext_len, 2)
        )
        sources = [b"" if a is None else addr16(a) for a in (bind, for_addr)]
        if e is None:  # Section 5: the hedged ephemeral secret.
            w = body + lp(sources[0]) + lp(sources[1]) + lp(new.pk_C + new.X_C if new else b"")
            w += b"".join(u(port, 2) + u(336 + p, 2) for port, p in zip(ports, padding))
            e = Expand(Extract(b"SPA/2 ephemeral", random + c.k_hedge), c.ctx + H(w), 32)
        body = change("body", body)
        self.client, self.E = c, X25519(e)
        eh = H(self.E)
        self.sid, self.pk_S = eh[:16], c.pk_S
        prk, self.k_ack, self.k_conf = c.session_keys(eh, X25519(e, c.pk_S))
        ext, ek = b"".join(sources), b""
        if new is not None:  # Section 9: `new` was made with the psk of the old pair.
            r = Expand(new._prk, b"SPA/2 client share" + H(c.psk), 32)
            made = b"SPA/2 new psk" + c.cid + new.cid
            self.psk_by = lambda ks: Expand(Extract(c.psk, r + ks), made, 32)
            dz = Expand(new._prk, b"SPA/2 client ML-KEM" + H(c.psk), 64)
            self.dk = MLKEM768PrivateKey.from_seed_bytes(dz)
            if kem:
                ek = change("ek", self.dk.public_key().public_bytes_raw())
            p = Expand(Extract(c.psk, new.ss), b"SPA/2 new proof" + new.ctx + eh, 32)
            said = new.ctx + c.ctx + eh + body + p + r
            said += (H(ek) if kem else bytes(32)) + (sources[0] or bytes(16))
            said = sshsig(b"spa-v2-new", change("said", said))
            ext += new.pk_C + new.X_C + r + b"".join(new.signer.sign(said))
        ext = change("ext", ext)
        message = change("message", c.ctx + eh + body + ext)
        sig, touch = c.signer.sign(change("frame", sshsig(b"spa-v2", message)))
        text = body + change("sig", sig) + ext + touch
        size = -(-1184 // len(ports))
        self.packets = []
        for i, (port, p) in enumerate(zip(ports, padding)):
            k_box = c.box(prk, eh, self.epoch, i, change("box port", port, i))
            plain = change("text", text, i) + ek[i * size : (i + 1) * size]
            plain = change("plain", plain.ljust(272 + p, b"\0"), i)
            sealed = ChaCha20Poly1305(k_box).encrypt(bytes(12), plain, None)
            packet = c.wrap(self.epoch, change("stage", i), change("E", self.E), sealed)
            self.packets.append(change("packet", packet, i))

    @staticmethod
    def checked(service, ttl, op, want_ack, bind, ports, padding, for_addr, close_all, new, kem):
        """Refuses what no client may ask for."""
        bind, for_addr = host(bind), host(for_addr)
        if op >= 3 and for_addr is not None:
            raise Refused("address")
        if close_all and (op != 2 or for_addr is not None):
            raise Refused("close")
        if op == 2 and not close_all and for_addr is None and bind is None:
            raise Refused("close")
        if (op >= 3) != (new is not None) or op >= 3 and (service or ttl):
            raise Refused("new-keys")
        if not 1 <= len(ports) <= 8:
            raise Refused("stages")
        if any(p > 896 for p in padding):
            raise Refused("padding")
        if kem and (len(ports) < 2 or not want_ack):
            raise Refused("kem")
        return bind, for_addr

    # Section 8: CONFIRM.
    def confirm(self, number, address, padding=0, key=None, aad=b"SPA/2 confirm", stage=None):
        address = address if isinstance(address, bytes) else addr16(host(address))
        plain = number if isinstance(number, bytes) else u(number, 1) + bytes(7)
        sealed = seal(key or self.k_conf, aad, plain + address + bytes(236 + padding))
        stage = self.stages - 1 if stage is None else stage
        return self.client.wrap(self.epoch, stage, self.E, sealed)

    def open_confirm(self, datagram):
        """Number and address, as a server reads them: all that a CONFIRM needs is symmetric."""
        if not 336 <= len(datagram) <= 1232:
            raise Refused("length")
        if datagram[:8] != self.client.tag(self.epoch, self.stages - 1):
            raise Refused("tag")
        if self.client.mac(datagram) != datagram[8:16]:
            raise Refused("mac")
        if self.client.masked(self.E, datagram) != datagram[16:48]:
            raise Refused("session")
        return read_confirm(unseal(self.k_conf, b"SPA/2 confirm", datagram[48:]))

    # Section 12: the answer.
    def open_ack(self, ack):
        plain = unseal(self.k_ack, b"SPA/2 ack", ack) if len(ack) in (60, 124, 1148, 1212) else None
        if plain is None or plain[0] >= len(STATUS) or plain[1] >= len(REASON) or plain[30] > 8:
            raise Refused
        provisional, keys, ct, rekey = (plain[31] >> bit & 1 for bit in range(4))
        if (
            (plain[0] == 0) != (plain[1] == 0)
            or plain[0]
            and provisional
            or len(plain) != 32 + 64 * keys + 1088 * ct
        ):
            raise Refused
        number = lambda a, b: int.from_bytes(plain[a:b], "big")
        told = SimpleNamespace(status=STATUS[plain[0]], reason=REASON[plain[1]])
        told.ttl, told.server_ms, told.number = number(2, 4), number(4, 12), plain[30]
        told.provisional, told.rekey, told.key = bool(provisional), bool(rekey), None
        told.seen = host_or_not(plain[12:28])
        text = f"{told.status} {told.reason} {told.ttl} {told.server_ms}"
        text += f" {bracketed(told.seen)}:{number(28, 30)} number {told.number}"
        text += " provisional" * provisional + " rekey" * rekey
        if keys:
            told.key = self.keys_told(plain[32:64], plain[64:96])
            hop_key = told.key and (told.key[1].hex() if told.key[1] else "none")
            text += f" key {told.key[0].hex()} hop {hop_key}" if told.key else " key ignored"
        if ct:
            self.ct = plain[-1088:]
        self.told = told
        return text

    def keys_told(self, pk_S, k_hop):
        """The server's present keys, when the session came by its previous one."""
        try:
            X25519(bytes(range(32)), pk_S)
        except Refused:
            return None
        if pk_S == self.pk_S or int.from_bytes(pk_S, "little") >= 2**255 - 19:
            return None
        return pk_S, None if k_hop == bytes(32) else k_hop


# Section 6: service numbers. Section 13: port hopping.
def service_id(name):
    return int.from_bytes(H(b"SPA/2 service" + name.encode())[:2], "big")


def hop(k_hop, lo, hi, stages, exclude, hop_epoch):
    allowed = [p for p in range(lo, hi + 1) if p != 0 and not any(a <= p <= b for a, b in exclude)]
    if not 1 <= stages <= 8 or len(allowed) < 64 or any(a > b for a, b in exclude):
        raise Refused
    allowed, ports = set(allowed), []
    for i in range(stages):
        for ctr in range(65536):
            out = HMAC(k_hop, b"SPA/2 hop" + u(hop_epoch, 8) + u(i, 1) + u(ctr, 4))
            port = lo + int.from_bytes(out[:8], "big") % (hi - lo + 1)
            if port in allowed - set(ports):
                break
        else:
            port = min(allowed - set(ports))
        ports.append(port)
    return ports
