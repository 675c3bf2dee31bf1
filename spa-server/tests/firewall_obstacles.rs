//! Other people's rules that drop what ours accept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod namespace;

use namespace::{alone, bait, installed, load, rules, sh};
use spa_server::firewall::{Firewall, Rules};

/// An interface by which strangers come in.
fn connect() {
    sh("ip link add near type veth peer name far; ip link set far up; ip link set near up");
    sh("ip addr add 192.0.2.1/24 dev near; ip -6 addr add 2001:db8::1/64 dev near nodad");
}

#[test]
fn obstacles_are_named() {
    alone(|| {
        connect();
        let standalone = Rules {
            mode: spa_server::firewall::Mode::Standalone,
            baits: vec![bait("a", "tcp/1", 9)],
            ..rules()
        };
        let mut firewall = installed(&standalone);
        let found = firewall.obstacles().unwrap();
        assert_eq!(found.len(), 1, "our own table is none: {found:#?}");
        assert!(found[0].text.contains("ip_local_reserved_ports=41001,42002-42003"), "{found:#?}");
        sh("echo 8080,41001,42002-42003 > /proc/sys/net/ipv4/ip_local_reserved_ports");
        assert!(firewall.obstacles().unwrap().is_empty());

        let input = "type filter hook input priority";
        for (number, (text, dropped)) in [
            // Named: policies, and rules without or with a condition that our packet meets.
            (format!("table inet t {{ chain c {{ {input} 0; policy drop; \
                }}\n}}"), "tcp/22, udp/5000-5010"),
            (format!("table inet t {{ chain c {{ {input} 0; policy drop; tcp dport 22 accept; \
                }}\n}}"), "udp/5000-5010"),
            (format!("table inet t {{ chain c {{ {input} 0; policy drop; ip saddr 192.0.2.1 \
                accept; udp dport 5000-5010 accept; }}\n}}"), "tcp/22"),
            (format!("table ip t {{ chain c {{ {input} 10; ct state established accept; counter \
                log reject; }}\n}}"), "tcp/22, udp/5000-5010"),
            (format!("table ip6 t {{ chain c {{ {input} 10; iif lo accept; tcp dport 1-1024 drop; \
                }}\n}}"), "tcp/22"),
            (format!("table inet t {{ chain d {{ udp dport 80 accept; counter drop; }}\nchain c {{ \
                {input} 10; meta nfproto ipv6 meta l4proto tcp goto d; }}\n}}"), "tcp/22"),
            ("table ip t { chain c { type filter hook prerouting priority -500; counter drop; \
                }\n}".to_owned(), "tcp/22, udp/5000-5010"),
            // The first packet passes, and none of those that follow.
            (format!("table inet t {{ chain c {{ {input} 0; policy drop; tcp dport {{ 22, 80 }} ct \
                state new accept; udp dport 1-9000 accept; }}\n}}"), "tcp/22"),
            // Not named: what accepts our ports, what drops others, other hooks.
            (format!("table inet t {{ chain c {{ {input} 0; policy drop; tcp dport {{ 22, 80 }} \
                accept; udp dport 1-9000 accept; }}\n}}"), ""),
            (format!("table inet t {{ chain a {{ th dport {{ 20-30, 5000-6000 }} accept; }}\nchain \
                c {{ {input} 0; policy drop; ct state invalid drop; jump a; }}\n}}"), ""),
            (format!("table inet t {{ chain c {{ {input} 0; tcp dport 80 drop; iif lo drop; tcp \
                dport != 22 drop; tcp flags & (fin|syn|rst|ack) == fin drop; ip saddr 192.0.2.1 drop; }}\n}}"), ""),
            ("table inet t { chain c { type filter hook forward priority 0; policy drop; }\nchain \
                d { drop; }\n}".to_owned(), ""),
        ]
        .into_iter()
        .enumerate()
        {
            load(&format!("{text}\n"));
            let found = firewall.obstacles().unwrap();
            if dropped.is_empty() {
                assert!(found.is_empty(), "{number}: {text}: {found:#?}");
            } else {
                assert_eq!(found.len(), 1, "{number}: {text}: {found:#?}");
                assert!(found[0].chain.ends_with(" t c"), "{found:#?}");
                assert!(found[0].text.contains(&format!("drops {dropped},")), "{number}: {text}: \
                    {found:#?}");
                assert_eq!(found[0].text.contains("policy is drop"), text.contains("policy drop"));
                // The rule is named as nft numbers it.
                let chain = if text.contains("chain d") { "d" } else { "c" };
                let family = text.split_whitespace().nth(1).unwrap();
                let listed = sh(&format!("nft -a list chain {family} t {chain}"));
                let drops = |line: &&str| line.contains("drop #") || line.contains("reject");
                let verdict = listed.lines().rfind(drops);
                if let Some((_, handle)) = verdict.and_then(|line| line.rsplit_once("# handle ")) {
                    let named = format!("rule with handle {handle} ");
                    assert!(found[0].text.contains(&named), "{listed}{found:#?}");
                }
                // The advice helps, for the port that it names.
                let advice = found[0].text.split_once("hides them: ").unwrap().1;
                sh(advice);
                let left = firewall.obstacles().unwrap();
                assert!(left.len() < found.len() || left[0].text != found[0].text, "{left:#?}");
            }
            sh(&format!("nft delete table {}", text.split_whitespace().skip(1).take(2).collect::<Vec<_>>().join(" ")));
        }
    });
}

/// The shape of what firewalld 1.3 loads for a zone that lets ssh in.
const FIREWALLD: &str = "table inet firewalld {
    chain filter_IN_public_deny { }
    chain filter_IN_public_allow { tcp dport 22 accept; }
    chain filter_IN_public {
        jump filter_IN_public_deny;
        jump filter_IN_public_allow;
        meta l4proto { icmp, ipv6-icmp } accept;
    }
    chain filter_INPUT_ZONES { goto filter_IN_public; }
    chain filter_INPUT {
        type filter hook input priority 10; policy accept;
        ct state { established, related } accept;
        ct status dnat accept;
        iifname \"lo\" accept;
        ct state invalid drop;
        jump filter_INPUT_ZONES;
        reject with icmpx admin-prohibited;
    }
}
";

/// The shape of what ufw 0.36 makes of `ufw allow 22/tcp`, as iptables commands.
const UFW: &[&str] = &[
    "-N ufw-before-input",
    "-N ufw-user-input",
    "-N ufw-after-input",
    "-N ufw-not-local",
    "-A ufw-before-input -i lo -j ACCEPT",
    "-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-A ufw-before-input -m conntrack --ctstate INVALID -j DROP",
    "-A ufw-before-input -j ufw-not-local",
    "-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN",
    "-A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN",
    "-A ufw-not-local -m limit --limit 3/min -j LOG",
    "-A ufw-not-local -j DROP",
    "-A ufw-before-input -j ufw-user-input",
    "-A ufw-user-input -p tcp --dport 22 -j ACCEPT",
    "-A ufw-after-input -p udp --dport 137 -j RETURN",
    "-A INPUT -j ufw-before-input",
    "-A INPUT -j ufw-after-input",
    "-A INPUT -m limit --limit 3/min -j LOG",
    "-P INPUT DROP",
];

#[test]
fn firewalld_and_ufw_are_read_through_their_chains() {
    alone(|| {
        connect();
        sh("echo 41001,42002-42003 > /proc/sys/net/ipv4/ip_local_reserved_ports");
        let mut firewall = installed(&rules());
        assert!(firewall.obstacles().unwrap().is_empty());
        load(FIREWALLD);
        let found = firewall.obstacles().unwrap();
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0].chain, "inet firewalld filter_INPUT");
        // ssh gets through, so only the other service is named, and the rule at the end.
        let listed = sh("nft -a list chain inet firewalld filter_INPUT");
        let (_, handle) =
            listed.lines().find(|l| l.contains("reject")).unwrap().rsplit_once("handle ").unwrap();
        let text = format!("Its rule with handle {handle} drops udp/5000-5010,");
        assert!(found[0].text.starts_with(&text), "{text}: {found:#?}");
        sh("nft delete table inet firewalld");

        for program in ["iptables-nft", "ip6tables-nft"] {
            for line in UFW {
                sh(&format!("{program} {line}"));
            }
        }
        let found = firewall.obstacles().unwrap();
        let mut chains: Vec<_> = found.iter().map(|obstacle| obstacle.chain.as_str()).collect();
        chains.sort_unstable();
        assert_eq!(chains, ["ip filter INPUT", "ip6 filter INPUT"], "{found:#?}");
        for obstacle in found {
            assert!(
                obstacle.text.starts_with("Its policy is drop: it drops udp/5000-5010,"),
                "{obstacle:#?}"
            );
            // In its owner's words: what else is put there stays for ever, or not at all.
            assert!(
                obstacle.text.ends_with("hides them: ufw allow 5000:5010/udp"),
                "{obstacle:#?}"
            );
        }
        // A rule that cannot be read may let it pass.
        for program in ["iptables-nft", "ip6tables-nft"] {
            sh(&format!("{program} -I INPUT -p udp -m length --length 0:9999 -j ACCEPT"));
        }
        assert!(firewall.obstacles().unwrap().is_empty(), "{:#?}", firewall.obstacles());
    });
}

/// What leads strangers around our table.
#[test]
fn h3_a_protected_port_that_is_sent_on_is_named() {
    alone(|| {
        connect();
        sh("echo 41001,42002-42003 > /proc/sys/net/ipv4/ip_local_reserved_ports");
        let mut firewall = installed(&rules());
        let named = |firewall: &mut dyn Firewall| {
            let found = firewall.obstacles().unwrap();
            assert!(found.iter().all(|found| found.bypasses), "{found:#?}");
            found.iter().map(|found| found.text.clone()).collect::<String>()
        };
        // As a container engine publishes a port.
        sh("iptables-nft -t nat -N DOCKER");
        sh("iptables-nft -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER");
        sh("iptables-nft -t nat -A DOCKER ! -i docker0 -p tcp --dport 80 -j DNAT \
             --to 172.17.0.2:80");
        assert_eq!(named(&mut firewall), "", "a port that is not ours");
        sh("iptables-nft -t nat -A DOCKER ! -i docker0 -p tcp --dport 22 -j DNAT \
             --to 172.17.0.2:22");
        let text = named(&mut firewall);
        assert!(text.contains("sends tcp/22 on") && text.contains("hook = \"forward\""), "{text}");
        sh("nft delete table ip nat");
        let nat = "table inet n { chain c { type nat hook prerouting priority -100; RULE; }\n}\n";
        for (rule, bypasses) in [
            ("meta nfproto ipv4 udp dport 5011 dnat ip to 172.17.0.2", false),
            ("meta nfproto ipv4 udp dport 5001 dnat ip to 172.17.0.2", true),
            ("meta nfproto ipv4 udp dport 5000 dnat ip to 172.17.0.2", true),
            ("meta nfproto ipv6 tcp dport { 22, 80 } dnat ip6 to fd00::2", true),
            // To this host itself, where our own chains ask for the port that was wanted.
            ("tcp dport 22 redirect to :2222", false),
            ("meta nfproto ipv4 tcp dport 22 dnat ip to 127.0.0.1", false),
        ] {
            load(&nat.replace("RULE", rule));
            assert_eq!(!named(&mut firewall).is_empty(), bypasses, "{rule}");
            sh("nft delete table inet n");
        }
    });
}
