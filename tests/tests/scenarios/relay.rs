//! Somebody between client and server: a relay that wants the grant for itself, and an honest
//! address translator.

use std::fmt::Write;
use std::net::IpAddr;

use spa_tests::netns::{Host, Lan, lan, routed};
use spa_tests::probe::TcpProbe;
use spa_tests::scene::{SSH, Scene, both, config};
use spa_tests::tap::{outside, translate};
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
        assert_eq!(opened.json["services"][0]["reason"], "translated", "{family}: {opened:?}");
        assert!(opened.stderr.contains("bind-src never"), "{family}: {opened:?}");
        for host in [&net.client, &net.stranger] {
            assert_eq!(scene.seen(host, family, SSH), TcpProbe::Silent, "{family}: {host:?}");
        }
    });
    let status = scene.server.status();
    // Right packets in a wrong place: looked at, and nothing changes.
    let packets = &status["packets"];
    assert!(packets["ignored"].as_u64() >= Some(2 * 3), "{packets}");
    assert_eq!((&packets["bad-signature"], &packets["lost"]), (&0.into(), &0.into()), "{packets}");
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

/// Without the binding the relay is let in for a moment: the server cannot tell it from a
/// translator. The client can, and closes it instead of confirming.
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
    // It was let in for a moment, and no CONFIRM made more of it.
    for family in Family::BOTH {
        let relay = format!("source={} ", net.stranger.address(family));
        scene.server.wait_log(&["event=provisional", "client=laptop", &relay, "ttl=10s"]);
    }
    let status = scene.server.status();
    assert_eq!(
        (&status["knocks"]["granted"], &status["grants"]),
        (&0.into(), &serde_json::json!([]))
    );
}

/// Behind a translator the client's own address is a private one: nothing to bind to, nothing to
/// warn of.
#[test]
fn an_address_translator_is_no_relay() {
    need_namespaces!();
    let net = routed();
    translate(&net);
    let scene = Scene::new(&net.server, &net.client, &config(60), &["ssh"]);
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
