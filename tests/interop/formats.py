"""Text forms, written from docs/formats.md alone: Bech32m, public keys, enrolment lines."""

from types import SimpleNamespace

from client import H, Refused, u

LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
BECH32M = 0x2BC830A3  # BIP 350
SK_NAME = b"sk-ssh-ed25519@openssh.com"
HOST, INVITATION = "spa-host-", "spa-invitation-"


def remainder(prefix, values):
    """BIP 173: the polynomial's remainder over prefix and five-bit values."""
    check = 1
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    for value in expanded + values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator * (top >> i & 1)
    return check


def to_text(prefix, data):
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)]
    check = remainder(prefix, values + [0] * 6) ^ BECH32M
    values += [check >> 5 * (5 - i) & 31 for i in range(6)]
    return prefix + "1" + "".join(LETTERS[value] for value in values)


def from_text(text):
    """Prefix in small letters, and the bytes."""
    text = text.strip()
    if text not in (text.lower(), text.upper()) or len(text) > 1023:
        raise Refused("text")
    prefix, _, data = text.lower().rpartition("1")
    values = [LETTERS.index(c) for c in data]
    if remainder(prefix, values) != BECH32M:
        raise Refused("checksum")
    bits = "".join(f"{value:05b}" for value in values[:-6])
    filled = len(bits) % 8
    if filled >= 5 or "1" in bits[len(bits) - filled :]:
        raise Refused("filling")
    return prefix, bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - filled, 8))


def public_text(pk, X, security_key=False):
    return to_text("spask" if security_key else "spa", pk + X)


def read_public(text):
    """pk_C, X_C, and whether pk_C is in a security key."""
    prefix, data = from_text(text)
    if prefix not in ("spa", "spask") or len(data) != 64:
        raise Refused("public key")
    return data[:32], data[32:], prefix == "spask"


def check_of(pk, X, security_key):
    return H(pk + X + (SK_NAME if security_key else b""))[:8]


def line_text(line, prefix):
    """An enrolment line or invitation; `line` has what `read_line` gives."""
    counted = lambda items: u(len(items), 1) + b"".join(items)
    text = lambda x: u(len(x), 1) + x.encode()
    flags = line.acks | bool(line.hop) << 1 | line.kem << 2
    data = b"\2" + line.pk_S + line.check + line.secret + u(flags, 1) + text(line.name)
    data += counted([text(host) for host in line.hosts])
    if line.hop:
        k_hop, lo, hi, stages, excluded = line.hop
        data += k_hop + u(lo, 2) + u(hi, 2) + u(stages, 1)
        data += counted([u(a, 2) + u(b, 2) for a, b in excluded])
    else:
        data += counted([u(port, 2) for port in line.ports])
    data += counted([text(name) + u(proto, 1) + u(port, 2) for name, proto, port in line.services])
    return to_text(prefix, data).upper()


def read_line(text):
    prefix, data = from_text(text)
    if prefix not in (HOST, INVITATION):
        raise Refused("line")
    line = SimpleNamespace(invitation=prefix == INVITATION, hop=None, ports=None)
    at = 0

    def take(size):
        nonlocal at
        if at + size > len(data):
            raise Refused("end")
        at += size
        return data[at - size : at]

    number = lambda size: int.from_bytes(take(size), "big")
    name = lambda: take(number(1)).decode()
    if number(1) != 2:
        raise Refused("version")
    line.pk_S, line.check, line.secret, flags = take(32), take(8), take(32), number(1)
    if flags > 7:
        raise Refused("flags")
    line.acks, line.kem = bool(flags & 1), bool(flags & 4)
    line.name, line.hosts = name(), [name() for _ in range(number(1))]
    if flags & 2:
        line.hop = (take(32), number(2), number(2), number(1))
        line.hop += ([(number(2), number(2)) for _ in range(number(1))],)
    else:
        line.ports = [number(2) for _ in range(number(1))]
    line.services = [(name(), number(1), number(2)) for _ in range(number(1))]
    if at != len(data):
        raise Refused("end")
    return line
