//! Bait packets in somebody else's name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use spa_tests::bans::{ban_of, bans};
use spa_tests::config::Config;
use spa_tests::netns::{Host, Lan, lan};
use spa_tests::probe::{TcpProbe, hold, tcp_from};
use spa_tests::raw::Forger;
use spa_tests::scene::{PATIENCE, SILENCE, SSH, Scene, both, config};
use spa_tests::{Family, need_namespaces, nft, wait_until};

/// The bait's ports: `tcp/23` and `udp/161`.
const TELNET: u16 = 23;
const SNMP: u16 = 161;
/// Nothing of ours: whoever is not banned is refused there.
const CLOSED: u16 = 81;

fn baited(ttl: u32) -> Config {
    config(ttl).bait("trap", "ports = [\"tcp/23\", \"udp/161\"]\nban = \"60s\"")
}

/// The two ways into a trap.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lure {
    Syn,
    Datagram,
}

impl Lure {
    const BOTH: [Lure; 2] = [Lure::Syn, Lure::Datagram];

    fn port(self) -> &'static str {
        match self {
            Lure::Syn => "tcp/23",
            Lure::Datagram => "udp/161",
        }
    }
}

/// Somebody on the same link who sends in any name.
struct Liar {
    forger: Forger,
    server: Host,
}

impl Liar {
    fn new(net: &Lan) -> Liar {
        Liar { forger: Forger::new(&net.stranger), server: net.server.clone() }
    }

    /// One packet to a bait; each from a source port of its own, so that each is a new flow.
    fn touch(&self, source: IpAddr, lure: Lure) {
        static PORT: AtomicU16 = AtomicU16::new(1024);
        let source = SocketAddr::new(source, PORT.fetch_add(1, Ordering::Relaxed).max(1024));
        let family = Family::of(source.ip());
        match lure {
            Lure::Syn => self.forger.syn(source, self.server.at(family, TELNET)),
            Lure::Datagram => self.forger.udp(source, self.server.at(family, SNMP), b"public"),
        }
    }

    /// Touches it and waits until the log tells of the ban.
    fn ban(&self, scene: &Scene, source: IpAddr, lure: Lure) {
        let mark = scene.server.log().mark();
        self.touch(source, lure);
        let (port, source) = (format!("port={}", lure.port()), format!("source={source} "));
        scene.server.log().wait_since(mark, &["event=banned", "bait=trap", &source, &port]);
    }

    /// Returns when the server has dealt with all earlier packets: another address, touched last,
    /// is banned.
    fn settle(&self, family: Family) {
        let witness = witness(family);
        self.touch(witness, Lure::Syn);
        assert!(
            wait_until(PATIENCE, || banned(&self.server, witness)),
            "{family}: nobody is banned any more"
        );
    }
}

/// An address, and for IPv6 a network, that belongs to no host; another each time.
fn witness(family: Family) -> IpAddr {
    static NUMBER: AtomicU16 = AtomicU16::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    match family {
        Family::V4 => {
            Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + u32::from(number)).into()
        }
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0xffff, number, 0, 0, 0, 1).into(),
    }
}

/// Another address in the client's /64.
fn neighbour(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(198, 51, 100, 11).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0xbad, 0x11).into(),
    }
}

fn banned(server: &Host, source: IpAddr) -> bool {
    ban_of(server, source).is_some()
}

#[test]
fn before_the_knock() {
    need_namespaces!();
    // Where the knocks are read decides where in our table they must get past the ban.
    for capture in ["ring", "nflog", "udp"] {
        let net = lan();
        let config = baited(30).set("capture.mode", &format!("\"{capture}\""));
        let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
        let liar = Liar::new(&net);
        both(|family| {
            for lure in Lure::BOTH {
                let what = format!("{capture}, {family}, {lure:?}");
                let client = net.client.address(family);
                liar.ban(&scene, client, lure);
                assert!(banned(&net.server, client), "{what}");
                // Dropped at the top, whatever it wants; the others are not.
                assert_eq!(scene.seen(&net.client, family, CLOSED), TcpProbe::Silent, "{what}");
                assert_eq!(scene.seen(&net.stranger, family, CLOSED), TcpProbe::Refused, "{what}");

                let json = scene.client.must_open("ssh", family, &["--ttl", "1s"]);
                assert_eq!(json["services"][0]["granted"], true, "{what}: {json}");
                assert!(!banned(&net.server, client), "{what}: the knock does not lift the ban");
                assert_eq!(scene.seen(&net.client, family, CLOSED), TcpProbe::Refused, "{what}");
                let live = format!("live{}", family.digit());
                let over = || {
                    nft::elements(&net.server, "inet", "spa", &live)
                        .is_some_and(|set| set.is_empty())
                };
                assert!(wait_until(PATIENCE, over), "{what}: never closes");
            }
        });
    }
}

#[test]
fn with_a_live_grant() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &baited(30), &["ssh"]);
    let liar = Liar::new(&net);
    both(|family| {
        let client = net.client.address(family);
        scene.client.must_open("ssh", family, &[]);
        let mut held = hold(&net.client, net.server.at(family, SSH), PATIENCE);
        for lure in Lure::BOTH {
            liar.touch(client, lure);
            liar.settle(family);
            assert!(!banned(&net.server, client), "{family}, {lure:?}");
        }
        assert!(held.is_alive(PATIENCE) && scene.is_open(family, SSH), "{family}");

        // The neighbour is banned, in IPv6 with the whole /64: the client goes on, the neighbour
        // does not.
        net.client.add_address(neighbour(family));
        let seen = |source: IpAddr, port: u16| scene.seen_from(&net.client, source, port);
        // With patience: the server has to learn of the new address.
        let first = tcp_from(
            &net.client,
            (neighbour(family), 0).into(),
            net.server.at(family, CLOSED),
            PATIENCE,
        );
        assert_eq!(first, TcpProbe::Refused, "{family}");
        liar.ban(&scene, neighbour(family), Lure::Syn);
        assert!(held.is_alive(PATIENCE), "{family}: cut off by its neighbour");
        assert_eq!(seen(client, SSH), TcpProbe::Open, "{family}: kept out by its neighbour");
        assert_eq!(seen(neighbour(family), CLOSED), TcpProbe::Silent, "{family}: the neighbour");
    });
}

/// The recipe to the letter: banned is banned.
#[test]
fn strict() {
    need_namespaces!();
    let net = lan();
    let config = baited(30).set("server.authenticated", "\"strict\"");
    let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
    let liar = Liar::new(&net);
    both(|family| {
        let client = net.client.address(family);
        liar.ban(&scene, client, Lure::Syn);
        let opened = scene.client.open("ssh", family, &[]);
        assert_eq!(opened.status.code(), Some(1), "{family}: {opened:?}");
        let service = &opened.json["services"][0];
        assert_eq!(
            (&service["granted"], &service["reason"]),
            (&false.into(), &"banned".into()),
            "{opened:?}"
        );
        assert!(opened.stderr.contains("banned"), "{family}: {opened:?}");
        let source = format!("source={client} ");
        scene.server.wait_log(&["event=denied", "client=laptop ", &source, "reason=banned"]);
        assert!(banned(&net.server, client), "{family}: the knock has lifted the ban");
        assert!(scene.is_hidden(family, SSH), "{family}");
        assert_eq!(scene.seen(&net.client, family, CLOSED), TcpProbe::Silent, "{family}");
    });
}

#[test]
fn strict_with_a_live_grant() {
    need_namespaces!();
    let net = lan();
    let config = baited(30).set("server.authenticated", "\"strict\"");
    let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
    let liar = Liar::new(&net);
    both(|family| {
        scene.client.must_open("ssh", family, &[]);
        let mut held = hold(&net.client, net.server.at(family, SSH), PATIENCE);
        assert!(held.is_alive(PATIENCE), "{family}");
        liar.ban(&scene, net.client.address(family), Lure::Datagram);
        assert!(!held.is_alive(SILENCE), "{family}: the ban is not the first rule");
        assert!(scene.is_hidden(family, SSH), "{family}");
    });
}

#[test]
fn those_who_are_never_banned() {
    need_namespaces!();
    let net = lan();
    let config = baited(30).set("ban.never", "[\"198.51.100.0/28\", \"2001:db8:c::/48\"]");
    let scene = Scene::new(&net.server, &net.client, &config, &["ssh"]);
    let liar = Liar::new(&net);
    both(|family| {
        let client = net.client.address(family);
        for lure in Lure::BOTH {
            liar.touch(client, lure);
            liar.settle(family);
            assert!(!banned(&net.server, client), "{family}, {lure:?}");
        }
        assert_eq!(scene.seen(&net.client, family, CLOSED), TcpProbe::Refused, "{family}");
    });
}

/// Whoever forges very many sources fills the table, and nothing else.
#[test]
fn more_sources_than_the_table_has_room_for() {
    need_namespaces!();
    const LIMIT: usize = 20;
    let net = lan();
    let config = baited(30).set("ban.limit", &LIMIT.to_string());
    let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
    let liar = Liar::new(&net);
    both(|family| {
        let client = net.client.address(family);
        liar.ban(&scene, client, Lure::Syn);
        for _ in 0..500 {
            for lure in Lure::BOTH {
                liar.touch(witness(family), lure);
            }
        }
        assert!(wait_until(PATIENCE, || bans(&net.server, family).len() == LIMIT), "{family}");
        // Banned, with a full table: a knock still lifts it and opens.
        assert!(banned(&net.server, client), "{family}");
        scene.client.must_open("ssh", family, &[]);
        assert!(scene.is_open(family, SSH) && !banned(&net.server, client), "{family}");
        // The room that it leaves is taken, and no more.
        liar.settle(family);
        for _ in 0..100 {
            liar.touch(witness(family), Lure::Syn);
        }
        assert_eq!(
            scene.seen(&net.stranger, family, CLOSED),
            TcpProbe::Refused,
            "{family}: the stranger"
        );
        assert_eq!(bans(&net.server, family).len(), LIMIT, "{family}");
        assert_eq!(scene.seen(&net.stranger, family, SSH), TcpProbe::Silent, "{family}");
    });
    let lines = scene.server.log().lines();
    let told = lines.iter().filter(|line| line.contains("event=banned")).count();
    assert!(told <= 2 * (LIMIT + 1), "{told} lines about bans: the log grows with the forgeries");
    assert_eq!(scene.server.status()["bans"], 2 * LIMIT);

    // A full table is put back as well as any other, and the grants with it.
    let mark = scene.server.log().mark();
    nft::load(&net.server, "flush ruleset");
    scene.server.log().wait_since(mark, &["event=firewall-restored"]);
    both(|family| {
        assert!(
            bans(&net.server, family).len() >= LIMIT / 2,
            "{family}: {:?}",
            bans(&net.server, family)
        );
        assert!(scene.is_open(family, SSH), "{family}");
    });
}

/// A range of baits around the knock ports catches scanners, and no knock.
#[test]
fn baits_around_the_knock_ports() {
    need_namespaces!();
    for capture in ["ring", "nflog", "udp"] {
        let net = lan();
        let config = config(30)
            .bait("around", "ports = [\"udp/40000-40010\", \"tcp/40000-40010\"]\nban = \"60s\"")
            .set("capture.mode", &format!("\"{capture}\""));
        let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
        let liar = Liar::new(&net);
        both(|family| {
            scene.client.must_open("ssh", family, &[]);
            assert!(scene.is_open(family, SSH), "{capture}, {family}");
            // The knock ports of the other protocol, and all others of both, are baits.
            for (index, port) in [40000, 40004, 40010].into_iter().enumerate() {
                let source = SocketAddr::new(witness(family), 5000);
                liar.forger.udp(source, net.server.at(family, port), b"anybody there?");
                let caught = || banned(&net.server, source.ip());
                assert!(wait_until(PATIENCE, caught), "{capture}, {family}, udp/{port}, {index}");
            }
            let source = SocketAddr::new(witness(family), 5000);
            liar.forger.syn(source, net.server.at(family, 40001));
            assert!(
                wait_until(PATIENCE, || banned(&net.server, source.ip())),
                "{capture}, {family}: tcp/40001"
            );
            // A stranger's datagram to a knock port is no bait either: it might be a knock.
            let source = SocketAddr::new(witness(family), 5000);
            liar.forger.udp(source, net.server.at(family, 40001), b"anybody there?");
            let last = SocketAddr::new(witness(family), 5000);
            liar.forger.udp(last, net.server.at(family, 40000), b"anybody there?");
            assert!(wait_until(PATIENCE, || banned(&net.server, last.ip())), "{capture}, {family}");
            assert!(!banned(&net.server, source.ip()), "{capture}, {family}: a knock port bans");
        });
    }
}
