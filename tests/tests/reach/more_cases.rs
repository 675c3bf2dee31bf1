//! More situations with one card: matches, statements and tools that are met less often. Each may
//! be a doubt; none may be said wrongly.

use crate::cases::{Case, nft, unread};

/// All of them.
pub(crate) const MORE_CASES: &[Case] = &[
    // Ports, written otherwise.
    unread("all but a port", nft!("filter hook input priority 0;", "tcp dport != 22 drop")),
    unread("a port of either protocol", nft!("filter hook input priority 0;", "th dport 22 drop")),
    unread("raw bytes", nft!("filter hook input priority 0;", "@th,16,16 22 drop")),
    unread(
        "both protocols and ports",
        nft!(
            "filter hook input priority 0;",
            "meta l4proto { tcp, udp } th dport { 22, 5000 } drop"
        ),
    ),
    unread(
        "the port of before a translation",
        nft!("filter hook input priority 0;", "meta l4proto tcp ct original proto-dst 22 drop"),
    ),
    unread("source ports", nft!("filter hook input priority 0;", "tcp sport 1024-65535 drop")),
    unread("low source ports", nft!("filter hook input priority 0;", "tcp sport < 1024 drop")),
    unread(
        "a mask of a port",
        nft!("filter hook input priority 0;", "tcp dport & 0xfffe == 22 drop"),
    ),
    // Headers.
    unread(
        "the first packet by its flags",
        nft!("filter hook input priority 0;", "tcp flags & (syn | ack) == syn tcp dport 22 drop"),
    ),
    unread(
        "packets without a flag",
        nft!("filter hook input priority 0;", "tcp flags ! syn tcp dport 22 drop"),
    ),
    unread("short paths", nft!("filter hook input priority 0;", "ip ttl < 5 drop")),
    unread("any path", nft!("filter hook input priority 0;", "ip ttl > 0 tcp dport 22 drop")),
    unread("long packets", nft!("filter hook input priority 0;", "meta length > 1400 drop")),
    unread("short packets", nft!("filter hook input priority 0;", "meta length < 100 drop")),
    unread("a class of service", nft!("filter hook input priority 0;", "ip dscp cs1 drop")),
    unread("fragments", nft!("filter hook input priority 0;", "ip frag-off & 0x1fff != 0 drop")),
    unread("options", nft!("filter hook input priority 0;", "tcp option sack-perm exists drop")),
    unread("next header", nft!("filter hook input priority 0;", "ip6 nexthdr tcp drop")),
    unread(
        "a map of protocols",
        nft!("filter hook input priority 0;", "ip protocol vmap { tcp : drop, udp : accept }"),
    ),
    // Where from.
    unread(
        "a packet for us",
        nft!("filter hook input priority 0;", "meta pkttype host tcp dport 22 drop"),
    ),
    unread(
        "a packet for all",
        nft!("filter hook input priority 0;", "meta pkttype broadcast tcp dport 22 drop"),
    ),
    unread(
        "reverse path",
        nft!("filter hook prerouting priority -150;", "fib saddr . iif oif missing drop"),
    ),
    unread(
        "reverse path, strangely",
        nft!("filter hook prerouting priority -150;", "fib saddr . iif oif exists drop"),
    ),
    unread("a group", nft!("filter hook input priority 0;", "iifgroup 0 tcp dport 22 drop")),
    unread(
        "the kind of card",
        nft!("filter hook input priority 0;", "iiftype ether tcp dport 22 drop"),
    ),
    unread(
        "cards and ports together",
        nft!(
            "filter hook input priority 0;",
            "iifname . tcp dport { \"eth0\" . 22, \"eth1\" . 80 } drop"
        ),
    ),
    unread(
        "cards and verdicts",
        nft!("filter hook input priority 0;", "iifname vmap { \"lo\" : accept, \"eth0\" : drop }"),
    ),
    unread(
        "a card's hardware address",
        nft!("filter hook input priority 0;", "ether saddr 02:00:00:00:00:01 drop"),
    ),
    unread(
        "any source of the family",
        nft!("filter hook input priority 0;", "ip saddr 0.0.0.0/0 tcp dport 22 drop"),
    ),
    unread(
        "private sources pass, others do not",
        nft!(
            "filter hook input priority 0; policy drop",
            "meta l4proto ipv6-icmp accept",
            "ip saddr { 10.0.0.0/8, 192.168.0.0/16 } accept"
        ),
    ),
    unread(
        "not that source",
        nft!("filter hook input priority 0;", "ip saddr != 192.0.2.99 tcp dport 22 drop"),
    ),
    unread(
        "both ends",
        nft!("filter hook input priority 0;", "ip saddr . ip daddr { 1.2.3.4 . 192.0.2.1 } drop"),
    ),
    // Statements.
    unread("a queue of nobody", nft!("filter hook input priority 0;", "tcp dport 22 queue num 7")),
    unread(
        "a queue that may be passed",
        nft!("filter hook input priority 0;", "tcp dport 22 queue flags bypass to 7"),
    ),
    unread(
        "logged, counted and dropped",
        nft!("filter hook input priority 0;", "tcp dport 22 log prefix \"x\" counter drop"),
    ),
    unread("reset", nft!("filter hook input priority 0;", "tcp dport 22 reject with tcp reset")),
    unread(
        "refused by icmp",
        nft!(
            "filter hook input priority 0;",
            "udp dport 5000 reject with icmpx type port-unreachable"
        ),
    ),
    unread(
        "a meter",
        nft!(
            "filter hook input priority 0;",
            "tcp dport 22 meter m { ip saddr limit rate over 100/second } drop"
        ),
    ),
    unread(
        "a set that fills itself, and drops",
        "nft -f - <<'EOF'\ntable inet t {\nset s {\ntype ipv4_addr\nflags dynamic,timeout\n\
        timeout 1m\n}\nchain c {\ntype filter hook input priority 0;\ntcp dport 22 ip saddr @s \
        drop\ntcp dport 22 add @s { ip saddr }\n}\n}\nEOF\n",
    ),
    unread(
        "a quota",
        nft!("filter hook input priority 0;", "tcp dport 22 quota over 100 mbytes drop"),
    ),
    unread(
        "a quota that is used up",
        nft!("filter hook input priority 0;", "tcp dport 22 quota over 0 bytes drop"),
    ),
    unread(
        "named objects",
        "nft -f - <<'EOF'\ntable inet t {\ncounter n {\n}\nquota q {\nover 1 mbytes\n}\nchain c {\n\
        type filter hook input priority 0;\ncounter name n\nquota name q drop\n}\n}\nEOF\n",
    ),
    unread(
        "a named map of verdicts",
        "nft -f - <<'EOF'\ntable inet t {\nchain d {\ndrop\n}\nmap m {\ntype inet_service : verdict\
        \nelements = { 22 : jump d, 80 : accept }\n}\nchain c {\ntype filter hook input priority 0;\
        \ntcp dport vmap @m\nudp dport vmap @m\n}\n}\nEOF\n",
    ),
    unread(
        "a duplicate",
        "nft -f - <<'EOF'\ntable ip t {\nchain c {\ntype filter hook prerouting priority 0;\ntcp \
        dport 22 dup to 192.0.2.9\n}\n}\nEOF\n",
    ),
    unread("masquerade", nft!("nat hook postrouting priority 100;", "masquerade")),
    unread("source of answers", nft!("nat hook input priority 100;", "snat ip to 192.0.2.200")),
    unread("an accept that is not the last", nft!("filter hook input priority -10;", "accept")),
    unread(
        "drops behind an accept",
        "nft -f - <<'EOF'\ntable inet a {\nchain c {\ntype filter hook input priority -10;\naccept\
        \n}\n}\ntable ip t {\nchain c {\ntype filter hook input priority 10;\ntcp dport 22 drop\n}\
        \n}\nEOF\n",
    ),
    unread(
        "a mark that another chain gives",
        "nft -f - <<'EOF'\ntable inet t {\nchain p {\ntype filter hook prerouting priority -150;\n\
        tcp dport 22 meta mark set 7\n}\nchain c {\ntype filter hook input priority 0;\nmeta mark 7 \
        drop\n}\n}\nEOF\n",
    ),
    unread(
        "a mark of the connection",
        "nft -f - <<'EOF'\ntable inet t {\nchain p {\ntype filter hook prerouting priority -150;\n\
        udp dport 5000 ct mark set 9\n}\nchain c {\ntype filter hook input priority 0;\nct mark 9 \
        drop\n}\n}\nEOF\n",
    ),
    unread(
        "the direction",
        nft!("filter hook input priority 0;", "ct direction original tcp dport 22 drop"),
    ),
    unread(
        "of answers only",
        nft!("filter hook input priority 0;", "ct direction reply tcp dport 22 drop"),
    ),
    unread(
        "not translated",
        nft!("filter hook input priority 0;", "ct status & dnat == 0 tcp dport 22 drop"),
    ),
    unread(
        "many packets",
        nft!("filter hook input priority 0;", "ct original packets > 2 tcp dport 22 drop"),
    ),
    unread(
        "an old connection",
        nft!("filter hook input priority 0;", "ct expiration < 1h tcp dport 22 drop"),
    ),
    unread("a label", nft!("filter hook input priority 0;", "ct label 5 drop")),
    unread(
        "answers of a user",
        nft!("filter hook output priority 0;", "meta skuid 0 tcp sport 22 drop"),
    ),
    unread(
        "answers by a route of their own",
        nft!("route hook output priority -150;", "tcp sport 22 meta mark set 5"),
    ),
    unread(
        "answers out of another card",
        nft!("filter hook output priority 0;", "oifname != \"eth0\" drop"),
    ),
    // Sent elsewhere.
    unread(
        "sent to another host",
        nft!(
            "nat hook prerouting priority -100;",
            "meta nfproto ipv4 tcp dport 22 dnat ip to 198.18.0.9:22"
        ),
    ),
    unread(
        "another port of this host is sent to ssh",
        nft!(
            "nat hook prerouting priority -100;",
            "meta nfproto ipv4 tcp dport 2022 dnat ip to 192.0.2.1:22"
        ),
    ),
    unread(
        "all ports of one kind",
        nft!("nat hook prerouting priority -100;", "udp dport 4000-6000 redirect to :5000"),
    ),
    unread(
        "a range of ports, one to one",
        nft!("nat hook prerouting priority -100;", "tcp dport 20-30 redirect to :1020-1030"),
    ),
    unread(
        "balanced",
        nft!(
            "nat hook prerouting priority -100;",
            "meta l4proto tcp redirect to :numgen inc mod 2 map { 0 : 22, 1 : 2222 }"
        ),
    ),
    unread(
        "a transparent proxy of IPv6",
        nft!(
            "filter hook prerouting priority -150;",
            "meta nfproto ipv6 tcp dport 22 tproxy ip6 to :50080 accept"
        ),
    ),
    Case {
        undo: "ip link delete d0",
        ..unread(
            "forwarded by the device",
            "ip link add d0 type veth peer name d1; ip link set d0 up; ip link set d1 up; nft -f - \
            <<'EOF'\ntable netdev t {\nchain c {\ntype filter hook ingress device \"eth0\" priority \
            0;\nip protocol tcp tcp dport 22 fwd to \"d0\"\n}\n}\nEOF\n",
        )
    },
    unread(
        "a table of both devices",
        "nft -f - <<'EOF'\ntable netdev t {\nchain c {\ntype filter hook ingress devices = { lo, \
        eth0 } priority 0;\nudp dport 5000 drop\n}\n}\nEOF\n",
    ),
    // iptables and its kin.
    unread(
        "iptables with a set",
        "ipset create b hash:net; ipset add b 198.51.100.0/24; iptables-nft -A INPUT -m set \
        --match-set b src -j DROP",
    ),
    unread(
        "iptables with ports in a set",
        "ipset create p bitmap:port range 0-65535; ipset add p 22; iptables-nft -A INPUT -p tcp -m \
        set --match-set p dst -j DROP",
    ),
    unread(
        "iptables of a range of addresses",
        "iptables-nft -A INPUT -m iprange --src-range 198.51.100.1-198.51.100.99 -j DROP",
    ),
    unread(
        "iptables of first packets",
        "iptables-nft -A INPUT -p tcp --syn --dport 22 -j DROP; ip6tables-nft -A INPUT -p tcp ! \
        --syn --dport 22 -j DROP",
    ),
    unread(
        "iptables with comments and marks",
        "iptables-nft -t mangle -A PREROUTING -p tcp --dport 22 -j MARK --set-mark 7; iptables-nft \
        -A INPUT -m mark --mark 7 -m comment --comment 'a b' -j DROP",
    ),
    unread(
        "iptables of connections",
        "iptables-nft -A INPUT -p tcp --dport 22 -m connlimit --connlimit-above 0 -j DROP",
    ),
    unread(
        "iptables by chance",
        "iptables-nft -A INPUT -p tcp --dport 22 -m statistic --mode random --probability 1 \
        -j DROP",
    ),
    unread(
        "iptables by a limit",
        "iptables-nft -A INPUT -p tcp --dport 22 -m hashlimit --hashlimit-above 1000/sec \
        --hashlimit-name x -j DROP; iptables-nft -A INPUT -p udp -m limit --limit 1/hour \
        --limit-burst 1 -j ACCEPT; iptables-nft -A INPUT -p udp -j DROP",
    ),
    unread(
        "iptables of the port of before",
        "iptables-nft -A INPUT -p tcp -m conntrack --ctorigdstport 22 -j DROP",
    ),
    unread(
        "iptables of sockets",
        "iptables-nft -t mangle -A PREROUTING -p tcp --dport 22 -m socket --transparent -j DROP",
    ),
    unread(
        "iptables of text",
        "iptables-nft -A INPUT -p udp --dport 5000 -m string --algo bm --string q -j DROP",
    ),
    unread(
        "iptables of several ports, and of none",
        "iptables-nft -A INPUT -p tcp -m multiport ! --dports 80,443 -j DROP",
    ),
    unread(
        "iptables of raw packets",
        "iptables-nft -t raw -A PREROUTING -p tcp --dport 22 -j NOTRACK; iptables-nft -A INPUT -m \
        conntrack --ctstate INVALID,UNTRACKED -j DROP",
    ),
    unread(
        "ip6tables of the same net",
        "ip6tables-nft -A INPUT -m hl --hl-lt 255 -p tcp --dport 22 -j DROP; \
        ip6tables-nft -A INPUT -s fe80::/10 -j ACCEPT",
    ),
    unread(
        "iptables with a chain that nobody jumps to",
        "iptables-nft -N DEAD; iptables-nft -A DEAD -j DROP",
    ),
    unread(
        "iptables goes and does not come back",
        "iptables-nft -N G; iptables-nft -A G -p tcp --dport 80 -j ACCEPT; iptables-nft -P INPUT \
        DROP; iptables-nft -A INPUT -p tcp -g G; iptables-nft -A INPUT -j ACCEPT",
    ),
];
