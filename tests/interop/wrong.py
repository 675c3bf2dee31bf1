"""Requests with one thing wrong, and what docs/protocol.md has the server say to each."""

import ipaddress
import os

from client import Client, Refused, addr16, u
from knock import now

L = 2**252 + 27742317777372353535851937790883648493  # order of Ed25519
TOUCH = b"\1\0\0\0\1"


def flip(x, at=0):
    return put(x, at, bytes([x[at] ^ 1]))


def put(x, at, new):
    at %= len(x)
    return x[:at] + new + x[at + len(new) :]


def flags(mask):
    return lambda body: put(body, 13, bytes([body[13] ^ mask]))


def too_large(sig):
    return sig[:32] + (int.from_bytes(sig[32:], "little") + L).to_bytes(32, "little")


def with_touch(body):
    return put(flags(8)(body), 14, u(5, 2))


def address(text):
    return ipaddress.ip_address(text)


# Name, answer, session, alterations. Without an answer the server is silent (section 10).
def requests(knocker, service):
    v4 = knocker.address.version == 4
    other, group = ("192.0.2.77", "224.0.0.1") if v4 else ("2001:db8:1::77", "ff02::1")
    opening = {"op": "open", "service": service}
    closing = {"op": "close", "service": service}
    rekey = lambda **more: {"op": "rekey", "new": fresh(knocker), **more}
    nothing = {"nothing": None}
    return [
        ("tag", None, opening, {"packet": lambda p, i: flip(p)}),
        ("mac", None, opening, {"packet": lambda p, i: flip(p, 8)}),
        ("end", None, opening, {"packet": lambda p, i: flip(p, -1)}),
        ("tag of another stage", None, opening, {"stage": lambda i: i ^ 1}),
        ("tag of the next hour", None, {**opening, "epoch": now() // 60_000 + 60}, nothing),
        ("another E", None, opening, {"E": flip}),
        ("E of small order", None, opening, {"E": lambda E: bytes(32)}),
        ("sealed for another port", None, opening, {"box port": lambda port, i: port ^ 1}),
        ("longer than a datagram", None, {**opening, "padding": [897] * 8}, nothing),
        ("of another minute", None, {**opening, "epoch": now() // 60_000 - 1}, nothing),
        ("op 5", None, opening, {"body": lambda b: put(b, 12, b"\5")}),
        ("flag 7", None, opening, {"body": flags(0x80)}),
        ("OPEN for all", None, opening, {"body": flags(0x20)}),
        ("OPEN with kem", None, opening, {"body": flags(0x40)}),
        ("OPEN with a touch of new keys", None, opening, {"body": flags(0x10)}),
        ("extension too long", None, opening, {"body": lambda b: put(b, 14, u(1, 2))}),
        ("CLOSE of nothing", None, closing, nothing),
        ("CLOSE of one and of all", None,
         {**closing, "for_addr": address(other), "close_all": True}, nothing),
        ("REKEY for a service", None, rekey(service=service), nothing),
        ("REKEY for a time", None, rekey(ttl=1), nothing),
        ("source of a group", None, {**opening, "bind": address(group)}, nothing),
        ("source of nobody", None, {**opening, "bind": address("::")}, nothing),
        ("for a broadcast", None, {**opening, "for_addr": address("255.255.255.255")}, nothing),
        ("source of another", None, {**opening, "bind": address(other)}, nothing),
        ("touch without a security key", None, opening,
         {"body": with_touch, "text": lambda t, i: t + TOUCH}),
        ("padding", None, opening, {"plain": lambda p, i: flip(p, -1)}),
        ("signature", None, opening, {"sig": flip}),
        ("S above L", None, opening, {"sig": too_large}),
        ("another namespace", None, opening, {"frame": lambda f: f.replace(b"spa-v2", b"spa-v1")}),
        ("signed for another session", None, opening, {"message": lambda m: flip(m, 32)}),
        ("another text in the last stage", None, opening,
         {"text": lambda t, i: flip(t, 7) if i else t}),
        ("past", "stale past", {**opening, "ts": now() - 40_000}, {}),
        ("future", "stale future", {**opening, "ts": now() + 20_000}, {}),
        ("no service", "denied service", {"op": "open", "service": "nowhere"}, {}),
        ("ttl", "denied ttl", {**opening, "ttl": 65_535}, {}),
        ("for another", "denied for-addr", {**opening, "for_addr": address(other)}, {}),
        ("ENROL by a client", "denied op", {"op": "enrol", "new": fresh(knocker)}, {}),
        ("the same keys", "denied new-keys", {"op": "rekey", "new": knocker.pair()}, {}),
        ("proof", "denied new-keys", rekey(), {"said": flip}),
        ("share", "denied new-keys", rekey(), {"ext": lambda ext: flip(ext, 64)}),
        ("X' of small order", "denied new-keys", rekey(),
         {"ext": lambda ext: put(ext, 32, bytes(32))}),
        ("pk' not canonical", None, rekey(), {"ext": lambda ext: put(ext, 0, b"\xff" * 32)}),
        ("a coefficient of q", "denied new-keys", rekey(kem=True),
         {"ek": lambda ek: put(ek, 0, b"\x01\x0d")}),
        ("ek not proved", "denied new-keys", rekey(kem=True),
         {"plain": lambda p, i: flip(p, 240) if i == 0 else p}),
        ("behind ek", None, rekey(kem=True), {"plain": lambda p, i: flip(p, -1)}),
        ("without the end of ek", None, rekey(kem=True), {"plain": lambda p, i: p[:300]}),
    ]


# Number with reserved bytes, address, and how it is sealed; none is answered.
def confirms(session, own):
    group = addr16(address("224.0.0.1" if own.version == 4 else "ff02::1"))
    other = address("192.0.2.78" if own.version == 4 else "2001:db8:c::78")
    return [
        ("number 0", session.confirm(0, own)),
        ("number 9", session.confirm(9, own)),
        ("reserved", session.confirm(b"\1\0\0\0\0\0\0\1", own)),
        ("another address", session.confirm(1, other)),
        ("group", session.confirm(1, group)),
        ("behind the address", session.confirm(1, own, 0)[:-1]),
        ("key", session.confirm(1, own, key=session.k_ack)),
        ("purpose", session.confirm(1, own, aad=b"SPA/2 ack")),
        ("stage", session.confirm(1, own, stage=0)),
        ("mac", flip(session.confirm(1, own), 8)),
        ("short", session.confirm(1, own, padding=-1)),
        ("long", session.confirm(1, own, padding=897)),
    ]


def fresh(knocker):
    return Client(os.urandom(32), bytes(32), knocker.keys[0][0])


def told_to(knocker, sessions):
    """Answers to these sessions that come before that to a last one: the server keeps the order."""
    marker = knocker.session("open", "nowhere")
    knocker.send_all(marker)
    told = {}
    while True:
        datagram = knocker.socket.recv(2048)
        for name, session in [("", marker), *sessions]:
            try:
                session.open_ack(datagram)
                told.setdefault(name, []).append(session.told)
            except Refused:
                continue
        if "" in told:
            return told


def try_all(knocker, service):
    knocker.socket.settimeout(10)
    for name, expected, session, alter in requests(knocker, service):
        session = knocker.session(**session, alter=alter)
        knocker.send_all(session)
        told = told_to(knocker, [(name, session)]).get(name)
        said = told and f"{told[0].status} {told[0].reason}"
        if said != expected:
            return f"{name}: {said}, not {expected}"
    session = knocker.session("open", service)
    told, _ = knocker.exchange(session)
    if not told or not told.provisional:
        return "the right one does not open"
    for name, packet in confirms(session, told.seen):
        knocker.send(session.ports[-1], packet)
        if "confirm" in told_to(knocker, [("confirm", session)]):
            return f"CONFIRM, {name}: answered"
    confirm = session.confirm(1, told.seen)
    knocker.send(session.ports[-1], confirm)
    told = knocker.confirmed(session, confirm, 1)
    return f"all refused, then {told.status} {told.ttl}" if told else "the right CONFIRM: silence"
