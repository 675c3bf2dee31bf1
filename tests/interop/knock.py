"""A client over UDP, as docs/protocol.md says: sections 9, 13 and 15.

knock.py ADDRESS; does what each line of its standard input says, and answers with a line.
"""

import ipaddress
import os
import socket
import sys
import time

from client import Client, Expand, Extract, Refused, Session, X25519, hop, service_id
from formats import check_of, public_text, read_line

OPS = ["open", "renew", "close", "enrol", "rekey"]


def now():
    return time.time_ns() // 1_000_000


class Knocker:
    def __init__(self, address):
        self.address = ipaddress.ip_address(address)
        family = socket.AF_INET if self.address.version == 4 else socket.AF_INET6
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.connect((address, 1))
        self.own = ipaddress.ip_address(self.socket.getsockname()[0])
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.seed, self.psk = os.urandom(32), None
        self.line, self.keys = None, []

    def take_line(self, text):
        line = self.line = read_line(text)
        self.keys = [(line.pk_S, line.hop and line.hop[0])]
        self.psk = line.secret
        if line.invitation:
            prk = Extract(b"SPA/2 invitation", line.secret)
            made = (Expand(prk, b"SPA/2 invitation " + x, 32) for x in (b"client", b"psk"))
            self.seed, self.psk = made
        own = self.pair()
        if line.check != check_of(own.pk_C, own.X_C, False):
            raise Refused("the line is for another key")
        return line.name

    def public(self):
        pair = Client(self.seed, bytes(32), X25519(bytes(range(32))))
        return public_text(pair.pk_C, pair.X_C)

    def pair(self, key=0):
        return Client(self.seed, self.psk, self.keys[key][0])

    def ports(self, ts, key=0):
        if not self.line.hop:
            return self.line.ports
        _, lo, hi, stages, excluded = self.line.hop
        return hop(self.keys[key][1], lo, hi, stages, excluded, ts // 600_000)

    def session(self, op="open", service="", key=0, ts=None, **more):
        ts = ts or now()
        number = service_id(service) if service else 0
        more = {"want_ack": True, "random": os.urandom(32), "ports": self.ports(ts, key), **more}
        session = Session(self.pair(key), ts=ts, op=OPS.index(op), service=number, **more)
        session.ports = more["ports"]
        return session

    def send(self, port, packet):
        self.socket.sendto(packet, (str(self.address), port))

    def send_all(self, session):
        for port, packet in zip(session.ports, session.packets):
            self.send(port, packet)

    def answer(self, session, patience=0.6):
        """What the session was told, and the answer's length."""
        until = time.monotonic() + patience
        while (left := until - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                datagram = self.socket.recv(2048)
                session.open_ack(datagram)
                return session.told, len(datagram)
            except (Refused, TimeoutError):
                pass
        return None, 0

    def exchange(self, session):
        for _ in range(4):
            self.send_all(session)
            told, length = self.answer(session)
            if told:
                return told, length
        return None, 0

    # Section 15: silence, and what the answer says of the server's keys.
    def ask(self, make):
        for key in range(len(self.keys)):
            session = make(key)
            told, length = self.exchange(session)
            if told:
                present = self.keys[key]
                self.keys = [told.key, present] if told.key else [present]
                return session, told, length
        return None, None, 0

    def request(self, op, service, words):
        more = {"bind": self.own if "bound" in words else None, "close_all": "all" in words}
        if "for" in words:
            more["for_addr"] = ipaddress.ip_address(words[words.index("for") + 1])
        session, told, _ = self.ask(lambda key: self.session(op, service, key, **more))
        if told is None:
            return "silence"
        said = f"{told.status} {told.reason if told.status != 'granted' else told.ttl}"
        if told.provisional:
            said += " provisional"
            confirm = session.confirm(1, told.seen)
            self.send(session.ports[-1], confirm)
            told = self.confirmed(session, confirm, 1)
            said += f" confirmed {told.status} {told.ttl}" if told else " and silence"
        return said + " rekey" * told.rekey + " key" * bool(told.key)

    def confirmed(self, session, confirm, number):
        for _ in range(4):
            told, _ = self.answer(session)
            while told and told.number != number:
                told, _ = self.answer(session)
            if told:
                return told
            self.send(session.ports[-1], session.packets[-1])
            self.send(session.ports[-1], confirm)
        return None

    # Section 9: with `lose` the first answer is thrown away, and it is asked again.
    def new_keys(self, op, words):
        seed, kem, answers = os.urandom(32), self.line.kem and "plain" not in words, []
        for _ in range(2 if "lose" in words else 1):
            make = lambda key: self.session(
                op, key=key, new=Client(seed, bytes(32), self.keys[key][0]), kem=kem
            )
            session, told, length = self.ask(make)
            if told is None or told.status != "granted":
                return f"{told.status} {told.reason}" if told else "silence"
            ks = session.dk.decapsulate(session.ct) if kem else bytes(32)
            answers.append(session.psk_by(ks))
        if any(psk != answers[0] for psk in answers):
            return "another psk when asked again"
        self.seed, self.psk = seed, answers[0]
        return f"granted {length}"

    def do(self, words):
        if words[0] == "public":
            return self.public()
        if words[0] == "line":
            return self.take_line(words[1])
        if words[0] in ("enrol", "rekey"):
            return self.new_keys(words[0], words)
        if words[0] == "wrong":
            import wrong

            return wrong.try_all(self, words[1])
        return self.request(words[0], words[1], words[2:])


if __name__ == "__main__":
    knocker = Knocker(sys.argv[1])
    for line in sys.stdin:
        print(knocker.do(line.split()), flush=True)
