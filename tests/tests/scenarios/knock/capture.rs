//! The ways in which knocks are read, and the traces that they must not leave.

use std::collections::BTreeSet;

use spa_tests::capture::Sniffer;
use spa_tests::knocker::Knocker;
use spa_tests::netns::{Host, lan};
use spa_tests::probe::{TcpProbe, UdpEcho, UdpProbe, udp};
use spa_tests::scene::{PATIENCE, SILENCE, SSH, Scene, both, config};
use spa_tests::{Family, need_namespaces};

const KNOCK: [u16; 3] = [40001, 40002, 40003];

#[test]
fn ring_opens_and_leaves_no_trace() {
    opens_and_leaves_no_trace("ring");
}

#[test]
fn nflog_opens_and_leaves_no_trace() {
    opens_and_leaves_no_trace("nflog");
}

#[test]
fn udp_opens_and_leaves_no_trace() {
    opens_and_leaves_no_trace("udp");
}

fn opens_and_leaves_no_trace(mode: &str) {
    need_namespaces!();
    let net = lan();
    let scene = Scene::new(
        &net.server,
        &net.client,
        &config(60).set("capture.mode", &format!("\"{mode}\"")),
        &["ssh"],
    );
    let echo = UdpEcho::start(&net.server, 5353);
    both(|family| {
        // A port that is dropped, and one that is bound and read: neither answers.
        assert_eq!(
            udp(&net.stranger, net.server.at(family, KNOCK[0]), SILENCE),
            UdpProbe::Silent,
            "{family}"
        );
        assert!(scene.is_hidden(family, SSH), "{family}");
        let json = scene.client.must_open("ssh", family, &[]);
        // The ack has come, so both directions were used.
        assert_eq!(json["services"][0]["ttl"], 60, "{family}: {json}");
        assert!(scene.is_open(family, SSH), "{family}");
        assert_eq!(scene.seen(&net.stranger, family, SSH), TcpProbe::Silent, "{family}");

        let udp_echo = udp(&net.client, net.server.at(family, echo.port()), PATIENCE);
        assert_eq!(udp_echo, UdpProbe::Answered, "{family}");
        let tracked = tracked_udp_ports(&net.server, family);
        assert!(
            tracked.contains(&echo.port()),
            "{family}: conntrack sees nothing at all: {tracked:?}"
        );
        assert!(!KNOCK.iter().any(|port| tracked.contains(port)), "{family}: {tracked:?}");

        let bound = KNOCK.iter().any(|port| bound_udp_ports(&net.server, family).contains(port));
        assert_eq!(bound, mode == "udp", "{family}: sockets bound to the knock ports");
    });
}

#[test]
fn hopping_ports_are_knocked_where_only_the_key_tells() {
    need_namespaces!();
    let net = lan();
    let config = config(60)
        .unset("sequence.ports")
        .set("sequence.hop", "\"20000-29999\"")
        .set("sequence.stages", "4")
        .set("sequence.hop-exclude", "[\"21000-28999\"]");
    let scene = Scene::new(&net.server, &net.client, &config, &["ssh"]);
    let knocker = Knocker::of(&scene.client);
    both(|family| {
        let sniffer = Sniffer::start(&net.client, Host::DEVICE);
        let before = knocker.ports();
        scene.client.must_open("ssh", family, &[]);
        let after = knocker.ports();
        assert!(scene.is_open(family, SSH), "{family}");
        sniffer.catch_up(&net.client, Host::DEVICE);
        let used: BTreeSet<u16> = sniffer
            .sent_by(net.client.address(family))
            .iter()
            .filter(|packet| packet.udp_payload().is_some())
            .filter_map(|packet| packet.ends().map(|(_, target)| target.port()))
            .collect();
        // Two sets when the ten minutes have just turned over.
        let planned = [before, after].map(BTreeSet::from_iter);
        assert!(
            planned.iter().any(|ports| used.is_superset(ports)),
            "{family}: {used:?}, not {planned:?}"
        );
        assert!(
            used.iter().all(|port| planned.iter().any(|p| p.contains(port))),
            "{family}: {used:?}"
        );
        assert!(
            used.iter().all(|p| (20000..21000).contains(p) || (29000..30000).contains(p)),
            "{used:?}"
        );
    });
}

/// The UDP ports, on either side, of the flows that conntrack knows.
fn tracked_udp_ports(host: &Host, family: Family) -> BTreeSet<u16> {
    let name = if family == Family::V4 { "ipv4" } else { "ipv6" };
    let output = host.command("conntrack").args(["-L", "-p", "udp", "-f", name]).output().unwrap();
    assert!(output.status.success(), "conntrack: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("sport=").or_else(|| word.strip_prefix("dport=")))
        .map(|port| port.parse().unwrap())
        .collect()
}

/// The ports with a UDP socket.
fn bound_udp_ports(host: &Host, family: Family) -> BTreeSet<u16> {
    let output = host.command("ss").args([family.switch(), "-lunH"]).output().unwrap();
    assert!(output.status.success(), "ss: {}", String::from_utf8_lossy(&output.stderr));
    let local = |line: &str| {
        line.split_whitespace().nth(3).and_then(|end| end.rsplit(':').next()?.parse().ok())
    };
    String::from_utf8_lossy(&output.stdout).lines().filter_map(local).collect()
}
