"""Runs RouterOS firewall scripts and prints the nftables rules that they mean.

    interpret.py [--steps] LIST=DEVICE,DEVICE... SCRIPT...

LIST is an interface list of the router. Of several scripts each finds what the ones before it have
left. With --steps the rules are printed after each command of the last script, each time behind a
line "# step". It knows a small part of RouterOS and refuses all else. It shares nothing with what
writes such scripts.
"""
import re
import sys

FIREWALL = {"/ip firewall filter", "/ip firewall nat", "/ip firewall address-list",
            "/ipv6 firewall filter", "/ipv6 firewall nat", "/ipv6 firewall address-list"}
MATCHES = {"in-interface-list", "out-interface-list", "protocol", "dst-port", "src-port",
           "src-address", "dst-address", "src-address-list", "dst-address-list",
           "dst-address-type", "connection-state"}
OTHERS = {"chain", "action", "comment", "disabled", "jump-target", "address-list",
          "address-list-timeout", "reject-with", "to-addresses", "to-address", "to-ports",
          "place-before"}
WORD = r'"[^"]*"|\[(?:[^\[\]]|\[[^\[\]]*\])*\]|[^\s\[\]"]+'


def seconds(text):
    parts = re.fullmatch(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not text or not parts:
        raise SystemExit(f"no time: {text}")
    return sum(int(n or 0) * s for n, s in zip(parts.groups(), (604800, 86400, 3600, 60, 1)))


def unquote(text):
    return text[1:-1] if text.startswith('"') else text


class Router:
    def __init__(self):
        self.tables = {name: [] for name in FIREWALL}
        self.lists = {"/ip": set(), "/ipv6": set()}  # all that were ever named
        self.flushed = []

    def find(self, menu, conditions):
        """Entries of `[find a=b c~"d"]`; several conditions hold at once."""
        found = self.tables[menu]
        for condition in re.findall(r'[a-z-]+[=~](?:"[^"]*"|\S+)', conditions):
            key, how, value = re.fullmatch(r"([a-z-]+)([=~])(.*)", condition, re.S).groups()
            value = unquote(value)
            if key == "dynamic":
                continue  # scripts make no dynamic rules
            if how == "=":
                found = [entry for entry in found if entry.get(key) == value]
            else:
                found = [entry for entry in found if re.search(value, entry.get(key, ""))]
        return found

    def bracket(self, menu, text):
        """`[find …]`, `[/menu find …]` or `[:pick [find …] N]`: a list of entries."""
        inner = text[1:-1].strip()
        pick = re.fullmatch(r":pick (\[.*\]) (\d+)", inner)
        if pick:
            found = self.bracket(menu, pick[1])
            return [found[int(pick[2])]]
        path, conditions = re.fullmatch(r"(?:(/[a-z0-9 -]+?) )?find\b(.*)", inner).groups()
        return self.find(path or menu, conditions)

    def run(self, menu, line):
        """One command; answers the menu that the next one is in."""
        path = re.match(r"(/[a-z0-9]+(?: [a-z-]+)*?)(?= (?:add|set|remove)\b|$)", line)
        if path:
            menu, line = path[1], line[path.end():].strip()
            if menu not in FIREWALL:
                raise SystemExit(f"unknown menu: {menu}")
            if not line:
                return menu
        words = re.findall(rf"[a-z-]+=(?:{WORD})|{WORD}", line)
        verb, rest = words[0], words[1:]
        targets = [self.bracket(menu, w) for w in rest if w.startswith("[")]
        given = dict(w.split("=", 1) for w in rest if not w.startswith("["))
        table = self.tables[menu]
        if verb == "add" and not targets:
            before = given.pop("place-before", None)
            entry = {key: unquote(value) for key, value in given.items()}
            if menu.endswith("address-list"):
                unknown = set(entry) - {"list", "address", "timeout", "comment"}
            else:
                unknown = set(entry) - MATCHES - OTHERS
            if unknown:
                raise SystemExit(f"unknown in {menu}: {sorted(unknown)}")
            at = table.index(self.bracket(menu, before)[0]) if before else len(table)
            table.insert(at, entry)
            self.lists[menu.split()[0]] |= {
                entry[key].lstrip("!") for key in
                ("src-address-list", "dst-address-list", "address-list", "list") if key in entry}
        elif verb == "set" and len(targets) == 1:
            for entry in targets[0]:
                entry.update((key, unquote(value)) for key, value in given.items())
        elif verb == "remove" and len(targets) == 1 and not given:
            for entry in targets[0]:
                table.remove(entry)
            if menu.endswith("address-list"):
                name = re.search(r'find list="([^"]*)"', rest[0])
                self.flushed.append((menu.split()[0], name[1]))
        else:
            raise SystemExit(f"not understood: {line}")
        return menu

    def play(self, text, after=lambda: None):
        text = re.sub(r"\\\n\s*", "", text)
        text = re.sub(r"(?<=[a-z]) =(?=\S)", "=", text)  # as the recipe's page writes it
        menu = None
        for line in map(str.strip, text.splitlines()):
            if line and line not in "{}" and not line.startswith("#"):
                menu = self.run(menu, line)
                after()


def name_of(kind, name):
    return kind + re.sub(r"\W", "_", name)


def words_of(family, rule, interfaces):
    """The expressions of one rule."""
    ip = {"/ip": "ip", "/ipv6": "ip6"}[family]
    out = []
    for key, way in (("in-interface-list", "iifname"), ("out-interface-list", "oifname")):
        if key in rule:
            out.append(way + " { " + ", ".join(f'"{d}"' for d in interfaces[rule[key]]) + " }")
    protocol = rule.get("protocol")
    if protocol not in (None, "tcp", "udp"):
        raise SystemExit(f"unknown protocol: {protocol}")
    ports = [(way, rule[key]) for key, way in (("dst-port", "dport"), ("src-port", "sport"))
             if key in rule]
    if protocol and not ports:
        out.append(f"meta l4proto {protocol}")
    for way, value in ports:
        if sum(1 + ("-" in part) for part in value.split(",")) > 15:
            raise SystemExit(f"too many ports in one rule: {value}")
        out.append(f"{protocol} {way} {{ {value} }}")
    for end, way in (("src", "saddr"), ("dst", "daddr")):
        if f"{end}-address" in rule:
            out.append(f"{ip} {way} {rule[f'{end}-address']}")
        if f"{end}-address-list" in rule:
            name = rule[f"{end}-address-list"]
            sign = "!= " if name.startswith("!") else ""
            out.append(f"{ip} {way} {sign}@{name_of('list_', name.lstrip('!'))}")
    if "dst-address-type" in rule:
        out.append(f"fib daddr type {rule['dst-address-type']}")
    if "connection-state" in rule:
        out.append(f"ct state {rule['connection-state']}")
    return " ".join(out)


def end_of(family, rule):
    """The statement of one rule."""
    ip = {"/ip": "ip", "/ipv6": "ip6"}[family]
    action = rule["action"]
    if action in ("accept", "drop", "return"):
        return action
    if action == "passthrough":
        return "counter"
    if action == "jump":
        return "jump " + name_of("chain_", rule["jump-target"])
    if action == "add-src-to-address-list":
        name, time = name_of("list_", rule["address-list"]), seconds(rule["address-list-timeout"])
        return f"update @{name} {{ {ip} saddr timeout {time}s }}"
    if action == "reject":
        icmp = {"/ip": "icmp", "/ipv6": "icmpv6"}[family]
        return {"tcp-reset": "reject with tcp reset",
                "icmp-port-unreachable": f"reject with {icmp} port-unreachable"}[
                    rule["reject-with"]]
    if action == "dst-nat":
        key = {"/ip": "to-addresses", "/ipv6": "to-address"}[family]
        to = rule[key].removesuffix("/128")
        port = f":{rule['to-ports']}" if "to-ports" in rule else ""
        return f"dnat to [{to}]{port}" if port and family == "/ipv6" else f"dnat to {to}{port}"
    raise SystemExit(f"unknown action: {action}")


BASES = {("filter", chain): ("filter", chain, 0) for chain in ("input", "forward", "output")}
BASES["nat", "dstnat"] = ("nat", "prerouting", -100)


def print_rules(router, interfaces):
    for family, table, kind in (("/ip", "ip ros", "ipv4_addr"), ("/ipv6", "ip6 ros", "ipv6_addr")):
        entries = router.tables[f"{family} firewall address-list"]
        rules = [(t, r) for t in ("filter", "nat") for r in router.tables[f"{family} firewall {t}"]
                 if r.get("disabled") != "yes"]
        lists = router.lists[family]
        print(f"add table {table}")
        for name in sorted(lists):
            print(f"add set {table} {name_of('list_', name)}",
                  f"{{ type {kind}; size 65536; flags dynamic,timeout; }}")
        for base, name in router.flushed:
            if base == family and name in lists:
                print(f"flush set {table} {name_of('list_', name)}")
        # A jump to a chain without rules returns at once.
        chains = {(t, r[key]) for t, r in rules for key in ("chain", "jump-target") if key in r}
        for where in sorted(chains | set(BASES)):
            chain = f"{table} {name_of('chain_', where[1])}"
            hook = ""
            if where in BASES:
                hook = " {{ type {} hook {} priority {}; }}".format(*BASES[where])
            print(f"add chain {chain}{hook}\nflush chain {chain}")
        for _, rule in rules:
            chain = name_of("chain_", rule["chain"])
            print(f"add rule {table} {chain}", words_of(family, rule, interfaces),
                  end_of(family, rule))
        for entry in entries:
            timeout = f" timeout {seconds(entry['timeout'])}s" if "timeout" in entry else ""
            print(f"add element {table} {name_of('list_', entry['list'])}",
                  f"{{ {entry['address'].removesuffix('/128')}{timeout} }}")


def main(arguments):
    steps = "--steps" in arguments
    arguments = [a for a in arguments if a != "--steps"]
    interfaces = {a.split("=")[0]: a.split("=")[1].split(",") for a in arguments if "=" in a}
    scripts = [a for a in arguments if "=" not in a]
    router = Router()

    def step():
        print("# step")
        print_rules(router, interfaces)

    for script in scripts:
        with open(script, encoding="utf-8") as file:
            last = script is scripts[-1]
            router.play(file.read(), step if steps and last else lambda: None)
    if not steps:
        print_rules(router, interfaces)


if __name__ == "__main__":
    main(sys.argv[1:])
