//! Somebody between client and server: a relay that wants the grant for itself, and an honest
//! address translator.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use spa_tests::netns::{Host, Lan, lan, routed};
use spa_tests::probe::TcpProbe;
use spa_tests::scene::{SSH, Scene, both, config};
use spa_tests::{Family, need_namespaces, nft};

/// Makes the stranger's host pass on all knocks to the server, in its own name, and the answers
/// back.
fn relay(net: &Lan) {
    let host = &net.stranger;
    net.net.router(host);
    let mut rules = String::new();
    for family in Family::BOTH {
        let name = if family == Family::V4 { "ip" } else { "ip6" };
        write!(
            rules,
            "table {name} relay {{
                chain pre {{
                    type nat hook prerouting priority dstnat;
                    udp dport {{ 40001, 40002, 40003 }} dnat to {}
                }}
                chain post {{ type nat hook postrouting priority srcnat; masquerade; }}
            }}\n",
            net.server.address(family)
        )
        .unwrap();
    }
    nft::load(host, &rules);
    // It does not tell the client of a shorter way.
    for key in ["all", "default", Host::DEVICE] {
        host.sysctl(&format!("net/ipv4/conf/{key}/send_redirects"), "0");
    }
    net.client.sysctl("net/ipv6/conf/all/accept_redirects", "0");
    net.client.sysctl(&format!("net/ipv6/conf/{}/accept_redirects", Host::DEVICE), "0");
}

/// The client's settings for its one host.
fn settings(scene: &Scene, addresses: [IpAddr; 2], bind_src: &str) {
    let text = format!(
        "[host.server]\naddresses = [\"{}\", \"{}\"]\nbind-src = \"{bind_src}\"\n",
        addresses[0], addresses[1]
    );
    std::fs::write(scene.client.folder().join("config.toml"), text).unwrap();
}

fn addresses(host: &Host) -> [IpAddr; 2] {
    Family::BOTH.map(|family| host.address(family))
}

/// The client takes the relay for the server, as after a forged answer to its DNS question. Its
/// address is a public one, so the knock names it.
#[test]
fn a_knock_bound_to_its_source_is_worth_nothing_to_a_relay() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(60), &["ssh"]);
    relay(&net);
    settings(&scene, addresses(&net.stranger), "auto");
    both(|family| {
        let opened = scene.client.open("ssh", family, &["--timeout", "2s"]);
        assert_eq!(opened.status.code(), Some(3), "{family}: {opened:?}");
        assert_eq!(opened.json["services"][0]["reason"], "no-answer", "{family}: {opened:?}");
        assert!(opened.stderr.contains("bind-src never"), "{family}: {opened:?}");
        let source = format!("source={} ", net.stranger.address(family));
        scene.server.wait_log(&["event=bad-signature", "client=laptop", &source]);
        for host in [&net.client, &net.stranger] {
            assert_eq!(scene.seen(host, family, SSH), TcpProbe::Silent, "{family}: {host:?}");
        }
    });
    let status = scene.server.status();
    assert_eq!(
        (&status["knocks"]["granted"], &status["grants"]),
        (&0.into(), &serde_json::json!([]))
    );
    // The same key, straight to the server.
    settings(&scene, addresses(&net.server), "auto");
    both(|family| {
        scene.client.must_open("ssh", family, &[]);
        assert_eq!(scene.seen(&net.stranger, family, SSH), TcpProbe::Silent, "{family}");
    });
}

/// Without the binding the relay gets the grant: the server cannot tell it from a translator. The
/// client can, and closes it.
#[test]
fn without_the_binding_the_client_closes_what_was_opened_for_the_relay() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(60), &["ssh"]);
    relay(&net);
    settings(&scene, addresses(&net.stranger), "never");
    both(|family| {
        let opened = scene.client.open("ssh", family, &["--timeout", "2s"]);
        let (ours, theirs) = (net.client.address(family), net.stranger.address(family));
        assert_eq!(opened.status.code(), Some(1), "{family}: {opened:?}");
        let service = &opened.json["services"][0];
        assert_eq!(service["granted"], false, "{family}: {opened:?}");
        assert_eq!(service["reason"], "relayed", "{family}: {opened:?}");
        assert_eq!(service["families"][0]["observed"], theirs.to_string(), "{family}: {opened:?}");
        let warning = format!(
            "was opened for {theirs}, not for {ours}: a relay forwarded the knock; it was closed \
            again"
        );
        assert!(opened.stderr.contains(&warning), "{family}: {opened:?}");
        assert_eq!(scene.seen(&net.stranger, family, SSH), TcpProbe::Silent, "{family}");
        assert!(scene.is_hidden(family, SSH), "{family}");
    });
    assert_eq!(scene.server.status()["knocks"]["granted"], 2);
}

/// Behind a translator the client's own address is a private one: nothing to bind to, nothing to
/// warn of.
#[test]
fn an_address_translator_is_no_relay() {
    need_namespaces!();
    let net = routed();
    let inside = [
        IpAddr::from(Ipv4Addr::new(10, 77, 0, 10)),
        IpAddr::from(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x10)),
    ];
    for (family, address) in Family::BOTH.into_iter().zip(inside) {
        net.client.add_address(address);
        let (switch, length, gateway) = match family {
            Family::V4 => ("-4", 32, "198.51.100.254"),
            Family::V6 => ("-6", 128, "2001:db8:c::fe"),
        };
        net.client
            .ip(&[&format!("{switch} route replace default via {gateway} dev eth0 src {address}")]);
        net.router.ip(&[&format!("{switch} route add {address}/{length} dev client")]);
        let name = if family == Family::V4 { "ip" } else { "ip6" };
        nft::load(
            &net.router,
            &format!(
                "table {name} translator {{ chain post {{
                    type nat hook postrouting priority srcnat; {name} saddr {address} masquerade;
                }}; }}"
            ),
        );
    }
    let scene = Scene::new(&net.server, &net.client, &config(60), &["ssh"]);
    let outside = |family| match family {
        Family::V4 => IpAddr::from(Ipv4Addr::new(192, 0, 2, 254)),
        Family::V6 => IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xfe)),
    };
    both(|family| {
        let opened = scene.client.open("ssh", family, &[]);
        assert!(opened.status.success(), "{family}: {opened:?}");
        let observed = &opened.json["services"][0]["families"][0]["observed"];
        assert_eq!(*observed, outside(family).to_string(), "{family}: {opened:?}");
        assert!(!opened.stderr.contains("warning"), "{family}: {opened:?}");
        assert!(scene.is_open(family, SSH), "{family}");
        assert_eq!(scene.seen(&net.stranger, family, SSH), TcpProbe::Silent, "{family}");
    });
}
