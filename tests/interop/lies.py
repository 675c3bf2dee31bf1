"""Answers that docs/protocol.md, section 12 and 15, has a client refuse: a service for each."""

import os

from client import H, seal

AAD = b"SPA/2 ack"


def put(plain, at, *values):
    return plain[:at] + bytes(values) + plain[at + len(values) :]


def flip(sealed, at):
    at %= len(sealed)
    return put(sealed, at, sealed[at] ^ 1)


# What is sealed.
PLAIN = {
    "status-4": lambda p: put(p, 0, 4),
    "reason-18": lambda p: put(p, 0, 1, 18),
    "granted-for-a-reason": lambda p: put(p, 1, 1),
    "denied-for-none": lambda p: put(p, 0, 1, 0),
    "denied-provisionally": lambda p: put(put(p, 0, 1, 1), 31, 1),
    "number-9": lambda p: put(p, 30, 9),
    "number-1": lambda p: put(p, 30, 1),
    "no-time": lambda p: put(p, 2, 0, 0),
    "keys-unsaid": lambda p: p + bytes(range(64)),
    "keys-missing": lambda p: put(p, 31, p[31] | 2),
    "ct-unsaid": lambda p: p + bytes(1088),
    "ct-missing": lambda p: put(p, 31, p[31] | 4),
    "short": lambda p: p[:-1],
    "long": lambda p: p + bytes(1),
}
# How it is sealed.
SEALED = {
    "first-bit": lambda p, live: flip(seal(live.first.k_ack, AAD, p), 0),
    "last-bit": lambda p, live: flip(seal(live.first.k_ack, AAD, p), -1),
    "purpose": lambda p, live: seal(live.first.k_ack, b"SPA/2 confirm", p),
    "confirm-key": lambda p, live: seal(live.first.k_conf, AAD, p),
    "other-session": lambda p, live: seal(of_another_session(live), AAD, p),
    "unsealed": lambda p, live: bytes(12) + p + bytes(16),
    "silence": lambda p, live: b"",
}
# A key that is none, beside an answer that is right.
NO_KEYS = {
    "key-not-canonical": b"\xff" * 31 + b"\x7f",
    "key-of-small-order": bytes(32),
    "key-as-before": None,
}
# The wrong ones first, then the right one: to the knock, or to its CONFIRM.
THEN_RIGHT = ["then-right", "confirm-then-right"]
# For these nothing is opened.
SHUT = [*PLAIN, *SEALED]
NAMES = [*SHUT, *NO_KEYS, *THEN_RIGHT]


def of_another_session(live):
    first = live.first
    return first.pair.session_keys(H(os.urandom(32)), os.urandom(32))[1]


def wrong(name, plain, live):
    if name in PLAIN:
        return seal(live.first.k_ack, AAD, PLAIN[name](plain))
    return SEALED[name](plain, live)


def answers(service, plain, live, number):
    """What is sent in the place of an answer."""
    right = seal(live.first.k_ack, AAD, plain)
    if service in NO_KEYS:
        key = NO_KEYS[service] or live.key.pk
        plain = put(plain, 31, plain[31] | 2) + key + bytes(32)
        return [seal(live.first.k_ack, AAD, plain)]
    if service in SHUT:
        return [wrong(service, plain, live)]
    if service == THEN_RIGHT[number > 0]:
        # In a CONFIRM's answer the number may be any; one that was not sent is not its own.
        names = [name for name in SHUT if not (number and name in ("number-1", "no-time"))]
        return [wrong(name, plain, live) for name in names] + [right]
    return [right]
