//! The life of a grant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use spa_tests::config::Config;
use spa_tests::netns::{Host, lan};
use spa_tests::probe::{EchoServer, TcpProbe, UdpEcho, UdpProbe, hold, tcp, udp};
use spa_tests::scene::{PATIENCE, SSH, Scene, WEB, both, config};
use spa_tests::wait::wait_for;
use spa_tests::{Family, need_namespaces, nft, wait_until};

/// A second address of the client's host, in the client's own network.
fn sibling(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(198, 51, 100, 11).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 0x11).into(),
    }
}

fn grants(host: &Host, family: Family) -> Vec<nft::Element> {
    nft::elements(host, "inet", "spa", &format!("grant{}", family.digit()))
        .expect("the set of grants")
}

#[test]
fn one_port_for_one_source_for_its_time() {
    need_namespaces!();
    let net = lan();
    const TTL: u64 = 3;
    let scene = Scene::new(&net.server, &net.client, &config(3), &["ssh", "web"]);
    for family in Family::BOTH {
        net.client.add_spare_address(sibling(family));
    }
    both(|family| {
        for host in [&net.client, &net.stranger] {
            assert_eq!(
                scene.seen(host, family, SSH),
                TcpProbe::Silent,
                "{family}: {host:?} before"
            );
            assert_eq!(
                scene.seen(host, family, WEB),
                TcpProbe::Silent,
                "{family}: {host:?} before"
            );
            // Guard mode leaves the rest alone, so silence is no matter of a host that is down.
            assert_eq!(
                scene.seen(host, family, 81),
                TcpProbe::Refused,
                "{family}: {host:?} before"
            );
        }
        let begun = Instant::now();
        scene.client.must_open("ssh", family, &[]);
        let mut held = hold(&net.client, net.server.at(family, SSH), PATIENCE);
        let live = grants(&net.server, family);
        assert_eq!(live.len(), 1, "{family}: {live:?}");
        assert_eq!(live[0].key, [&net.client.address(family).to_string(), "tcp", "22"], "{family}");
        assert_eq!(live[0].timeout, Some(TTL), "{family}");

        // While it lasts: only that port, only that source.
        assert_eq!(
            scene.seen(&net.client, family, WEB),
            TcpProbe::Silent,
            "{family}: another port"
        );
        assert_eq!(
            scene.seen(&net.stranger, family, SSH),
            TcpProbe::Silent,
            "{family}: another host"
        );
        let neighbour = scene.seen_from(&net.client, sibling(family), SSH);
        assert_eq!(neighbour, TcpProbe::Silent, "{family}: another address of the client");

        assert!(
            wait_until(PATIENCE, || grants(&net.server, family).is_empty()),
            "{family}: never closes"
        );
        assert!(begun.elapsed() >= Duration::from_secs(TTL), "{family}: closed early");
        assert!(scene.is_hidden(family, SSH), "{family}: after");
        assert!(held.is_alive(PATIENCE), "{family}: the connection did not survive");
        assert!(scene.is_hidden(family, SSH), "{family}: the connection holds the door open");
    });
}

#[test]
fn renewal_leaves_no_gap() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::new(&net.server, &net.client, &config(4), &["ssh"]);
    both(|family| {
        scene.client.must_open("ssh", family, &[]);
    });
    let dropped = nft::counted(&net.server, "inet", "spa", "input");
    both(|family| {
        let (stop, connected) = (AtomicBool::new(false), AtomicU32::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seen = tcp(&net.client, net.server.at(family, SSH), PATIENCE);
                    assert_eq!(seen, TcpProbe::Open, "{family}: after {connected:?} connections");
                    connected.fetch_add(1, Ordering::Relaxed);
                }
            });
            // Together longer than the first grant.
            for _ in 0..3 {
                let left = wait_for(PATIENCE, || {
                    grants(&net.server, family)[0].expires.filter(|s| *s <= 1)
                });
                assert!(left.is_some(), "{family}: the grant does not run down");
                scene.client.must_open("ssh", family, &[]);
                assert_eq!(grants(&net.server, family).len(), 1, "{family}");
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(
            connected.load(Ordering::Relaxed) > 10,
            "{family}: {connected:?} connections prove nothing"
        );
        let source = format!("source={} ", net.client.address(family));
        let lines = scene.server.log().lines();
        let told =
            |event: &str| lines.iter().filter(|l| l.contains(event) && l.contains(&source)).count();
        assert_eq!((told("event=granted"), told("event=renewed")), (1, 3), "{family}");
    });
    // A dropped SYN is sent again after a second and connects: only the firewall's own count tells
    // of a gap.
    assert_eq!(nft::counted(&net.server, "inet", "spa", "input"), dropped, "a gap in a renewal");
}

#[test]
fn several_services_in_one_call() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::new(&net.server, &net.client, &config(60), &["ssh", "web"]);
    both(|family| {
        let json = scene.client.must_open("ssh,web", family, &[]);
        let services = json["services"].as_array().unwrap();
        assert_eq!(services.len(), 2, "{json}");
        for (service, name) in services.iter().zip(["ssh", "web"]) {
            assert_eq!(
                (&service["service"], &service["granted"]),
                (&name.into(), &true.into()),
                "{json}"
            );
        }
        assert!(scene.is_open(family, SSH) && scene.is_open(family, WEB), "{family}");
        assert_eq!(scene.seen(&net.stranger, family, WEB), TcpProbe::Silent, "{family}");
    });
}

#[test]
fn a_service_of_everything() {
    need_namespaces!();
    for mode in ["guard", "standalone"] {
        let net = lan();
        let config = config(60)
            .service("everything", "ports = \"all\"\nttl = \"60s\"")
            .set("firewall.mode", &format!("\"{mode}\""));
        let echo = UdpEcho::start(&net.server, 53);
        let other = EchoServer::start(&net.server, 5000);
        let scene = Scene::new(&net.server, &net.client, &config, &["everything"]);
        both(|family| {
            assert!(scene.is_hidden(family, SSH), "{mode}, {family}");
            scene.client.must_open("everything", family, &[]);
            for port in [SSH, WEB, other.port()] {
                assert!(scene.is_open(family, port), "{mode}, {family}, {port}");
            }
            assert_eq!(scene.seen(&net.client, family, 81), TcpProbe::Refused, "{mode}, {family}");
            let answer = udp(&net.client, net.server.at(family, echo.port()), PATIENCE);
            assert_eq!(answer, UdpProbe::Answered, "{mode}, {family}");
            assert_eq!(
                scene.seen(&net.stranger, family, SSH),
                TcpProbe::Silent,
                "{mode}, {family}"
            );
        });
    }
}

#[test]
fn sequences_of_one_and_of_eight_stages() {
    need_namespaces!();
    for ports in ["[40001]", "[40008, 888, 40002, 555, 40004, 222, 40006, 40001]"] {
        let net = lan();
        let config: Config = config(60).set("sequence.ports", ports);
        let scene = Scene::new(&net.server, &net.client, &config, &["ssh"]);
        both(|family| {
            assert!(scene.is_hidden(family, SSH), "{ports}, {family}");
            scene.client.must_open("ssh", family, &[]);
            assert!(scene.is_open(family, SSH), "{ports}, {family}");
        });
    }
}
