"""Takes an invitation over UDP and rotates the pair, each with ML-KEM, as docs/protocol.md says.

enrol.py ADDRESS LINE SERVICE [lose]

With `lose` the first answer to each request for new keys is thrown away, and it is asked again.
Prints what came of it, line by line.
"""

import ipaddress
import os
import socket
import sys
import time

from client import Client, Expand, Extract, Refused, Session, service_id

LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def bech32m(text):
    """The bytes of a text form (docs/formats.md); its checksum is the server's to make."""
    data = text.strip().lower().rpartition("1")[2][:-6]
    bits = "".join(f"{LETTERS.index(c):05b}" for c in data)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - 7, 8))


class Line:
    """An invitation with fixed ports."""

    def __init__(self, text):
        b = bech32m(text)
        self.pk_S, self.secret, self.flags = b[1:33], b[41:73], b[73]
        at = 74 + 1 + b[74]
        for _ in range(b[at]):
            b = b[: at + 1] + b[at + 2 + b[at + 1] :]
        at += 1
        ports = b[at + 1 : at + 1 + 2 * b[at]]
        self.ports = [int.from_bytes(ports[i : i + 2], "big") for i in range(0, len(ports), 2)]


class Server:
    def __init__(self, address, line):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.address, self.line = address, line
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.settimeout(5)

    def ask(self, session):
        for port, packet in zip(self.line.ports, session.packets):
            self.socket.sendto(packet, (self.address, port))
        return self.answer(session)

    def answer(self, session):
        while True:
            answer = self.socket.recv(2048)
            try:
                return session.open_ack(answer), len(answer)
            except Refused:
                pass

    def new_keys(self, old, op, seed, lose):
        """ENROL or REKEY with ML-KEM; the new pair."""
        told = []
        for attempt in range(1 + lose):
            new = Client(seed, bytes(32), old.pk_S)
            session = Session(old, ts=now(), op=op, want_ack=True, ports=self.line.ports,
                              new=new, random=os.urandom(32), kem=True)
            assert all(len(packet) == 1232 for packet in session.packets)
            text, length = self.ask(session)
            print("enrol" if op == 3 else "rekey", text.split()[0], text.split()[1], length)
            told.append((session.ct, session.psk_by(session.dk.decapsulate(session.ct))))
        assert all(one == told[0] for one in told), "another psk when asked again"
        return Client(seed, told[0][1], old.pk_S)

    def open(self, pair, service):
        session = Session(pair, ts=now(), service=service_id(service), want_ack=True,
                          ports=self.line.ports, random=os.urandom(32))
        text, _ = self.ask(session)
        print("open", text.split()[0], "provisional" if "provisional" in text else "lasting")
        seen = ipaddress.ip_address(text.split()[4].rpartition(":")[0].strip("[]"))
        confirm = session.confirm(1, seen, 0)
        self.socket.sendto(confirm, (self.address, self.line.ports[-1]))
        while "number 1" not in (text := self.answer(session)[0]):
            pass
        print("confirm", text.split()[0])


def now():
    return time.time_ns() // 1_000_000


def main():
    address, text, service = sys.argv[1:4]
    lose = len(sys.argv) > 4
    line = Line(text)
    assert line.flags & 4, "the line does not say that the server takes ML-KEM"
    server = Server(address, line)
    prk = Extract(b"SPA/2 invitation", line.secret)
    seed, psk = (Expand(prk, b"SPA/2 invitation " + what, 32) for what in (b"client", b"psk"))
    first = server.new_keys(Client(seed, psk, line.pk_S), 3, os.urandom(32), lose)
    server.open(first, service)
    second = server.new_keys(first, 4, os.urandom(32), lose)
    server.open(second, service)


if __name__ == "__main__":
    main()
