//! A router with a host behind it: routed, through our NAT, through somebody else's.

use std::time::{Duration, Instant};

use spa_server::domain::grant::{Grant, GrantId, Scope};
use spa_server::domain::ports::Protocol::{self, Tcp, Udp};
use spa_server::firewall::{Established, Firewall, Forward, Hide, Rules};

use crate::namespace::{Host, grant, load, rules, sh};
use crate::net::{Flow, Seen, Wall, echoes, flow, reach, settled};

/// Router and inner host as the client names them, the client, and a stranger on the same cable.
pub const FAMILIES: [[&str; 4]; 2] = [
    ["10.9.1.1", "10.9.2.2", "10.9.1.2", "10.9.1.3"],
    ["fd09:1::1", "fd09:2::2", "fd09:1::2", "fd09:1:0:0:7::3"],
];

pub struct Site {
    pub router: Host,
    pub inner: Host,
    pub client: Host,
    pub wall: Wall,
}

impl Site {
    pub fn new(rules: &Rules) -> Self {
        let (router, inner, client) = (Host::new(), Host::new(), Host::new());
        router.run(|| {
            sh("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > \
                /proc/sys/net/ipv6/conf/all/forwarding");
        });
        router.cable(&client, 1);
        router.cable(&inner, 2);
        client.run(|| {
            sh("ip addr add 10.9.1.3/24 dev far1; ip -6 addr add fd09:1:0:0:7::3/64 dev far1 \
                nodad");
            sh("ip route add default via 10.9.1.1; ip -6 route add default via fd09:1::1");
        });
        inner
            .run(|| sh("ip route add default via 10.9.2.1; ip -6 route add default via fd09:2::1"));
        settled(&[&router, &inner, &client]);
        echoes(&inner, &[22, 80], &[5000]);
        echoes(&router, &[22, 80], &[]);
        echoes(&client, &[22], &[]);
        let site = Self { router, inner, client, wall: Wall::default() };
        site.install(rules);
        site
    }

    pub fn install(&self, rules: &Rules) {
        let rules = rules.clone();
        self.wall.with(&self.router, move |f| f.install(&rules).unwrap());
    }

    pub fn open(&self, grant: Grant) {
        self.wall.with(&self.router, move |f| f.open(&grant).unwrap());
    }

    pub fn close(&self, id: u64) {
        self.wall.with(&self.router, move |f| f.close(GrantId(id)).unwrap());
    }

    pub fn flow(
        &self,
        protocol: Protocol,
        source: &str,
        to: &str,
        port: u16,
    ) -> Result<Flow, Seen> {
        flow(&self.client, protocol, source, to, port)
    }

    pub fn reach(&self, protocol: Protocol, source: &str, to: &str, port: u16) -> Flow {
        reach(&self.client, protocol, source, to, port)
    }

    fn entries(&self, port: u16) -> usize {
        let text = self.router.run(|| sh("cat /proc/thread-self/net/nf_conntrack"));
        text.lines().filter(|line| line.contains(&format!("port={port} "))).count()
    }
}

pub fn behind(ports: &str, to: Option<&str>, established: Established) -> Forward {
    Forward {
        ports: ports.split(',').map(|p| p.parse().unwrap()).collect(),
        to: to.map(|to| to.parse().unwrap()),
        established,
    }
}

/// The router protects its own port 80.
pub fn gateway(hide: Hide, forward: Vec<Forward>) -> Rules {
    Rules {
        hide,
        interfaces: vec!["near1".into()],
        protected: vec!["tcp/80".parse().unwrap()],
        forward,
        ..rules()
    }
}

pub fn inside(id: u64, source: &str, ports: &str, ttl: u64) -> Grant {
    let grant = grant(id, source, ports, ttl);
    let Scope::Ports(ports) = grant.scope else { panic!() };
    Grant { scope: Scope::Inside(ports), ..grant }
}

fn each(mut test: impl FnMut(Hide, Established, Seen)) {
    for hide in [Hide::Drop, Hide::Closed] {
        let hidden = if hide == Hide::Drop { Seen::Silent } else { Seen::Refused };
        for established in [Established::Keep, Established::Drop] {
            test(hide, established, hidden);
        }
    }
}

#[test]
fn a_routed_host() {
    each(|hide, established, hidden| {
        let site =
            Site::new(&gateway(hide, vec![behind("tcp/22,tcp/80,udp/5000", None, established)]));
        for [router, inner, client, stranger] in FAMILIES {
            let what = format!("{hide:?} {established:?} {inner}");
            assert_eq!(site.flow(Tcp, client, inner, 22).unwrap_err(), hidden, "{what}");
            assert_eq!(site.flow(Udp, client, inner, 5000).unwrap_err(), hidden, "{what}");
            assert!(flow(&site.inner, Tcp, inner, client, 22).is_ok(), "outward, {what}");
            assert!(site.flow(Tcp, stranger, router, 22).is_ok(), "the router's own port, {what}");

            site.open(inside(1, client, "tcp/22,tcp/80,udp/5000", 600));
            let mut tcp = site.reach(Tcp, client, inner, 22);
            let mut udp = site.reach(Udp, client, inner, 5000);
            assert!(flow(&site.inner, Tcp, inner, client, 22).is_ok(), "outward, {what}");
            assert_eq!(site.flow(Tcp, stranger, inner, 22).unwrap_err(), hidden, "{what}");
            assert_eq!(site.flow(Udp, stranger, inner, 5000).unwrap_err(), hidden, "{what}");
            assert_eq!(
                site.flow(Tcp, client, router, 80).unwrap_err(),
                hidden,
                "not the router's own, {what}"
            );
            let live = site.wall.with(&site.router, |f| f.grants().unwrap());
            assert_eq!(
                (live[0].grant.clone(), live[0].used),
                (inside(1, client, "tcp/22,tcp/80,udp/5000", 600), Some(2))
            );
            site.open(inside(1, client, "tcp/22,tcp/80,udp/5000", 700));
            assert!(tcp.alive() && udp.alive(), "renewed, {what}");

            // A grant for the same port of the router is another door.
            site.open(grant(2, stranger, "tcp/80", 600));
            assert!(site.flow(Tcp, stranger, router, 80).is_ok(), "{what}");
            assert_eq!(site.flow(Tcp, stranger, inner, 80).unwrap_err(), hidden, "{what}");
            site.close(2);

            site.wall.crash();
            site.close(1);
            let keeps = established == Established::Keep;
            assert_eq!((tcp.alive(), udp.alive()), (keeps, keeps), "{what}");
            assert_eq!(site.flow(Tcp, client, inner, 22).unwrap_err(), hidden, "{what}");
        }
    });
}

#[test]
fn our_own_nat() {
    each(|hide, established, hidden| {
        for [_, inner, ..] in FAMILIES {
            let end = if inner.contains(':') { format!("[{inner}]") } else { inner.to_owned() };
            let forward = vec![
                behind("tcp/2222", Some(&format!("{end}:22")), established),
                behind("udp/5002", Some(&format!("{end}:5000")), established),
                behind("tcp/80", Some(inner), established),
            ];
            let mut rules = gateway(hide, forward);
            // As the configuration does.
            rules.protected =
                ["tcp/2222", "udp/5002", "tcp/80"].map(|p| p.parse().unwrap()).to_vec();
            let site = Site::new(&rules);
            for [router, other_inner, client, stranger] in FAMILIES {
                let what = format!("{hide:?} {established:?} to {inner} from {client}");
                for (protocol, port) in [(Tcp, 2222), (Udp, 5002), (Tcp, 80)] {
                    assert_eq!(
                        site.flow(protocol, client, router, port).unwrap_err(),
                        hidden,
                        "{what}"
                    );
                }
                site.open(inside(1, client, "tcp/2222,udp/5002,tcp/80", 600));
                if other_inner != inner {
                    assert_eq!(
                        site.flow(Tcp, client, router, 2222).unwrap_err(),
                        hidden,
                        "other family, {what}"
                    );
                    site.close(1);
                    continue;
                }
                // The router listens on port 80 itself; the client gets to the host behind it.
                let mut flows = [(Tcp, 2222), (Udp, 5002), (Tcp, 80)]
                    .map(|(protocol, port)| site.reach(protocol, client, router, port));
                assert_eq!(site.flow(Tcp, stranger, router, 2222).unwrap_err(), hidden, "{what}");
                let live = site.wall.with(&site.router, |f| f.grants().unwrap());
                assert_eq!(live[0].used, Some(3), "{what}");
                site.open(inside(1, client, "tcp/2222,udp/5002,tcp/80", 700));
                assert!(flows.iter_mut().all(Flow::alive), "renewed, {what}");
                site.wall.crash();
                site.install(&rules);
                site.close(1);
                let keeps = established == Established::Keep;
                assert!(flows.iter_mut().all(|flow| flow.alive() == keeps), "{what}");
                assert_eq!(site.entries(5002) == 0, !keeps, "{what}");
                assert_eq!(site.flow(Tcp, client, router, 2222).unwrap_err(), hidden, "{what}");

                let prefix = if client.contains(':') { 64 } else { 24 };
                site.open(Grant { prefix, ..inside(2, client, "tcp/2222", 600) });
                let mut wide = site.reach(Tcp, stranger, router, 2222);
                assert!(wide.alive(), "{what}");
                site.close(2);
                assert_eq!(wide.alive(), keeps, "{what}");
            }
        }
    });
}

#[test]
fn a_published_container_port() {
    each(|hide, established, hidden| {
        let site = Site::new(&gateway(hide, vec![behind("tcp/8080,udp/5002", None, established)]));
        site.router.run(|| {
            load(
                "table inet engine { chain pre { type nat hook prerouting priority dstnat; \
                  tcp dport 8080 dnat ip to 10.9.2.2:80\ntcp dport 8080 dnat ip6 to [fd09:2::2]:80\n\
                  udp dport 5002 dnat ip to 10.9.2.2:5000\nudp dport 5002 dnat ip6 to [fd09:2::2]:5000\n}\n\
                  chain post { type nat hook postrouting priority srcnat; oifname near2 masquerade; }\n}\n",
            );
        });
        for [router, _, client, stranger] in FAMILIES {
            let what = format!("{hide:?} {established:?} {router}");
            let both = [(Tcp, 8080), (Udp, 5002)];
            for (protocol, port) in both {
                assert_eq!(
                    site.flow(protocol, stranger, router, port).unwrap_err(),
                    hidden,
                    "{what}"
                );
            }
            site.open(inside(1, client, "tcp/8080,udp/5002", 600));
            let mut flows = both.map(|(protocol, port)| site.reach(protocol, client, router, port));
            for (protocol, port) in both {
                assert_eq!(
                    site.flow(protocol, stranger, router, port).unwrap_err(),
                    hidden,
                    "{what}"
                );
            }
            site.close(1);
            let keeps = established == Established::Keep;
            assert!(flows.iter_mut().all(|flow| flow.alive() == keeps), "{what}");
        }
    });
}

/// As for a service on the host: what the inner host sends after conntrack was emptied begins a
/// flow of its own.
#[test]
fn an_entry_that_the_inner_host_makes_anew_opens_nothing() {
    let forward = vec![behind("tcp/22,udp/5000", None, Established::Drop)];
    let site = Site::new(&gateway(Hide::Drop, forward));
    for [_, inner, client, _] in FAMILIES {
        site.open(inside(1, client, "tcp/22,udp/5000", 600));
        let mut tcp = site.reach(Tcp, client, inner, 22);
        let mut udp = site.reach(Udp, client, inner, 5000);
        site.client.run(|| {
            load("table inet deaf { chain in { type filter hook input priority 0; drop; }\n}\n")
        });
        assert!(!tcp.alive() && !udp.alive());
        site.close(1);
        site.router.run(|| sh("conntrack -F 2>/dev/null"));
        assert!(!tcp.alive() && !tcp.alive() && !tcp.alive());
        site.client.run(|| sh("nft delete table inet deaf"));
        assert!(!tcp.alive() && !udp.alive(), "{inner}");
        assert_eq!((site.entries(22), site.entries(5000)), (0, 0), "{inner}");
        let counted = site.router.run(|| sh("nft list chain inet spa inside_calls"));
        assert!(!counted.contains("counter packets 0 "), "the inner host did try: {counted}");
        site.router.run(|| sh("nft flush ruleset"));
        site.wall.with(&site.router, |f| f.restore().unwrap());
    }
}

#[test]
fn the_end_of_its_time_cuts_without_us() {
    let forward = vec![
        behind("tcp/2222", Some("10.9.2.2:22"), Established::Drop),
        behind("udp/5000", None, Established::Drop),
    ];
    let site = Site::new(&gateway(Hide::Drop, forward));
    let start = Instant::now();
    site.open(inside(1, "10.9.1.2", "tcp/2222,udp/5000", 2));
    let mut tcp = site.reach(Tcp, "10.9.1.2", "10.9.1.1", 2222);
    let mut udp = site.reach(Udp, "10.9.1.2", "10.9.2.2", 5000);
    site.wall.crash();
    while udp.alive() {
        assert!(start.elapsed() < Duration::from_secs(6));
    }
    assert!(start.elapsed() >= Duration::from_secs(2) && !tcp.alive());
    site.router.run(|| {
        load("table inet behind { chain c { type filter hook forward priority 10; counter; }\n}\n");
    });
    assert!(!udp.alive() && !tcp.alive());
    let seen = site.router.run(|| sh("nft list table inet behind"));
    assert!(seen.contains("counter packets 0 "), "{seen}");
}

#[test]
fn what_would_stop_the_forwarding_is_named() {
    let forward = vec![
        behind("tcp/2222", Some("10.9.2.2:22"), Established::Keep),
        behind("tcp/443", None, Established::Keep),
    ];
    let site = Site::new(&gateway(Hide::Drop, forward));
    let named = || {
        let found = site.wall.with(&site.router, |f| f.obstacles().unwrap());
        found
            .iter()
            .filter(|o| !o.chain.contains("port_range"))
            .map(|o| format!("{}: {}", o.chain, o.text))
            .collect::<Vec<_>>()
    };
    assert_eq!(named(), Vec::<String>::new());
    site.router.run(|| {
        load(
            "table inet t { chain c { type filter hook forward priority 0; policy drop; tcp dport \
            2222 accept; }\n}\n",
        );
    });
    let found = named();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("inet t c: "), "{found:?}");
    assert!(found[0].contains("drops tcp/22, tcp/443,"), "{found:?}");
    // The advice helps.
    site.open(inside(1, "10.9.1.2", "tcp/2222", 600));
    assert!(site.flow(Tcp, "10.9.1.2", "10.9.1.1", 2222).is_err());
    let advice = found[0].split_once("hides them: ").unwrap().1.to_owned();
    site.router.run(move || sh(&advice));
    site.router.run(|| sh("nft insert rule inet t c ct state established accept"));
    let found = named();
    assert!(found.len() == 1 && found[0].contains("drops tcp/443,"), "{found:?}");
    let advice = found[0].split_once("hides them: ").unwrap().1.to_owned();
    site.router.run(move || sh(&advice));
    assert!(site.flow(Tcp, "10.9.1.2", "10.9.1.1", 2222).is_ok());
    assert_eq!(named(), Vec::<String>::new());
    site.router.run(|| sh("echo 0 > /proc/sys/net/ipv4/ip_forward"));
    let found = named();
    assert!(found[0].ends_with("sysctl -w net.ipv4.ip_forward=1"), "{found:?}");
}

/// With tracking off or lost a packet belongs to nothing: it must not slip through.
#[test]
fn what_conntrack_does_not_know_is_hidden_as_well() {
    let site =
        Site::new(&gateway(Hide::Closed, vec![behind("tcp/22,udp/5000", None, Established::Keep)]));
    site.router.run(|| {
        load(
            "table inet raw { chain pre { type filter hook prerouting priority raw; notrack; \
            }\n}\n",
        )
    });
    for [_, inner, client, _] in FAMILIES {
        assert_eq!(site.flow(Tcp, client, inner, 22).unwrap_err(), Seen::Refused);
        assert_eq!(site.flow(Udp, client, inner, 5000).unwrap_err(), Seen::Refused);
    }
}
