//! Authentic knocks between ends that no knock has: destinations that are not the host's own, and
//! sources that nobody else has.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use spa_proto::{Request, Session};
use spa_tests::capture::Sniffer;
use spa_tests::knocker::{Knocker, Sender};
use spa_tests::netns::{Host, Lan, lan};
use spa_tests::packet;
use spa_tests::raw::send_frame;
use spa_tests::scene::{PATIENCE, SILENCE, Scene, config};
use spa_tests::{Family, need_namespaces, nft, wait_until};

/// Destinations that are not the server's own unicast addresses.
const NOT_OURS: [&str; 9] = [
    "8.8.8.8",
    "192.0.2.9",
    "192.0.2.255",
    "192.0.2.0",
    "127.0.0.1",
    "2001:db8:1::9",
    "2001:4860:4860::8888",
    "fe80::1234",
    "::1",
];
/// Sources that no other machine has: the server's own, its network's broadcast, and the
/// impossible.
const NOBODYS: [&str; 12] = [
    "127.0.0.1",
    "127.9.9.9",
    "0.1.2.3",
    "240.0.0.1",
    "255.255.255.254",
    "192.0.2.1",
    "192.0.2.255",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "2001:db8:1::1",
    "ff02::1",
];

/// Somebody on the link, who puts any addresses into a packet that the server's card takes.
struct Link<'a> {
    net: &'a Lan,
    scene: &'a Scene,
    knocker: Knocker,
    frame: [u8; 12],
}

impl<'a> Link<'a> {
    fn new(net: &'a Lan, scene: &'a Scene) -> Link<'a> {
        let mac = |host: &Host| -> Vec<u8> {
            let path = format!("/sys/class/net/{}/address", Host::DEVICE);
            let output = host.command("cat").arg(path).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
        };
        let frame = [mac(&net.server), mac(&net.client)].concat().try_into().unwrap();
        Link { net, scene, knocker: Knocker::of(&scene.client), frame }
    }

    /// A knock for whoever sends it, as a thief of the key or a relay would make it.
    fn session(&self) -> Session {
        self.knocker.session_with("ssh", |request| Request { bind_src: None, ..request })
    }

    fn knock(&self, source: IpAddr, destination: IpAddr) {
        for (port, payload) in self.session().packets() {
            let packet = packet::udp(
                SocketAddr::new(source, 40_000),
                SocketAddr::new(destination, *port),
                payload,
            );
            let kind: [u8; 2] = if source.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] };
            send_frame(
                &self.net.client,
                Host::DEVICE,
                &[&self.frame[..], &kind[..], &packet[..]].concat(),
            );
        }
    }

    /// An honest knock, which the server handles after everything before it.
    fn settle(&self, family: Family) {
        let sender = Sender::new(&self.net.client, &self.net.server, family);
        let session = self.session();
        let answered = || {
            sender.all(&session);
            sender.ack(&session, SILENCE).is_some()
        };
        assert!(wait_until(PATIENCE, answered), "{family}: an honest knock is not answered");
    }

    fn granted(&self, family: Family) -> Vec<String> {
        let set = format!("grant{}", family.digit());
        let elements = nft::elements(&self.net.server, "inet", "spa", &set).unwrap();
        elements.into_iter().map(|element| element.key[0].clone()).collect()
    }

    fn close(&self) {
        let closed = self.scene.server.control(&["close", "--all"]);
        assert!(closed.status.success(), "{closed:?}");
    }
}

#[test]
fn p10_ring_hears_its_own_addresses_and_other_hosts_only() {
    hears_possible_ends_only("ring");
}

#[test]
fn l6_nflog_hears_its_own_addresses_and_other_hosts_only() {
    hears_possible_ends_only("nflog");
}

#[test]
fn l6_udp_hears_its_own_addresses_and_other_hosts_only() {
    hears_possible_ends_only("udp");
}

fn hears_possible_ends_only(mode: &str) {
    need_namespaces!();
    let net = lan();
    let config = config(60).set("capture.mode", &format!("\"{mode}\""));
    let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
    // The kernel itself would refuse many of them before a bound socket.
    for key in ["all", Host::DEVICE] {
        net.server.sysctl(&format!("net/ipv4/conf/{key}/route_localnet"), "1");
        net.server.sysctl(&format!("net/ipv4/conf/{key}/accept_local"), "1");
    }
    let link = Link::new(&net, &scene);
    let sniffer = Sniffer::start(&net.stranger, Host::DEVICE);
    for family in Family::BOTH {
        let of_family = |text: &&str| Family::of(text.parse().unwrap()) == family;
        let client = net.client.address(family);
        for destination in NOT_OURS.iter().filter(|text| of_family(text)) {
            link.knock(client, destination.parse().unwrap());
        }
        link.settle(family);
        // Only the honest knock's: as it is not bound, for ten seconds.
        assert_eq!(link.granted(family), [client.to_string()], "{mode} {family}");
        link.close();
        for source in NOBODYS.iter().filter(|text| of_family(text)) {
            link.knock(source.parse().unwrap(), net.server.address(family));
        }
        link.settle(family);
        assert_eq!(link.granted(family), [client.to_string()], "{mode} {family}");
        link.close();
    }
    let status = scene.server.status();
    assert!(status["packets"]["wrong-address"].as_u64() > Some(0) || mode == "udp", "{status}");
    let granted =
        scene.server.log().lines().iter().filter(|line| line.contains("=provisional")).count();
    assert_eq!(granted, 4, "{mode}: two honest knocks of either family");
    sniffer.catch_up(&net.stranger, Host::DEVICE);
    for address in NOT_OURS {
        let sent = sniffer.sent_by(address.parse().unwrap());
        assert!(sent.iter().all(|packet| packet.udp_payload().is_none()), "{mode}: from {address}");
    }
}

/// Addresses of the host that no interface to strangers has, as with anycast and load balancers,
/// while they come and go.
#[test]
fn p10_addresses_on_other_interfaces_and_local_routes_are_the_hosts_own() {
    need_namespaces!();
    let net = lan();
    for mode in ["ring", "nflog", "udp"] {
        let config = config(60).set("capture.mode", &format!("\"{mode}\""));
        let scene = Scene::ready(&net.server, &net.client, &config, &["ssh"]);
        let link = Link::new(&net, &scene);
        for (family, address, kind) in [
            (Family::V4, "198.18.0.1", "address KIND 198.18.0.1/32 dev lo"),
            (Family::V6, "2001:db8:77::1", "-6 address KIND 2001:db8:77::1/128 dev lo"),
            (Family::V4, "198.18.5.9", "route KIND local 198.18.5.0/24 dev lo"),
            (Family::V6, "2001:db8:78::9", "-6 route KIND local 2001:db8:78::/64 dev lo"),
        ] {
            let (client, address) = (net.client.address(family), address.parse().unwrap());
            for (word, opens) in [("add", true), ("del", false)] {
                net.server.ip(&[&kind.replace("KIND", word)]);
                let mark = scene.server.log().mark();
                if opens {
                    let source = format!("source={client} ");
                    let told = || {
                        let lines = scene.server.log().lines();
                        let of_client = |line: &&String| line.contains(&source);
                        lines[mark..].iter().filter(of_client).any(|l| l.contains("=provisional "))
                    };
                    // A worker of the kernel announces an IPv6 address, so maybe after the knock.
                    let comes_in = || {
                        link.knock(client, address);
                        wait_until(Duration::from_secs(1), told)
                    };
                    assert!(wait_until(PATIENCE, comes_in), "{mode}: {address}");
                    link.close();
                } else {
                    link.knock(client, address);
                    link.settle(family);
                    // What came before the honest knock is told before it.
                    scene.server.log().wait_since(mark, &["=provisional "]);
                    let lines = scene.server.log().lines();
                    let opened =
                        lines[mark..].iter().filter(|l| l.contains("=provisional ")).count();
                    assert_eq!(opened, 1, "{mode}: {address} is gone, and opens");
                    link.close();
                }
            }
        }
        drop(scene);
    }
}

/// What an administrator opens or bans.
#[test]
fn l6_control_opens_and_bans_nobody_impossible() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(60), &["ssh"]);
    net.server.ip(&["address add 198.18.0.1/32 dev lo"]);
    for address in NOBODYS.into_iter().chain(["198.18.0.1"]) {
        for words in [["open", "ssh", "--for", address], ["ban", address, "--time", "1m"]] {
            let refused = scene.server.control(&words);
            assert!(!refused.status.success(), "{words:?}: {refused:?}");
            let text = String::from_utf8_lossy(&refused.stderr);
            assert!(text.contains(address), "{words:?}: {text}");
        }
    }
    for family in Family::BOTH {
        for set in ["grant", "ban"] {
            let set = format!("{set}{}", family.digit());
            let elements = nft::elements(&net.server, "inet", "spa", &set).unwrap();
            assert!(elements.is_empty(), "{set}: {elements:?}");
        }
    }
    // An honest question is no sign of a taken-over listener.
    let refused = scene.server.log().lines().join("\n");
    assert!(!refused.contains("request-refused"), "{refused}");
}
