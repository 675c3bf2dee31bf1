"""Makes every value of the vectors in a folder, or refuses them, and compares.

vectors.py FOLDER FORMATS
"""

import ipaddress
import pathlib
import re
import sys

import formats
from client import X25519, Client, Expand, Extract, Refused, Session, Signer, hop, service_id
from server import Body, receive, receive_all

OPS = {"open": 0, "renew": 1, "close": 2, "enrol": 3, "rekey": 4}


def pair(v):
    pk_S = (
        bytes.fromhex(v["pk_S"])
        if "server-secret" not in v
        else X25519(bytes.fromhex(v["server-secret"]))
    )
    if "invitation" in v:  # Section 19.
        prk = Extract(b"SPA/2 invitation", bytes.fromhex(v["invitation"]))
        seed, psk = (Expand(prk, b"SPA/2 invitation " + what, 32) for what in (b"client", b"psk"))
    else:
        seed, psk = bytes.fromhex(v["client-seed"]), bytes.fromhex(v["psk"])
    return Client(seed, psk, pk_S, token(v, ""))


def token(v, prefix):
    """A security key whose secret is derived as a client's is: for these vectors only."""
    if prefix + "token-seed" not in v:
        return None
    prk = Extract(b"SPA/1 client", bytes.fromhex(v[prefix + "token-seed"]))
    return Signer(Expand(prk, b"SPA/1 client Ed25519", 32), bytes.fromhex(v[prefix + "touch"]))


def new_keys(v, pk_S):
    if "new-seed" not in v:
        return None
    return Client(bytes.fromhex(v["new-seed"]), bytes(32), pk_S, token(v, "new-"))


def numbers(text):
    return [int(n) for n in text.split(",") if n]


HEDGED = {}


def requested(v):
    """The session that a vector asks for."""
    bind, for_addr = (
        None if v[k] == "none" else ipaddress.ip_address(v[k]) for k in ("bind-src", "for-addr")
    )
    client, e, random = pair(v), v.get("ephemeral"), v.get("random")
    return Session(
        client,
        bytes.fromhex(e) if e else None,
        int(v["ts-ms"]),
        int(v["service"]),
        int(v["ttl-s"]),
        OPS[v["op"]],
        v["want-ack"] == "true",
        bind,
        numbers(v["ports"]),
        numbers(v["padding"]),
        for_addr,
        v["all"] == "true",
        new_keys(v, client.pk_S),
        bytes.fromhex(random) if random else None,
        "m" in v,
    )


def made_from(v):
    """What it makes of a vector: the expect line, and fields that the vector must also have."""
    kind = v["kind"]
    if kind == "keys":
        made = vars(pair(v))
        return "derived", {
            k: x.hex() for k, x in made.items() if isinstance(x, bytes) and k[0] != "_"
        }
    if kind in ("session", "hedge"):
        session = requested(v)
        packets = {f"packet-{i}": p.hex() for i, p in enumerate(session.packets)}
        psk = {"new-psk": session.psk_by(bytes(32)).hex()} if "new-seed" in v else {}
        made = {"sid": session.sid.hex(), **packets, **psk}
        if kind == "session":
            return "packets", made
        # hedge-again.txt is the first of its kind, and has the E of hedge-example.txt.
        first = HEDGED.setdefault("E", session.E)
        return "same E" if session.E == first else "another E", {"E": session.E.hex(), **made}
    if kind == "kem" and v["expect"] != "granted":
        epoch, ports = 29453760, numbers(v["ports"])
        packets = [bytes.fromhex(v[f"packet-{i}"]) for i in range(len(ports))]
        receive_all(pair(v), bytes.fromhex(v["server-secret"]), epoch, ports, packets)
        return "granted", {}
    if kind == "kem":
        session = requested(v)
        session.open_ack(bytes.fromhex(v["ack"]))
        packets = {f"packet-{i}": p.hex() for i, p in enumerate(session.packets)}
        psk = session.psk_by(session.dk.decapsulate(session.ct))
        sk_S = bytes.fromhex(v["server-secret"])
        opened, ek = receive_all(
            session.client, sk_S, session.epoch, numbers(v["ports"]), session.packets
        )
        assert ek == session.dk.public_key().public_bytes_raw()
        assert psk == opened.new_psk(session.dk.decapsulate(session.ct))
        return "granted", {
            "sid": session.sid.hex(),
            **packets,
            "ct": session.ct.hex(),
            "new-psk": psk.hex(),
        }
    if kind == "body":
        body = Body(bytes.fromhex(v["body"]))
        body.read_extension(bytes.fromhex(v["ext"]))
        op = [name for name, code in OPS.items() if code == body.op][0]
        numbers_told = {"ts-ms": body.ts, "service": body.service, "ttl-s": body.ttl}
        told = {key: str(value) for key, value in numbers_told.items()}
        addresses = {
            "bind-src": str(body.source or "none"),
            "for-addr": str(body.address or "none"),
        }
        return "accepted", {"op": op, "flags": str(body.flags), **told, **addresses}
    if kind == "packet":
        sk_S, datagram = bytes.fromhex(v["server-secret"]), bytes.fromhex(v["datagram"])
        ports = numbers(v["ports"])
        v.setdefault("touch", "0000000000")
        body = receive(pair(v), sk_S, int(v["epoch"]), ports, datagram, int(v["to-port"]))
        return "accepted", {"bind-src": str(body.source)} if "bind-src" in v else {}
    if kind == "confirm":
        ports = range(1, int(v["stages"]) + 1)
        session = Session(
            pair(v), bytes.fromhex(v["ephemeral"]), int(v["epoch"]) * 60000, ports=ports
        )
        number, address = session.open_confirm(bytes.fromhex(v["datagram"]))
        again = session.confirm(number, address, int(v["padding"]))
        return "confirmed", {
            "number": str(number),
            "address": str(address),
            "datagram": again.hex(),
        }
    if kind == "ack":
        session = Session(pair(v), bytes.fromhex(v["ephemeral"]))
        return session.open_ack(bytes.fromhex(v["ack"])), {}
    if kind == "hop":
        exclude = [tuple(int(p) for p in r.split("-")) for r in v["exclude"].split(",") if r]
        ports = hop(
            bytes.fromhex(v["hop-key"]),
            int(v["lo"]),
            int(v["hi"]),
            int(v["stages"]),
            exclude,
            int(v["hop-epoch"]),
        )
        return "ports", {"ports": ",".join(map(str, ports))}
    return "number", {"number": str(service_id(v["name"]))}


def read_examples(document):
    """The lines of docs/formats.md, read and written again."""
    text = re.sub(r"\n {15}", "", document.read_text(encoding="utf-8"))
    lines = re.findall(r"= (SPA-(?:HOST|INVITATION)-1[A-Z0-9]+)", text)
    for line in lines:
        read = formats.read_line(line)
        prefix = formats.INVITATION if read.invitation else formats.HOST
        assert formats.line_text(read, prefix) == line, line
    publics = re.findall(r"= (spa(?:sk)?1[a-z0-9]+)", text)
    for public in publics:
        assert formats.public_text(*formats.read_public(public)) == public, public
    assert len(lines) == len(publics) == 2


def main():
    read_examples(pathlib.Path(sys.argv[2]))
    wrong, counts = 0, {}
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.txt")):
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
        v = dict(line.split(":", 1) for line in lines)
        v = {key: value.strip() for key, value in v.items()}
        try:
            expect, fields = made_from(v)
        except Refused as refusal:
            expect, fields = f"refused {refusal}".strip(), {}
        if expect != v["expect"] or any(v.get(key) != value for key, value in fields.items()):
            wrong += 1
            print(f"{path.name}: made {expect} {fields}")
        counts[v["kind"]] = counts.get(v["kind"], 0) + 1
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
    print(told, f"agree, {wrong} do not" if wrong else "agree")
    kinds = "ack body confirm hedge hop kem keys packet service session".split()
    sys.exit(wrong != 0 or sorted(counts) != kinds)


if __name__ == "__main__":
    main()
