//! Situations with one card: what others may have put into the firewall.

/// A situation.
pub(crate) struct Case {
    /// Name in a message.
    pub(crate) name: &'static str,
    /// Script that makes it, on the server's host.
    pub(crate) script: &'static str,
    /// Part of it cannot be read, so a doubt is right.
    pub(crate) undecided: bool,
    /// Script that takes away what is no table.
    pub(crate) undo: &'static str,
}

const fn read(name: &'static str, script: &'static str) -> Case {
    Case { name, script, undecided: false, undo: "true" }
}

pub(crate) const fn unread(name: &'static str, script: &'static str) -> Case {
    Case { name, script, undecided: true, undo: "true" }
}

/// Makes a chain `c` of a table `inet t` at a hook, with the lines that follow.
macro_rules! nft {
    ($hook:literal, $($rule:literal),*) => {
        concat!("nft -f - <<'EOF'\ntable inet t {\nchain c {\ntype ", $hook, ";\n",
            $($rule, "\n",)* "}\n}\nEOF\n")
    };
}

pub(crate) use nft;

/// All of them.
pub(crate) const CASES: &[Case] = &[
    read("nothing", "true"),
    // Default drops, and what makes up for them.
    read(
        "input drops all",
        nft!("filter hook input priority 0; policy drop", "meta l4proto ipv6-icmp accept", ""),
    ),
    read(
        "input lets ssh begin, and nothing go on",
        nft!(
            "filter hook input priority 0; policy drop",
            "meta l4proto ipv6-icmp accept",
            "tcp dport 22 ct state new accept"
        ),
    ),
    read(
        "input lets the first and the later packets in",
        nft!(
            "filter hook input priority 0; policy drop",
            "meta l4proto ipv6-icmp accept",
            "ct state established,related accept",
            "tcp dport 22 accept"
        ),
    ),
    read(
        "a map of states and a set of ports",
        nft!(
            "filter hook input priority 0; policy drop",
            "meta l4proto ipv6-icmp accept",
            "ct state vmap { invalid : drop, established : accept, related : accept }",
            "tcp dport { 22, 80 } accept",
            "udp dport 4000-6000 accept"
        ),
    ),
    read(
        "a map of ports to verdicts",
        nft!(
            "filter hook input priority 0;",
            "tcp dport vmap { 22 : drop, 80 : accept }",
            "udp dport vmap { 1-4999 : drop, 5000 : accept }"
        ),
    ),
    read(
        "a map of a protocol and port",
        nft!(
            "filter hook input priority 0;",
            "meta l4proto . th dport vmap { tcp . 22 : accept, udp . 5000 : drop }"
        ),
    ),
    unread(
        "ports in intervals of a concatenation",
        nft!(
            "filter hook input priority 0;",
            "meta l4proto . th dport { tcp . 20-25, udp . 6000-7000 } drop"
        ),
    ),
    read(
        "a jump that comes back",
        "nft -f - <<'EOF'\ntable inet t {\nchain d {\nudp dport 5000 \
        return\ncounter drop\n}\nchain c {\ntype filter hook input priority 0;\nip protocol udp \
        jump d\ntcp dport 22 accept\n}\n}\nEOF\n",
    ),
    read(
        "a goto that ends in the policy",
        "nft -f - <<'EOF'\ntable inet t {\nchain d {\ntcp dport \
        22 accept\n}\nchain c {\ntype filter hook input priority 0; policy drop;\n\
        meta l4proto ipv6-icmp accept\ngoto d\naccept\n\
        }\n}\nEOF\n",
    ),
    read(
        "a dormant table",
        "nft -f - <<'EOF'\ntable inet t {\nflags dormant\nchain c {\ntype \
        filter hook input priority 0; policy drop;\n}\n}\nEOF\n",
    ),
    read(
        "one family only",
        nft!(
            "filter hook input priority 0;",
            "meta nfproto ipv6 tcp dport 22 \
        drop",
            "ip protocol udp drop"
        ),
    ),
    read("a drop ahead of ours", nft!("filter hook input priority -300;", "tcp dport 22 reject")),
    read(
        "an accept ahead of ours changes nothing",
        nft!("filter hook input priority -300;", "accept"),
    ),
    read(
        "an accept in prerouting changes nothing",
        nft!("filter hook prerouting priority -400;", "accept"),
    ),
    read(
        "a drop in prerouting",
        nft!(
            "filter hook prerouting priority -150;",
            "udp dport 5000 \
        drop"
        ),
    ),
    read(
        "by the name of the interface",
        nft!(
            "filter hook input priority 0;",
            "iifname \"eth0\" tcp dport 22 drop",
            "iifname \"eth1\" udp dport 5000 drop"
        ),
    ),
    read(
        "by a pattern of names",
        nft!(
            "filter hook input priority 0;",
            "iifname \"eth*\" udp dport \
        5000 drop",
            "iifname != \"lo\" tcp dport 80 drop"
        ),
    ),
    read(
        "by the number of the interface",
        nft!("filter hook input priority 0;", "iif eth0 tcp dport 22 drop"),
    ),
    read(
        "by our own address",
        nft!(
            "filter hook input priority 0;",
            "ip daddr 192.0.2.1 tcp dport \
        22 drop",
            "ip6 daddr 2001:db8:1::/64 udp dport 5000 drop"
        ),
    ),
    read("by another address", nft!("filter hook input priority 0;", "ip daddr 192.0.2.2 drop")),
    read(
        "by where the address is",
        nft!(
            "filter hook prerouting priority 0;",
            "fib daddr type \
        local tcp dport 22 drop",
            "fib daddr type != local udp dport 5000 drop"
        ),
    ),
    // Answers.
    read(
        "answers are dropped",
        nft!("filter hook output priority 0; policy drop", "oifname lo accept"),
    ),
    read(
        "answers of connections pass",
        nft!(
            "filter hook output priority 0; policy drop",
            "ct state established,related accept",
            "meta l4proto ipv6-icmp accept"
        ),
    ),
    read(
        "answers of one port pass",
        nft!(
            "filter hook output priority 0; policy drop",
            "tcp sport 22 accept",
            "meta l4proto ipv6-icmp accept"
        ),
    ),
    read(
        "answers are dropped behind routing",
        nft!("filter hook postrouting priority 0;", "udp sport 5000 drop"),
    ),
    read(
        "a device drops what goes out",
        "nft -f - <<'EOF'\ntable netdev t {\nchain c {\ntype filter \
        hook egress device \"eth0\" priority 0;\ntcp sport 22 drop\n}\n}\nEOF\n",
    ),
    // Ahead of everything.
    read(
        "a device drops what comes in",
        "nft -f - <<'EOF'\ntable netdev t {\nchain c {\ntype filter \
        hook ingress device \"eth0\" priority 0;\nudp dport 5000 drop\n}\n}\nEOF\n",
    ),
    read(
        "the ingress of family inet",
        "nft -f - <<'EOF'\ntable inet t {\nchain c {\ntype filter \
        hook ingress device \"eth0\" priority 0;\ntcp dport 22 drop\n}\n}\nEOF\n",
    ),
    read(
        "the ingress of another device",
        "ip link add d0 type veth peer name d1; nft -f - \
        <<'EOF'\ntable netdev t {\nchain c {\ntype filter hook ingress device \"d0\" priority 0;\n\
        drop\n}\n}\nEOF\n",
    ),
    // Translations.
    read(
        "redirected to ssh",
        nft!("nat hook prerouting priority -100;", "tcp dport 2222 redirect to :22"),
    ),
    read(
        "ssh redirected away",
        nft!("nat hook prerouting priority -100;", "tcp dport 22 redirect to :2222"),
    ),
    read(
        "ssh redirected to itself",
        nft!("nat hook prerouting priority -100;", "tcp dport 22 redirect"),
    ),
    read(
        "sent to our own address",
        nft!(
            "nat hook prerouting priority -100;",
            "meta nfproto ipv4 tcp dport 22 dnat ip to 192.0.2.1:22"
        ),
    ),
    read(
        "a port in a map of translations",
        nft!(
            "nat hook prerouting priority -100;",
            "redirect to :tcp dport map { 22 : 2222, 80 : 8080 }"
        ),
    ),
    read(
        "iptables redirects",
        "iptables-nft -t nat -A PREROUTING -p tcp --dport 22 -j REDIRECT \
        --to-ports 2200",
    ),
    unread(
        "a port is rewritten behind our back",
        nft!(
            "filter hook prerouting priority 10;",
            "tcp dport 2222 tcp dport set 22",
            "tcp dport 22 tcp dport set 2222"
        ),
    ),
    unread(
        "a transparent proxy",
        nft!(
            "filter hook prerouting priority -150;",
            "meta nfproto ipv4 tcp dport 22 tproxy ip to :50080"
        ),
    ),
    unread(
        "a proxy of connections",
        nft!("filter hook input priority 0;", "tcp dport 22 synproxy mss 1460 wscale 7"),
    ),
    // Tracking.
    read(
        "ssh is not tracked",
        nft!("filter hook prerouting priority -300;", "tcp dport 22 notrack"),
    ),
    read(
        "ssh is not tracked, and only known flows go on",
        "nft -f - <<'EOF'\ntable inet t {\nchain \
        p {\ntype filter hook prerouting priority -300;\ntcp dport 22 notrack\n}\nchain c {\ntype \
        filter hook input priority 0; policy drop;\n\
        meta l4proto ipv6-icmp accept\nct state established,new accept\n}\n}\nEOF\n",
    ),
    read(
        "ssh is not tracked, and untracked ones pass",
        "nft -f - <<'EOF'\ntable inet t {\nchain \
        p {\ntype filter hook prerouting priority -300;\ntcp dport 22 notrack\n}\nchain c {\ntype \
        filter hook input priority 0; policy drop;\nct state untracked accept\nct state new,\
        established udp dport 5000 accept\nmeta l4proto ipv6-icmp accept\n}\n}\nEOF\n",
    ),
    read(
        "the state ahead of conntrack",
        nft!(
            "filter hook prerouting priority -300;",
            "ct state invalid tcp dport 22 drop",
            "ct state new udp dport 5000 drop"
        ),
    ),
    read(
        "a zone of its own",
        nft!("filter hook prerouting priority -300;", "tcp dport 22 ct zone set 7"),
    ),
    read(
        "a helper",
        "nft -f - <<'EOF'\ntable inet t {\nct helper f {\ntype \"ftp\" protocol tcp\n}\n\
        chain c {\ntype filter hook prerouting priority -50;\ntcp dport 22 ct helper set \"f\"\n}\n\
        }\n\
        EOF\n",
    ),
    read(
        "marks are set and not asked for",
        nft!(
            "filter hook prerouting priority -150;",
            "meta mark set 7",
            "ct mark set 9",
            "tcp flags syn tcp option maxseg size set 1300"
        ),
    ),
    unread(
        "a mark decides",
        nft!("filter hook input priority 0;", "meta mark 7 tcp dport 22 drop"),
    ),
    unread(
        "a limit",
        nft!(
            "filter hook input priority 0; policy drop",
            "meta l4proto ipv6-icmp accept",
            "limit rate over 1000/second drop",
            "ct state established accept",
            "tcp dport 22 accept"
        ),
    ),
    unread(
        "numbers by chance",
        nft!("filter hook input priority 0;", "tcp dport 22 numgen random mod 2 0 drop"),
    ),
    unread(
        "a number of connections",
        nft!("filter hook input priority 0;", "tcp dport 22 ct count over 100 drop"),
    ),
    unread(
        "the time of the day",
        nft!("filter hook input priority 0;", "meta hour >= 0 tcp dport 22 drop"),
    ),
    unread(
        "a socket decides",
        nft!("filter hook input priority 0;", "socket transparent 1 tcp dport 22 drop"),
    ),
    // Sources.
    unread(
        "one source only",
        nft!(
            "filter hook input priority 0; policy drop",
            "meta l4proto ipv6-icmp accept",
            "ct state established accept",
            "ip saddr 198.51.100.10 tcp dport 22 accept"
        ),
    ),
    unread(
        "a source is banned",
        nft!(
            "filter hook input priority 0;",
            "ip saddr 198.51.100.10 tcp dport 22 drop",
            "ip6 saddr 2001:db8:c::/48 udp dport 5000 drop"
        ),
    ),
    unread(
        "a set of banned ones",
        "nft -f - <<'EOF'\ntable inet t {\nset b {\ntype ipv4_addr\nflags \
        interval\nelements = { 198.51.100.0/24 }\n}\nchain c {\ntype filter hook input priority -1;\
        \n\
        ip saddr @b reject\n}\n}\nEOF\n",
    ),
    unread(
        "a source and port together",
        nft!(
            "filter hook input priority 0;",
            "ip saddr . tcp dport { 198.51.100.10 . 22, 192.0.2.99 . 80 } drop",
            "ip saddr . udp dport { 198.51.100.10 . 5001 } drop"
        ),
    ),
    unread(
        "only one source is sent away",
        nft!(
            "nat hook prerouting priority -100;",
            "ip saddr 203.0.113.66 tcp dport 22 dnat ip to 192.0.2.200"
        ),
    ),
    // The other tools.
    read(
        "iptables drops by default",
        "iptables-nft -P INPUT DROP; iptables-nft -A INPUT -m \
        conntrack --ctstate ESTABLISHED -j ACCEPT; iptables-nft -A INPUT -p tcp -m multiport \
        --dports 20:25,80 -j ACCEPT",
    ),
    read("ip6tables rejects", "ip6tables-nft -A INPUT -p udp -m udp --dport 5000 -j REJECT"),
    read(
        "iptables lets what is local return",
        "iptables-nft -N L; iptables-nft -A L -m addrtype \
        --dst-type LOCAL -j RETURN; iptables-nft -A L -j DROP; iptables-nft -A INPUT -j L",
    ),
    unread(
        "iptables counts recent ones",
        "iptables-nft -A INPUT -p tcp --dport 22 -m recent --name \
        x --set; iptables-nft -A INPUT -p tcp --dport 22 -m recent --name x --update --seconds 60 \
        --hitcount 9 -j DROP",
    ),
    Case {
        undo: "iptables-legacy -F; iptables-legacy -t nat -F",
        ..unread(
            "the legacy tools",
            "iptables-legacy -A INPUT -p tcp --dport 22 -j DROP; \
        iptables-legacy -t nat -A PREROUTING -p udp --dport 5000 -j REDIRECT --to-ports 5001",
        )
    },
];
