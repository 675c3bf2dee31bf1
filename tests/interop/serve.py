"""A server over UDP, as docs/protocol.md says, section by section, for few clients and no disk.

serve.py ADDRESS,ADDRESS PORTS [hop=LO-HI] [kem]

It hides tcp/22 of its host by nftables and opens it for whom it grants. It does what each line of
its standard input says, and answers with a line:
  client NAME PUBLIC     the enrolment line
  invite NAME            an invitation
  rotate                 another key; the old one is the previous one
  finish                 the previous key goes
  age                    from now on each pair is of age
  log                    what has come since the last time
"""

import ipaddress
import os
import selectors
import socket
import subprocess
import sys
import time

import lies
from client import REASON, STATUS, Expand, Extract, H, Pair, Refused, X25519, addr16, bracketed
from client import Client, hop, host_or_not, read_confirm, seal, service_id, u, unseal
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from formats import HOST, INVITATION, check_of, line_text, read_public
from server import Opened, locate
from types import SimpleNamespace

PAST, FUTURE, REACH, KEPT, REORDER = 30_000, 1_000, 300_000, 30_000, 200
TTL, PROVISIONAL = 60, 10
RULES = """
add table inet interop
add set inet interop open4 { type ipv4_addr; flags timeout; }
add set inet interop open6 { type ipv6_addr; flags timeout; }
add chain inet interop in { type filter hook input priority 0; }
add rule inet interop in tcp dport 22 ip saddr != @open4 drop
add rule inet interop in tcp dport 22 ip6 saddr != @open6 drop
"""


def nft(rules):
    subprocess.run(["nft", "-f", "-"], input=rules.encode(), check=True)


def now():
    return time.time_ns() // 1_000_000


class ServerKey:
    def __init__(self):
        self.sk = os.urandom(32)
        self.pk = X25519(self.sk)
        self.k_hop = Expand(Extract(b"SPA/2 hop key", self.sk), b"SPA/2 hop", 32)


class Known:
    """A client, or an invitation."""

    def __init__(self, name, pk, X, security_key, psk, invited=False):
        self.name, self.pk, self.X, self.security_key = name, pk, X, security_key
        self.psk, self.invited = psk, invited
        self.used, self.refused = set(), []
        self.successor = None  # its new keys, with psk', ct and ks
        self.replaces = None


class Live:
    """A session in progress, or ended."""

    def __init__(self, known, key, epoch, ports, first):
        self.known, self.key, self.epoch, self.ports, self.first = known, key, epoch, ports, first
        self.begun = self.moved = time.monotonic()
        self.next, self.held, self.fragments = 0, {}, {}
        self.ended = self.provisional = False
        self.last, self.confirm_mac = 0, None
        self.status, self.reason, self.ttl, self.ct = None, None, 0, b""


class Server:
    def __init__(self, hosts, ports, hop_range, kem):
        self.hosts, self.fixed, self.range, self.kem = hosts, ports, hop_range, kem
        self.keys, self.known, self.live, self.log = [ServerKey()], [], {}, []
        self.of_age, self.sockets = False, {}
        self.since, self.fence_from = time.monotonic(), now()
        self.selector = selectors.DefaultSelector()
        for port in range(hop_range[0], hop_range[1] + 1) if hop_range else ports:
            sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(("::", port))
            self.selector.register(sock, selectors.EVENT_READ, port)
        self.selector.register(sys.stdin, selectors.EVENT_READ, None)

    # Section 13, and the plan of formats.md.
    def ports_at(self, key, epoch):
        if not self.range:
            return self.fixed
        return hop(key.k_hop, *self.range, 3, [], epoch * 60_000 // 600_000)

    def pairs(self):
        for known in self.known:
            for key in self.keys:
                ss = X25519(key.sk, known.X)
                yield known, key, Pair(
                    known.pk, known.X, known.security_key, known.psk, key.pk, ss
                )

    def line(self, name, check, secret, prefix):
        key = self.keys[0]
        line = SimpleNamespace(pk_S=key.pk, check=check, secret=secret, acks=True, kem=self.kem)
        line.name, line.hosts, line.ports, line.hop = name, self.hosts, self.fixed, None
        if self.range:
            line.hop = (key.k_hop, *self.range, 3, [])
        line.services = [(name, 6, 22) for name in ["ssh", *lies.NAMES]]
        return line_text(line, prefix)

    # Section 10.
    def take(self, datagram, source, to_port, sock):
        if not 144 <= len(datagram) <= 1232:
            return self.log.append("refused length")
        t = now()
        first, last = (t - PAST) // 60_000 - 5, (t + FUTURE) // 60_000 + 5
        live = [k for k in range(first, last + 1)
                if 60_000 * k - REACH <= t < 60_000 * (k + 1) + REACH]
        for known, key, pair in self.pairs():
            for epoch in live:
                try:
                    ports = self.ports_at(key, epoch)
                    stage = locate(pair, epoch, ports, datagram, to_port)
                except Refused as refusal:
                    if str(refusal) != "tag":
                        self.log.append(f"refused {refusal}")
                    continue
                reply = lambda ack: sock.sendto(ack, source)
                place = (known, key, pair, epoch, ports, stage)
                try:
                    self.checked(place, datagram, source, reply)
                except Refused as refusal:
                    self.log.append(f"refused {refusal}")
                return None
        self.log.append("stranger")
        return None

    def checked(self, place, datagram, source, reply):
        known, key, pair, epoch, ports, stage = place
        if pair.mac(datagram) != datagram[8:16]:
            raise Refused("mac")
        if datagram[8:16] in known.refused:
            raise Refused("again")
        sid = H(pair.masked(datagram[16:48], datagram))[:16]
        seen = host_or_not(ipaddress.ip_address(source[0]).packed)
        live = self.live.get(sid)
        if live is not None and live.ended:
            return self.after_end(live, stage, datagram, seen, source[1], reply)
        if live is None and sid in known.used:
            raise Refused("used")
        try:
            opened = Opened(pair, key.sk, epoch, ports, stage, datagram, self.kem)
        except Refused:
            known.refused = [*known.refused, datagram[8:16]][-64:]
            raise
        if live is None:
            live = self.live[sid] = Live(known, key, epoch, ports, opened)
        if opened.text != live.first.text:
            raise Refused("another text")
        if reason := self.stale(opened.body):
            live.ended, live.status = True, "stale"
            known.used.add(sid)
            wait = self.fence() - now() if reason == "fence" else 0
            return self.answer(live, "stale", reason, max(0, -(-wait // 1000)), seen, source, reply)
        if opened.body.has(1) and opened.body.source != seen:
            raise Refused("source")
        if stage >= live.next:
            live.held[stage] = (opened, time.monotonic())
        while live.next in live.held:
            held, came = live.held.pop(live.next)
            if time.monotonic() - came > REORDER / 1000 or time.monotonic() - live.moved > 30:
                raise Refused("late")
            live.fragments[live.next] = held.fragment
            live.next, live.moved = live.next + 1, time.monotonic()
        if live.next == len(ports):
            live.ended, live.begun = True, time.monotonic()
            known.used.add(sid)
            self.complete(live, seen, source, reply)
        return None

    # Section 11, for a server without a store.
    def fence(self):
        return self.fence_from + FUTURE + 1000

    def stale(self, body):
        if body.ts < now() - PAST:
            return "past"
        if body.ts > now() + FUTURE:
            return "future"
        return "fence" if body.ts <= self.fence() else None

    def complete(self, live, seen, source, reply):
        body, known = live.first.body, live.known
        bound = body.has(1) or body.has(2)
        ttl = body.ttl or TTL
        op = ["open", "renew", "close", "enrol", "rekey"][body.op]
        if known.invited != (op == "enrol"):
            status, reason, ttl = "denied", "op", 0
        elif body.op < 2 and body.service not in SERVICES:
            status, reason, ttl = "denied", "service", 0
        elif body.op >= 3:
            reason = self.new_keys(live)
            status, ttl = ("denied" if reason != "none" else "granted"), 0
        else:
            status, reason = "granted", "none"
            live.provisional = op != "close" and not bound and body.has(0)
            if op == "close":
                self.shut(None if body.has(5) else body.address or body.source)
                ttl = 0
            elif SERVICES[body.service] not in lies.SHUT:
                address = body.address or body.source or seen
                self.open(address, PROVISIONAL if live.provisional else ttl)
        live.status, live.ttl = status, ttl
        said = f"{op} {SERVICES.get(body.service, '')}".strip()
        kem = " kem" if body.has(6) else ""
        by = "" if live.key is self.keys[0] else " previous"
        self.log.append(f"{status} {said}{' bound' if body.has(1) else ''}{kem}{by}")
        if known.replaces and status != "denied":
            # The new pair is seen: the old one goes.
            self.known.remove(known.replaces)
            known.replaces = None
        self.answer(live, status, reason, ttl, seen, source, reply)

    # Section 9.
    def new_keys(self, live):
        opened, known = live.first, live.known
        ek = b"".join(live.fragments[i] for i in range(len(live.ports)))[:1184]
        try:
            opened.check_new_keys(ek)
        except Refused as refusal:
            self.log.append(f"refused {refusal}")
            return "new-keys"
        asked = (opened.body.keys, opened.body.has(4))
        if known.successor is None:
            ks, ct = bytes(32), b""
            if ek:
                ks, ct = MLKEM768PublicKey.from_public_bytes(ek).encapsulate()
            psk = opened.new_psk(ks)
            known.successor = (asked, psk, ks, ct)
            pk, X = asked[0][:32], asked[0][32:]
            new = Known(known.name, pk, X, asked[1], psk)
            new.replaces = known
            self.known.append(new)
        bound_to, psk, ks, ct = known.successor
        if bound_to != asked or opened.new_psk(ks) != psk or bool(ct) != bool(ek):
            return "new-keys"
        live.ct = ct
        return "none"

    # Section 10, ended sessions.
    def after_end(self, live, stage, datagram, seen, source_port, reply):
        first, source = live.first, (None, source_port)
        if time.monotonic() - live.begun > KEPT / 1000 or stage != len(live.ports) - 1:
            raise Refused("ended")
        if not first.body.has(0) or first.body.has(1) and first.body.source != seen:
            raise Refused("ended")
        pair = first.pair
        try:
            Opened(pair, live.key.sk, live.epoch, live.ports, stage, datagram, self.kem)
        except Refused as refusal:
            if str(refusal) != "aead":
                raise
        else:
            self.log.append("again")
            return self.answer(
                live, live.status, live.reason, live.ttl, seen, source, reply
            )
        number, address = read_confirm(unseal(first.k_conf, b"SPA/2 confirm", datagram[48:]))
        if live.status != "granted" or not live.provisional or number < live.last:
            raise Refused("confirm")
        mac = datagram[8:16]
        if number == live.last and mac != live.confirm_mac or address != seen:
            raise Refused("confirm")
        if number > live.last:
            live.last, live.confirm_mac = number, mac
            self.shut(seen)
            self.open(seen, live.ttl)
            self.log.append(f"confirmed {number}")
        return self.answer(live, "granted", "none", live.ttl, seen, source, reply, number)

    # Section 12.
    def answer(self, live, status, reason, ttl, seen, source, reply, number=0):
        live.reason = reason
        if not live.first.body.has(0):
            return
        provisional = status == "granted" and live.provisional and number == 0
        extra, ct = b"", live.ct
        if live.key is not self.keys[0]:
            extra = self.keys[0].pk + (self.keys[0].k_hop if self.range else bytes(32))
        flags = provisional | bool(extra) << 1 | bool(ct) << 2 | self.of_age << 3
        plain = u(STATUS.index(status), 1) + u(REASON.index(reason), 1) + u(ttl, 2) + u(now(), 8)
        plain += addr16(seen) + u(source[1], 2) + u(number, 1) + u(flags, 1) + extra + ct
        service = SERVICES.get(live.first.body.service)
        for ack in lies.answers(service, plain, live, number):
            reply(ack)

    # The service of this host.
    def open(self, address, seconds):
        name = f"open{address.version}"
        nft(f"add element inet interop {name} {{ {address} timeout {seconds}s }}\n")

    def shut(self, address):
        for name in ("open4", "open6"):
            if address is None:
                nft(f"flush set inet interop {name}\n")
            elif name[-1] == str(address.version):
                rule = f"delete element inet interop {name} {{ {address} }}\n"
                subprocess.run(["nft", "-f", "-"], input=rule.encode(), capture_output=True)

    def do(self, words):
        if words[0] == "client":
            pk, X, security_key = read_public(words[2])
            psk = os.urandom(32)
            self.known.append(Known(words[1], pk, X, security_key, psk))
            return self.line(words[1], check_of(pk, X, security_key), psk, HOST)
        if words[0] == "invite":
            secret = os.urandom(32)
            prk = Extract(b"SPA/2 invitation", secret)
            seed, psk = (Expand(prk, b"SPA/2 invitation " + x, 32) for x in (b"client", b"psk"))
            its = Client(seed, psk, self.keys[0].pk)
            self.known.append(Known(words[1], its.pk_C, its.X_C, False, psk, invited=True))
            return self.line(words[1], check_of(its.pk_C, its.X_C, False), secret, INVITATION)
        if words[0] == "rotate":
            self.keys.insert(0, ServerKey())
        if words[0] == "finish":
            del self.keys[1:]
        if words[0] == "age":
            self.of_age = True
        log, self.log = self.log, []
        return "; ".join(log)

    def run(self):
        while True:
            for ready, _ in self.selector.select():
                if ready.data is None:
                    line = sys.stdin.readline()
                    if not line:
                        return
                    print(self.do(line.split()), flush=True)
                else:
                    datagram, source = ready.fileobj.recvfrom(2048)
                    self.take(datagram, source, ready.data, ready.fileobj)


SERVICES = {service_id(name): name for name in ["ssh", *lies.NAMES]}


def main():
    hosts, ports = sys.argv[1].split(","), [int(port) for port in sys.argv[2].split(",")]
    ranges = [word[4:] for word in sys.argv[3:] if word.startswith("hop=")]
    hop_range = tuple(int(port) for port in ranges[0].split("-")) if ranges else None
    nft(RULES)
    Server(hosts, ports, hop_range, "kem" in sys.argv[3:]).run()


if __name__ == "__main__":
    main()
