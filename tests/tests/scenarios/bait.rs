//! Bait ports: who touches one is banned, and nobody else.

use std::net::{IpAddr, SocketAddr};
use std::thread;

use spa_tests::bans::{ban_of, banned_as, bans, stranger};
use spa_tests::config::Config;
use spa_tests::netns::{Host, Lan, lan};
use spa_tests::nft;
use spa_tests::packet::{self, ACK, FIN, PSH, Packet, RST, SYN, TCP, URG};
use spa_tests::probe::{EchoServer, TcpProbe, UdpEcho, UdpProbe, hold, ping, tcp, tcp_from, udp};
use spa_tests::raw::Forger;
use spa_tests::scene::{self, PATIENCE, SILENCE, Scene, both};
use spa_tests::{Family, need_namespaces, wait_until};

/// A bait that every test has, to show that everything before it has been dealt with.
const TELNET: u16 = 23;
/// A port of the host that is none of our business in guard mode.
const PUBLIC: u16 = 443;

fn config() -> Config {
    scene::config(600).bait("telnet", "ports = [\"tcp/23\"]\nban = \"1h\"")
}

struct Pit {
    scene: Scene,
    _public: EchoServer,
    net: Lan,
}

fn pit(config: &Config) -> Pit {
    let net = lan();
    let scene = Scene::new(&net.server, &net.client, config, &["ssh"]);
    scene.server.wait_fence();
    let public = EchoServer::start(&net.server, PUBLIC);
    Pit { scene, _public: public, net }
}

impl Pit {
    fn at(&self, family: Family, port: u16) -> SocketAddr {
        self.net.server.at(family, port)
    }

    fn forger(&self) -> Forger {
        Forger::new(&self.net.stranger)
    }

    fn syn(&self, forger: &Forger, source: IpAddr, port: u16) {
        forger.syn((source, 50_000).into(), self.at(Family::of(source), port));
    }

    fn udp(&self, forger: &Forger, source: IpAddr, port: u16) {
        forger.udp((source, 50_000).into(), self.at(Family::of(source), port), b"anyone there?");
    }

    /// The time that a source is banned for, in seconds.
    fn ban(&self, source: IpAddr) -> Option<u64> {
        ban_of(&self.net.server, source).map(|ban| ban.timeout.expect("a ban ends"))
    }

    /// Returns when everything that this forger has sent before has met the rules.
    fn settle(&self, forger: &Forger, family: Family) {
        let last = stranger(family, 0xffff);
        self.syn(forger, last, TELNET);
        self.wait_ban(last, 3600);
    }

    fn wait_ban(&self, source: IpAddr, seconds: u64) {
        let family = Family::of(source);
        let banned = wait_until(PATIENCE, || self.ban(source) == Some(seconds));
        assert!(banned, "{source} is not banned for {seconds} s: {:?}", bans(&self.net.server, family));
    }

    fn seen(&self, from: &Host, family: Family, port: u16) -> TcpProbe {
        self.scene.seen(from, family, port)
    }
}

#[test]
fn every_group_has_its_ports_and_its_time() {
    need_namespaces!();
    let config = config()
        .bait("windows", "ports = [\"tcp/3389\", \"tcp/5900-5910\"]\nban = \"10m\"")
        .bait("chatty", "ports = [\"udp/161\", \"udp/1900-1902\", \"tcp/1900\"]\nban = \"90s\"")
        .bait("later", "ports = [\"tcp/5905-5920\"]\nban = \"5m\"");
    let pit = pit(&config);
    let touched = [
        ("tcp", 23, "telnet", 3600),
        ("tcp", 3389, "windows", 600),
        ("tcp", 5900, "windows", 600),
        // In two groups: the first in the file counts.
        ("tcp", 5907, "windows", 600),
        ("tcp", 5910, "windows", 600),
        ("tcp", 5911, "later", 300),
        ("tcp", 5920, "later", 300),
        ("udp", 161, "chatty", 90),
        ("udp", 1900, "chatty", 90),
        ("udp", 1902, "chatty", 90),
        ("tcp", 1900, "chatty", 90),
    ];
    let harmless = [
        ("udp", 23),
        ("tcp", 22),
        ("tcp", 24),
        ("tcp", 3388),
        ("tcp", 3390),
        ("tcp", 5899),
        ("tcp", 5921),
        ("tcp", 161),
        ("udp", 160),
        ("udp", 1899),
        ("udp", 1903),
        ("tcp", 1901),
        ("udp", 40_001),
        ("tcp", 40_001),
    ];
    both(|family| {
        let forger = pit.forger();
        let touch = |protocol: &str, number: u16, port: u16| match protocol {
            "tcp" => pit.syn(&forger, stranger(family, number), port),
            _ => pit.udp(&forger, stranger(family, number), port),
        };
        for (number, (protocol, port)) in (100..).zip(harmless) {
            touch(protocol, number, port);
        }
        for (number, (protocol, port, _, _)) in (0..).zip(touched) {
            touch(protocol, number, port);
        }
        pit.settle(&forger, family);
        for (number, (protocol, port, group, seconds)) in (0..).zip(touched) {
            let source = stranger(family, number);
            assert_eq!(pit.ban(source), Some(seconds), "{family} {protocol}/{port}");
            pit.scene.server.wait_log(&[
                "event=banned",
                &format!("source={source} "),
                &format!("bait={group} "),
                &format!("port={protocol}/{port} "),
                &format!("time={seconds}s"),
            ]);
        }
        for (number, (protocol, port)) in (100..).zip(harmless) {
            assert_eq!(pit.ban(stranger(family, number)), None, "{family} {protocol}/{port} is no bait");
        }
    });
    let all = 2 * (touched.len() + 1);
    assert_eq!(pit.scene.server.status()["bans"], all);
}

#[test]
fn a_banned_source_reaches_nothing_until_its_ban_ends() {
    need_namespaces!();
    let pit = pit(&config().bait("short", "ports = [\"tcp/2323\"]\nban = \"4s\""));
    let _udp = UdpEcho::start(&pit.net.server, 5353);
    both(|family| {
        let stranger = &pit.net.stranger;
        let seen = || {
            (
                pit.seen(stranger, family, PUBLIC),
                udp(stranger, pit.at(family, 5353), SILENCE),
                ping(stranger, pit.net.server.address(family), SILENCE),
            )
        };
        assert_eq!(seen(), (TcpProbe::Open, UdpProbe::Answered, true), "{family}");
        let mut held = hold(stranger, pit.at(family, PUBLIC), PATIENCE);
        assert_eq!(pit.seen(stranger, family, 2323), TcpProbe::Silent, "{family}: the first touch");
        pit.wait_ban(stranger.address(family), 4);
        assert_eq!(seen(), (TcpProbe::Silent, UdpProbe::Silent, false), "{family}");
        assert!(!held.is_alive(SILENCE), "{family}: an established connection survived the ban");
        // Others are served all the time.
        assert_eq!(pit.seen(&pit.net.client, family, PUBLIC), TcpProbe::Open, "{family}");

        assert!(wait_until(PATIENCE, || pit.ban(stranger.address(family)).is_none()), "{family}");
        let open = tcp(stranger, pit.at(family, PUBLIC), PATIENCE);
        assert_eq!(open, TcpProbe::Open, "{family}: the ban has ended");
    });
}

#[test]
fn the_first_touch_looks_like_a_hidden_port() {
    need_namespaces!();
    for (hide, look) in [("drop", TcpProbe::Silent), ("closed", TcpProbe::Refused)] {
        let config = config().set("firewall.hide", &format!("\"{hide}\""));
        let pit = pit(&config.bait("chatty", "ports = [\"udp/161\", \"tcp/161\"]\nban = \"1h\""));
        // Baits with something behind them: it must not show through.
        let _behind = (EchoServer::start(&pit.net.server, TELNET), UdpEcho::start(&pit.net.server, 161));
        both(|family| {
            let (client, stranger) = (&pit.net.client, &pit.net.stranger);
            assert_eq!(pit.seen(stranger, family, scene::SSH), look, "{family} {hide}");
            assert_eq!(pit.seen(stranger, family, TELNET), look, "{family} {hide}");
            pit.wait_ban(stranger.address(family), 3600);
            assert_eq!(pit.seen(stranger, family, scene::SSH), TcpProbe::Silent, "{family} {hide}");
            let look = if hide == "drop" { UdpProbe::Silent } else { UdpProbe::Refused };
            assert_eq!(udp(client, pit.at(family, 161), SILENCE), look, "{family} {hide}");
            pit.wait_ban(client.address(family), 3600);
        });
    }
}

#[test]
fn only_a_first_packet_bans() {
    need_namespaces!();
    let pit = pit(&config());
    both(|family| {
        let forger = pit.forger();
        let target = pit.at(family, TELNET);
        let end = |number| SocketAddr::new(stranger(family, number), 50_000);
        let flags =
            [ACK, RST, RST | ACK, FIN, FIN | ACK, 0, FIN | PSH | URG, SYN | ACK, SYN | FIN, SYN | RST];
        for (number, flags) in (0..).zip(flags) {
            forger.send(&packet::tcp(end(number), target, flags, &[]));
        }
        let [first, last] = halves(end(100), target);
        forger.send(&first);
        let [_, last_alone] = halves(end(101), target);
        forger.send(&last_alone);
        pit.settle(&forger, family);
        for (number, flags) in (0..).zip(flags) {
            assert_eq!(pit.ban(stranger(family, number)), None, "{family}: flags {flags:#04x} banned");
        }
        for number in [100, 101] {
            assert_eq!(pit.ban(stranger(family, number)), None, "{family}: a lone fragment banned");
        }
        // The whole is a SYN: cutting it does not get it past the bait. Nor do the bits of RFC 3168.
        forger.send(&last);
        forger.send(&packet::tcp(end(102), target, SYN | 0xc0, &[]));
        pit.wait_ban(stranger(family, 100), 3600);
        pit.wait_ban(stranger(family, 102), 3600);
    });
}

/// A SYN with data as two fragments (RFC 791, RFC 8200 4.5); the first has the whole header.
fn halves(source: SocketAddr, target: SocketAddr) -> [Vec<u8>; 2] {
    let whole = Packet::of_ip(&packet::tcp(source, target, SYN, &[7; 12])).unwrap();
    let (head, tail) = whole.segment.split_at(24);
    let piece = |part: &[u8], offset: u16, more: bool| match source.ip() {
        IpAddr::V4(_) => {
            let mut bytes = packet::ip(source.ip(), target.ip(), TCP, part);
            let field = (offset / 8) | if more { 0x2000 } else { 0 };
            // The kernel renews the header's checksum on the way out.
            bytes[6..8].copy_from_slice(&field.to_be_bytes());
            bytes
        }
        IpAddr::V6(_) => {
            let field = offset | u16::from(more);
            let mut segment = vec![TCP, 0];
            segment.extend(field.to_be_bytes());
            segment.extend(7_u32.to_be_bytes());
            segment.extend(part);
            packet::ip(source.ip(), target.ip(), 44, &segment)
        }
    };
    [piece(head, 0, true), piece(tail, 24, false)]
}

#[test]
fn a_ban_covers_an_ipv6_network_and_one_ipv4_address() {
    need_namespaces!();
    let pit = pit(&config());
    both(|family| {
        let stranger = &pit.net.stranger;
        let (neighbour, shares): (IpAddr, bool) = match family {
            Family::V4 => ("203.0.113.67".parse().unwrap(), false),
            Family::V6 => ("2001:db8:5::1:2:3:4".parse().unwrap(), true),
        };
        stranger.add_address(neighbour);
        let seen = |source: IpAddr| tcp_from(stranger, (source, 0).into(), pit.at(family, PUBLIC), SILENCE);
        assert_eq!(seen(neighbour), TcpProbe::Open, "{family}");
        pit.syn(&pit.forger(), stranger.address(family), TELNET);
        pit.wait_ban(stranger.address(family), 3600);
        assert_eq!(seen(stranger.address(family)), TcpProbe::Silent, "{family}");
        assert_eq!(seen(neighbour), if shares { TcpProbe::Silent } else { TcpProbe::Open }, "{family}");
        // The next network is another one.
        assert_eq!(pit.seen(&pit.net.client, family, PUBLIC), TcpProbe::Open, "{family}");
        let keys: Vec<_> = bans(&pit.net.server, family).into_iter().flat_map(|ban| ban.key).collect();
        assert_eq!(keys, [banned_as(stranger.address(family)).to_string()], "{family}");
    });
}

#[test]
fn the_never_list_is_never_banned() {
    need_namespaces!();
    let never = "[\"203.0.113.0/24\", \"2001:db8:5::/48\", \"198.18.0.1\", \"2001:db8:ba17:1::1\"]";
    let pit = pit(&config().set("ban.never", never));
    both(|family| {
        let forger = pit.forger();
        let spared = [pit.net.stranger.address(family), stranger(family, 1)];
        for source in spared {
            pit.syn(&forger, source, TELNET);
        }
        pit.syn(&forger, stranger(family, 2), TELNET);
        pit.settle(&forger, family);
        for source in spared {
            assert_eq!(pit.ban(source), None, "{source} is on the list");
        }
        assert_eq!(pit.ban(stranger(family, 2)), Some(3600), "{family}");
        assert_eq!(pit.seen(&pit.net.stranger, family, PUBLIC), TcpProbe::Open, "{family}");
    });
}

#[test]
fn a_full_table_stays_full_and_opens_nothing() {
    need_namespaces!();
    let mut pit = pit(&config().set("ban.limit", "5"));
    let _behind = EchoServer::start(&pit.net.server, TELNET);
    both(|family| {
        let forger = pit.forger();
        for number in 0..50 {
            pit.syn(&forger, stranger(family, number), TELNET);
        }
        // Its answer comes behind the forgeries.
        assert_eq!(pit.seen(&pit.net.stranger, family, TELNET), TcpProbe::Silent, "{family}");
        assert_eq!(bans(&pit.net.server, family).len(), 5, "{family}");
        assert_eq!(pit.ban(pit.net.stranger.address(family)), None, "{family}: there is no room for it");
        assert_eq!(pit.seen(&pit.net.stranger, family, scene::SSH), TcpProbe::Silent, "{family}");
        // A real client is let in all the same.
        pit.scene.client.must_open("ssh", family, &[]);
        assert!(pit.scene.is_open(family, scene::SSH), "{family}");
    });
    assert!(pit.scene.server.daemon().is_running());
}

#[test]
fn a_forged_touch_does_not_lock_a_client_out_unless_strict() {
    need_namespaces!();
    for (authenticated, locked_out) in [("pardon", false), ("strict", true)] {
        let pit = pit(&config().set("server.authenticated", &format!("\"{authenticated}\"")));
        both(|family| {
            let client = &pit.net.client;
            pit.scene.client.must_open("ssh", family, &[]);
            let mut held = hold(client, pit.at(family, scene::SSH), PATIENCE);
            let forger = pit.forger();
            pit.syn(&forger, client.address(family), TELNET);
            pit.settle(&forger, family);
            let what = format!("{family} {authenticated}");
            assert_eq!(pit.ban(client.address(family)).is_some(), locked_out, "{what}");
            assert_eq!(held.is_alive(SILENCE), !locked_out, "{what}");
            let seen = if locked_out { TcpProbe::Silent } else { TcpProbe::Open };
            assert_eq!(pit.seen(client, family, scene::SSH), seen, "{what}");
            assert_eq!(pit.seen(client, family, PUBLIC), seen, "{what}");
        });
    }
}

#[test]
fn a_touch_before_the_knock_is_pardoned_by_it() {
    need_namespaces!();
    let pit = pit(&config());
    both(|family| {
        let client = &pit.net.client;
        pit.syn(&pit.forger(), client.address(family), TELNET);
        pit.wait_ban(client.address(family), 3600);
        assert_eq!(pit.seen(client, family, PUBLIC), TcpProbe::Silent, "{family}");
        pit.scene.client.must_open("ssh", family, &[]);
        assert_eq!(pit.ban(client.address(family)), None, "{family}");
        assert_eq!(pit.seen(client, family, PUBLIC), TcpProbe::Open, "{family}");
    });
}

#[test]
fn baits_around_the_knock_ports_catch_no_knock() {
    need_namespaces!();
    let run = |capture: &str, hide: &str| {
        let config = config()
            .set("capture.mode", &format!("\"{capture}\""))
            .set("firewall.hide", &format!("\"{hide}\""))
            .bait("around", "ports = [\"udp/30000-50000\", \"tcp/30000-50000\"]\nban = \"10m\"");
        let pit = pit(&config);
        both(|family| {
            let what = format!("{family} {capture} {hide}");
            let forger = pit.forger();
            // A stranger's packet to a knock port is no touch; one beside it is.
            for (number, port) in (0..).zip([40_001, 40_002, 40_003]) {
                pit.udp(&forger, stranger(family, number), port);
            }
            for (number, port) in (10..).zip([40_000, 40_004, 30_000, 50_000]) {
                pit.udp(&forger, stranger(family, number), port);
            }
            // Knocks are UDP: the same port of TCP is a bait like the others.
            pit.syn(&forger, stranger(family, 14), 40_001);
            pit.settle(&forger, family);
            for number in 0..3 {
                assert_eq!(pit.ban(stranger(family, number)), None, "{what}: knock port {number}");
            }
            for number in 10..15 {
                assert_eq!(pit.ban(stranger(family, number)), Some(600), "{what}: touch {number}");
            }
            pit.scene.client.must_open("ssh", family, &[]);
            assert_eq!(pit.ban(pit.net.client.address(family)), None, "{what}");
            assert!(pit.scene.is_open(family, scene::SSH), "{what}");
        });
    };
    thread::scope(|scope| {
        for capture in ["ring", "nflog", "udp"] {
            for hide in ["drop", "closed"] {
                scope.spawn(move || run(capture, hide));
            }
        }
    });
}

#[test]
fn the_hosts_own_connections_are_no_touches() {
    need_namespaces!();
    let pit = pit(&config().bait("wide", "ports = [\"tcp/1000-65535\", \"udp/1000-39000\"]\nban = \"10m\""));
    let (server, stranger) = (&pit.net.server, &pit.net.stranger);
    let _elsewhere = (EchoServer::start(stranger, 7), UdpEcho::start(stranger, 7));
    server.sysctl("net/ipv4/ip_local_port_range", "20000 30000");
    both(|family| {
        assert_eq!(tcp(server, stranger.at(family, 7), PATIENCE), TcpProbe::Open, "{family}");
        assert_eq!(udp(server, stranger.at(family, 7), PATIENCE), UdpProbe::Answered, "{family}");
        assert_eq!(pit.ban(stranger.address(family)), None, "{family}");
    });
}

#[test]
fn bans_come_back_after_a_flush_and_stay_over_a_restart() {
    need_namespaces!();
    let mut pit = pit(&config());
    for family in Family::BOTH {
        pit.syn(&pit.forger(), stranger(family, 1), TELNET);
        pit.scene.server.wait_log(&["event=banned", &format!("source={} ", stranger(family, 1))]);
    }
    nft::load(&pit.net.server, "flush ruleset");
    let left = |pit: &Pit, family| ban_of(&pit.net.server, stranger(family, 1)).and_then(|ban| ban.expires);
    let table = || nft::table_exists(&pit.net.server, "inet", "spa");
    assert!(wait_until(PATIENCE, table), "the table is not put back");
    for family in Family::BOTH {
        let back = left(&pit, family);
        assert!(back.is_some_and(|left| left > 3500), "{family}: {back:?}");
    }
    pit.scene.server.restart();
    for family in Family::BOTH {
        assert!(left(&pit, family).is_some_and(|left| left > 3500), "{family}");
    }
}
