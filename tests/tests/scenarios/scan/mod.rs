//! What a scan sees: nmap's view, and the very bytes of the answers.

mod bytes;
mod headers;

use spa_tests::capture::Sniffer;
use spa_tests::config::Config;
use spa_tests::daemon::Server;
use spa_tests::netns::{Host, Lan, lan};
use spa_tests::nmap::{Scan, scan};
use spa_tests::probe::{EchoServer, ping};
use spa_tests::scene::{self, PATIENCE, SILENCE, Scene, both};
use spa_tests::{Family, need_namespaces, nft, wait_until};

/// A port of the host that is none of our business in guard mode.
const PUBLIC: u16 = 443;
/// Every port that the configuration names, with the neighbours of each.
const NAMED_TCP: &str = "21-23,79-81,40000-40004,51819-51821";
const NAMED_UDP: &str = "21-23,79-81,40000-40004,51819-51821";
/// Scanning what does not answer: once, without waiting long. An answer would be seen however late
/// it comes, by the sniffer.
const HURRIED: [&str; 4] = ["-T5", "--max-retries", "0", "--min-rate=1500"];

fn config(mode: &str, hide: &str, capture: &str) -> Config {
    scene::config(600)
        .set("firewall.mode", &format!("\"{mode}\""))
        .set("firewall.hide", &format!("\"{hide}\""))
        .set("capture.mode", &format!("\"{capture}\""))
        .service("vpn", "ports = [\"udp/51820\"]")
}

struct House {
    scene: Scene,
    _public: EchoServer,
    net: Lan,
}

fn house(config: &Config) -> House {
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, config, &["ssh", "web", "vpn"]);
    let public = EchoServer::start(&net.server, PUBLIC);
    House { scene, _public: public, net }
}

impl House {
    fn scan(&self, family: Family, arguments: &[&str]) -> Scan {
        scan(&self.net.stranger, self.net.server.address(family), arguments)
    }
}

/// nmap takes `--top-ports` and `-p` only one at a time.
fn hurried<'a>(kind: &'a str, ports: &'a str) -> Vec<&'a str> {
    let mut arguments = vec![kind];
    arguments.extend(if ports == "top" { ["--top-ports", "1000"] } else { ["-p", ports] });
    arguments.extend(HURRIED);
    arguments
}

#[test]
fn standalone_is_silent_on_every_port() {
    need_namespaces!();
    let house = house(&config("standalone", "drop", "ring"));
    let sniffer = Sniffer::start(&house.net.stranger, Host::DEVICE);
    both(|family| {
        for ports in [NAMED_TCP, "top"] {
            for kind in ["-sS", "-sT"] {
                let seen = house.scan(family, &hurried(kind, ports));
                assert!(seen.all("filtered no-response"), "{family} {kind}: {:?}", seen.summary());
                assert!(ports != "top" || seen.len() == 1000, "{family} {kind}: {}", seen.len());
            }
        }
        // Other flags are for firewalls that only look at SYN.
        for kind in ["-sA", "-sF", "-sN", "-sX", "-sU"] {
            let seen = house.scan(family, &hurried(kind, NAMED_UDP));
            let look =
                if kind == "-sA" { "filtered no-response" } else { "open|filtered no-response" };
            assert!(seen.all(look), "{family} {kind}: {:?}", seen.summary());
        }
        assert!(!ping(&house.net.stranger, house.net.server.address(family), SILENCE), "{family}");
    });
    sniffer.assert_silent(&house.net.server, Host::DEVICE);
}

#[test]
fn guard_closed_shows_a_host_without_services() {
    need_namespaces!();
    let house = house(&config("guard", "closed", "ring"));
    both(|family| {
        for kind in ["-sS", "-sT"] {
            let closed = if kind == "-sS" { "closed reset" } else { "closed conn-refused" };
            let named = house.scan(family, &[kind, "-p", NAMED_TCP]);
            assert!(named.all(closed), "{family} {kind}: {:?}", named.summary());
            let top = house.scan(family, &[kind, "--top-ports", "1000"]);
            let summary = top.summary();
            assert_eq!(summary[closed].len(), 999, "{family} {kind}: {:?}", summary.keys());
            assert_eq!(top.port(PUBLIC), "open syn-ack", "{family} {kind}");
        }
        let seen = house.scan(family, &["-sU", "-p", NAMED_UDP]);
        assert!(seen.all("closed port-unreach"), "{family}: {:?}", seen.summary());
    });
}

#[test]
fn guard_drop_shows_holes_and_check_names_them() {
    need_namespaces!();
    let house = house(&config("guard", "drop", "ring"));
    both(|family| {
        let seen = house.scan(family, &["-sS", "-p", NAMED_TCP]);
        let (closed, silent) = ("closed reset".to_owned(), "filtered no-response".to_owned());
        let neighbours =
            vec![21, 23, 79, 81, 40_000, 40_001, 40_002, 40_003, 40_004, 51_819, 51_820, 51_821];
        assert_eq!(
            seen.summary(),
            [(closed, neighbours), (silent, vec![22, 80])].into(),
            "{family}"
        );
        let seen = house.scan(family, &["-sU", "-p", NAMED_UDP]);
        let (closed, silent) =
            ("closed port-unreach".to_owned(), "open|filtered no-response".to_owned());
        let neighbours = vec![21, 22, 23, 79, 80, 81, 40_000, 40_004, 51_819, 51_821];
        let holes = vec![40_001, 40_002, 40_003, 51_820];
        assert_eq!(seen.summary(), [(closed, neighbours), (silent, holes)].into(), "{family}");
    });
    let check = house.scene.server.control(&["check"]);
    let said = String::from_utf8(check.stdout).unwrap();
    assert!(check.status.success(), "{said}");
    let line =
        said.lines().find(|line| line.contains("stand out")).unwrap_or_else(|| panic!("{said}"));
    for hole in ["tcp/22", "tcp/80", "udp/51820", "the knock ports"] {
        assert!(line.contains(hole), "check does not name {hole}: {line}");
    }
}

#[test]
fn check_names_what_stands_out_in_every_mode() {
    need_namespaces!();
    let net = lan();
    let note = |config: &Config| {
        let server = Server::prepare(&net.server, config);
        let output = server.control(&["check"]);
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines()
            .filter(|line| line.contains(" note: "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(note(&config("standalone", "drop", "ring")), "");
    assert!(
        note(&config("standalone", "closed", "ring")).contains("a scan sees that the host is up")
    );
    let closed = note(&config("guard", "closed", "ring"));
    assert!(
        closed.contains("tcp/22, tcp/80 and udp/51820") && closed.contains("look closed"),
        "{closed}"
    );
    assert!(note(&config("guard", "closed", "udp")).contains("binds the knock ports"));
    let bait = config("guard", "drop", "ring").bait("telnet", "ports = [\"tcp/23\"]\nban = \"1m\"");
    assert!(note(&bait).contains("the bait ports"), "{}", note(&bait));
}

#[test]
fn a_scan_that_touches_a_bait_sees_nothing_from_then_on() {
    need_namespaces!();
    let config =
        config("guard", "closed", "ring").bait("telnet", "ports = [\"tcp/50\"]\nban = \"1h\"");
    let house = house(&config);
    both(|family| {
        // In order, each once: what comes behind the bait is sent by a banned address.
        let arguments = ["-sS", "-r", "-p", "1-100,443", "-T5", "--max-retries", "0"];
        let seen = house.scan(family, &arguments);
        let closed = ("closed reset".to_owned(), (1..=50).collect());
        let silent = ("filtered no-response".to_owned(), (51..=100).chain([PUBLIC]).collect());
        assert_eq!(seen.summary(), [closed, silent].into(), "{family}");
        let seen = house.scan(family, &hurried("-sS", "20-25,443"));
        assert!(seen.all("filtered no-response"), "{family}: {:?}", seen.summary());
        let seen = house.scan(family, &hurried("-sU", NAMED_UDP));
        assert!(seen.all("open|filtered no-response"), "{family}: {:?}", seen.summary());
        assert!(!ping(&house.net.stranger, house.net.server.address(family), SILENCE), "{family}");
    });
}

/// Another firewall that drops what nobody named, as most do.
const DEFAULT_DROP: &str = "table inet other {\n chain input {\n  type filter hook input \
    priority 0; policy drop;\n  ct state established accept\n  meta l4proto ipv6-icmp accept\n }\n}\n";

/// Without a word about it hidden ports look as this host's closed ones, and follow them.
#[test]
fn f8_hide_auto_looks_like_the_hosts_closed_ports_and_follows_them() {
    need_namespaces!();
    for mode in ["guard", "standalone"] {
        let house = house(&config(mode, "drop", "ring").unset("firewall.hide"));
        let Scene { server, .. } = &house.scene;
        let look_alike = |look: &str| {
            both(|family| {
                // An answer that is waited for is not hurried.
                let kinds = |kind, ports| match look.contains("closed") {
                    true => vec![kind, "-p", ports],
                    false => hurried(kind, ports),
                };
                let udp = house.scan(family, &kinds("-sU", NAMED_UDP));
                assert!(udp.all(look), "{mode} {family}, not {look}: {:?}", udp.summary());
                let tcp = house.scan(family, &kinds("-sS", NAMED_TCP));
                let look =
                    if look.contains("closed") { "closed reset" } else { "filtered no-response" };
                assert!(tcp.all(look), "{mode} {family}, not {look}: {:?}", tcp.summary());
            });
        };
        let is_told = |hide: &str| {
            let told = || server.status()["protection"]["hide"] == hide;
            assert!(wait_until(PATIENCE, told), "{mode}: {}", server.status());
            let check = server.control(&["check", "--live"]);
            let said = String::from_utf8(check.stdout).unwrap();
            assert!(!said.contains("stand out") && !said.contains("a scan finds"), "{said}");
            let words = if hide == "drop" { "stay silent" } else { "look closed" };
            assert_eq!(said.contains(words), mode == "guard", "{mode}: {said}");
        };
        let (open, silent) = match mode {
            "guard" => ("closed", "closed port-unreach"),
            _ => ("drop", "open|filtered no-response"),
        };
        is_told(open);
        look_alike(silent);
        nft::load(&house.net.server, DEFAULT_DROP);
        is_told("drop");
        look_alike("open|filtered no-response");
        // A knock opens as before, but for what the other firewall itself drops.
        nft::load(&house.net.server, "insert rule inet other input tcp dport 22 accept\n");
        house.scene.client.must_open("ssh", Family::V4, &[]);
        assert!(house.scene.is_open(Family::V4, 22), "{mode}");
        assert!(house.scene.server.control(&["close", "--all"]).status.success());
        nft::load(&house.net.server, "delete table inet other\n");
        is_told(open);
        look_alike(silent);
    }
}
